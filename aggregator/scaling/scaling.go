// Package scaling decides how many replicas a workload gets: pods, forecast, bounds and the time go in, a decision comes out.
//
//	pods ─► reactive ─┐
//	                  ├─► max ─► hold on missing data ─► stabilise ─► up limit ─► bounds ─► Decision
//	forecast ► proactive ┘
//
// It has no clock, no I/O and no state but the Window that the caller keeps for each workload. The arithmetic is that of the
// Horizontal Pod Autoscaler (kubernetes pkg/controller/podautoscaler: replica_calculator.go, horizontal.go) with four changes,
// each to the safe side:
//   - pods that are not ready are left out for GPUs too (the Horizontal Pod Autoscaler does so for CPU only), and replicas that
//     are asked for but not seen count like them;
//   - a ratio below one never asks for more replicas than there are, however many extra pods a rollout runs;
//   - while the load of a ready pod is unknown, or a forecast that was there is lost, replicas are held or raised, never lowered;
//   - such a moment counts as a recommendation of the current replicas, so that an outage is followed by a whole stabilization
//     window of complete data before anything shrinks.
package scaling

import (
	"fmt"
	"math"
	"time"
)

// Defaults of the Horizontal Pod Autoscaler (kubernetes pkg/controller/podautoscaler/config/v1alpha1/defaults.go).
const (
	DefaultTolerance         = 0.1
	DefaultDownStabilization = 300 * time.Second
)

// PodState says whether a pod's load tells anything about the workload's demand.
type PodState int

// States of a pod.
const (
	Unready PodState = iota // Unready is pending, starting, or running and not ready: capacity on its way.
	Ready                   // Ready serves: its load counts.
	Gone                    // Gone is being deleted, failed or finished: ignored.
)

// Pod is one pod of the workload as it is now.
type Pod struct {
	Name     string
	State    PodState
	GPUs     float64 // devices the pod holds or asks for; 0 = unknown, Inputs.GPUsPerPod is taken
	BusyGPUs float64 // Σ over its devices of the utilization, 1 = one device busy all the time
	HasLoad  bool    // BusyGPUs is measured and fresh; false = unknown, which is not zero
}

// Policy is what the user asked for.
type Policy struct {
	TargetPercent     int32         // utilization that replicas should have, 1 or more
	MinReplicas       int32         // 1 or more
	MaxReplicas       int32         // MinReplicas or more
	Tolerance         float64       // share by which utilization may differ from the target before anything moves, 0 to 1
	DownStabilization time.Duration // replicas go down only to the largest recommendation of this long; 0 = at once
}

// Demand is what the forecast says that the workload will need until a new replica could serve.
type Demand struct {
	PeakGPUs float64 // largest value of the chosen quantile, in busy GPUs; only when OK
	OK       bool
	Why      string // why there is none, in words; only when not OK
	// Lost is true when there should be a forecast and it cannot be made now: that is missing data, and lowers nothing. A
	// workload that is still too young for one has lost none.
	Lost bool
}

// Inputs is the workload as it is now.
type Inputs struct {
	Current    int32 // spec.replicas of the scale target
	Pods       []Pod
	GPUsPerPod float64 // devices that one replica asks for
	Forecast   Demand
	// Settling is true for the moment after the ready pods changed in which their load still tells of before: an old pod's of
	// when it bore what it now shares. It is shown and not acted on.
	Settling bool
}

// Reason is why a decision is what it is, as a word for conditions, events and metric labels.
type Reason string

// Reasons, in the order in which they are looked at.
const (
	InvalidPolicy  Reason = "InvalidPolicy"       // the policy cannot be followed: hold
	Disabled       Reason = "ScalingDisabled"     // the target has no replicas: someone switched it off
	OutsideBounds  Reason = "OutsideBounds"       // replicas are outside minReplicas to maxReplicas: go to the bound
	NoTelemetry    Reason = "NoTelemetry"         // neither load nor forecast: hold
	Settling       Reason = "Settling"            // the ready pods changed a moment ago: hold until their load tells of now
	PartialData    Reason = "PartialTelemetry"    // fewer would do, but the load of a pod or the forecast is missing: hold
	Stabilized     Reason = "ScaleDownStabilized" // fewer would do, but more were needed within the window
	ForecastDemand Reason = "ForecastDemand"      // the forecast asks for more than the present load
	ReactiveDemand Reason = "ReactiveDemand"      // the present load asks for other than the current replicas
	Steady         Reason = "Steady"              // the current replicas are what is asked for
)

// LimitReason is which limit cut the recommendation, in the words of the Horizontal Pod Autoscaler's ScalingLimited condition.
type LimitReason string

// Limits.
const (
	NotLimited      LimitReason = ""
	TooFewReplicas  LimitReason = "TooFewReplicas"  // raised to MinReplicas
	TooManyReplicas LimitReason = "TooManyReplicas" // cut to MaxReplicas
	ScaleUpLimit    LimitReason = "ScaleUpLimit"    // cut to twice the current replicas (or four) in one step
)

// Decision is how many replicas the workload should have, and why.
type Decision struct {
	Replicas       int32
	Reactive       *int32 // what the present load asks for; nil = unknown
	Proactive      *int32 // what the forecast asks for; nil = unknown
	CurrentPercent *int32 // utilization of the ready pods whose load is known; nil = none is
	Unknown        int    // ready pods whose load is unknown
	Reason         Reason
	Message        string // one sentence with the numbers
	Limited        LimitReason
	Held           bool // fewer replicas would do, but missing data did not allow it
}

// Decide returns the replicas that the workload should have at now. It records its recommendation in w, which belongs to this
// workload alone and must not be nil; the first call seeds w with the current replicas, so that a restart never scales down
// before a whole window has been seen. Decide never fails: what it cannot judge, it holds and says so.
func Decide(p Policy, in Inputs, w *Window, now time.Time) Decision {
	if why := p.invalid(); why != "" {
		return Decision{Replicas: in.Current, Reason: InvalidPolicy, Message: why + "; replicas are held"}
	}
	load := read(in)
	reactive, proactive := load.reactive(p, in.Current), proactive(p, in)
	d := Decision{Replicas: in.Current, Reactive: reactive.replicas, Proactive: proactive.replicas, CurrentPercent: load.percent(), Unknown: load.missing}
	if in.Current <= 0 {
		*w = Window{} // switched on again, the workload starts afresh
		d.Replicas, d.Reason, d.Message = 0, Disabled, "the target has 0 replicas, which switches scaling off"
		return d
	}
	w.seed(now, in.Current)
	switch {
	case in.Current > p.MaxReplicas:
		d.Replicas, d.Reason, d.Limited = p.MaxReplicas, OutsideBounds, TooManyReplicas
		w.add(now, d.Replicas)
		d.Message = fmt.Sprintf("%d replicas are more than maxReplicas %d", in.Current, p.MaxReplicas)
	case in.Current < p.MinReplicas:
		d.Replicas, d.Reason, d.Limited = p.MinReplicas, OutsideBounds, TooFewReplicas
		w.add(now, d.Replicas)
		d.Message = fmt.Sprintf("%d replicas are fewer than minReplicas %d", in.Current, p.MinReplicas)
	default:
		d.combine(p, in, w, now)
		d.Message = fmt.Sprintf("%s; %s; %s", reactive.why, proactive.why, d.outcome(p, in.Current))
	}
	return d
}

// combine fills in Replicas, Reason, Held and Limited from the two recommendations.
//
//	reactive   proactive   load complete   replicas wanted
//	known      any         yes             the larger
//	known      any         no              the larger, not below the current
//	unknown    known       -               the forecast's, not below the current
//	unknown    unknown     -               the current
//	settling   any         any             the larger of the current and the forecast's; nothing is recorded
func (d *Decision) combine(p Policy, in Inputs, w *Window, now time.Time) {
	current := in.Current
	want, reason := current, NoTelemetry
	switch {
	case in.Settling:
		reason = Settling
	case d.Reactive != nil:
		want, reason = *d.Reactive, ReactiveDemand
	}
	if d.Proactive != nil && (d.Reactive == nil && !in.Settling || *d.Proactive > want) {
		want, reason = *d.Proactive, ForecastDemand
	}
	if want == current && reason != NoTelemetry && reason != Settling {
		reason = Steady
	}
	incomplete := d.Reactive == nil || d.Unknown > 0 || in.Forecast.Lost
	if want < current && incomplete {
		want, reason, d.Held = current, PartialData, true
	}
	// A moment with missing data recommends at least what is there: see the package comment.
	record := want
	if incomplete {
		record = max(want, current)
	}
	if !in.Settling {
		w.add(now, record)
	}
	if want < current && p.DownStabilization > 0 {
		if most := min(w.max(now, p.DownStabilization), current); most > want {
			want, reason = most, Stabilized
		}
	}
	// Growth in one step: the larger of twice the replicas and four (horizontal.go, calculateScaleUpLimit).
	if limit := max(2*int64(current), 4); int64(want) > limit {
		want, d.Limited = int32(limit), ScaleUpLimit
	}
	if want > p.MaxReplicas {
		want, d.Limited = p.MaxReplicas, TooManyReplicas
	}
	if want < p.MinReplicas {
		want, d.Limited = p.MinReplicas, TooFewReplicas
	}
	d.Replicas, d.Reason = want, reason
}

// outcome says in words what follows from the two recommendations.
func (d *Decision) outcome(p Policy, current int32) string {
	switch {
	case d.Reason == PartialData:
		return fmt.Sprintf("held at %d, because replicas do not go down on missing data", d.Replicas)
	case d.Reason == Settling:
		return fmt.Sprintf("held at %d for a moment, because the ready pods have just changed", d.Replicas)
	case d.Reason == NoTelemetry:
		return fmt.Sprintf("held at %d", d.Replicas)
	case d.Limited == ScaleUpLimit:
		return fmt.Sprintf("%d replicas, the most in one step from %d", d.Replicas, current)
	case d.Limited == TooManyReplicas:
		return fmt.Sprintf("%d replicas, which is maxReplicas", d.Replicas)
	case d.Reason == Stabilized:
		return fmt.Sprintf("%d replicas, the most that was needed within the last %s", d.Replicas, p.DownStabilization)
	case d.Limited == TooFewReplicas:
		return fmt.Sprintf("%d replicas, which is minReplicas", d.Replicas)
	}
	return fmt.Sprintf("%d replicas", d.Replicas)
}

// invalid returns what is wrong with the policy, or "".
func (p Policy) invalid() string {
	switch {
	case p.TargetPercent < 1:
		return fmt.Sprintf("targetPercent is %d; it must be at least 1", p.TargetPercent)
	case p.MinReplicas < 1:
		return fmt.Sprintf("minReplicas is %d; it must be at least 1", p.MinReplicas)
	case p.MaxReplicas < p.MinReplicas:
		return fmt.Sprintf("maxReplicas is %d; it must be at least minReplicas, %d", p.MaxReplicas, p.MinReplicas)
	case math.IsNaN(p.Tolerance) || p.Tolerance < 0 || p.Tolerance > 1:
		return fmt.Sprintf("tolerance is %g; it must be from 0 to 1", p.Tolerance)
	case p.DownStabilization < 0:
		return fmt.Sprintf("downStabilization is %s; it must not be negative", p.DownStabilization)
	}
	return ""
}
