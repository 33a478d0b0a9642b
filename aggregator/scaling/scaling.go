// Package scaling decides how many replicas a workload gets: metrics of pods, forecasts, bounds and the time go in, a decision comes out.
//
//	each metric's pods ─► reactive ──────┐
//	                                     ├─► max ─► hold on missing data ─► stabilize ─► limits ─► bounds ─► Decision
//	each metric's forecast ─► proactive ─┘
//
// It has no clock, no I/O and no state but the Window that the caller keeps for each workload. The arithmetic is that of the
// Horizontal Pod Autoscaler (kubernetes pkg/controller/podautoscaler: replica_calculator.go, horizontal.go) with these changes,
// each to the safe side:
//   - pods that are not ready are left out whatever the metric (the Horizontal Pod Autoscaler does so for CPU only), and replicas
//     that are asked for but not seen count like them;
//   - a ratio below one never asks for more replicas than there are, however many extra pods a rollout runs;
//   - while a metric is unknown, or that of one ready pod, or a forecast that was there is lost, replicas are held or raised, never
//     lowered;
//   - such a moment counts as a recommendation of the current replicas, so that an outage is followed by a whole stabilization
//     window of complete data before anything shrinks;
//   - pods that are busy nearly all the time hide how much more demand there is: replicas then grow by half at least;
//   - limits on how fast replicas change count all changes since the workload was first seen, not only ours.
package scaling

import "time"

// Policy is what the user asked for, but for the targets of the metrics.
type Policy struct {
	MinReplicas int32 // 1 or more
	MaxReplicas int32 // MinReplicas or more
	Up, Down    Rules
	Only        Half
}

// Half is one of the two recommendations that a decision joins.
type Half string

// Halves that can be asked for alone; the other is shown and not acted on. "" is both.
const (
	Both          Half = ""
	ReactiveHalf  Half = "reactive"  // the present load
	ProactiveHalf Half = "proactive" // the forecast
)

// Inputs is the workload as it is now.
type Inputs struct {
	Current int32 // spec.replicas of the scale target
	// Metrics are what the decision is made on: one or more, of which the largest recommendation counts.
	Metrics []Metric
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
	ForecastKept   Reason = "KeptForForecast"     // fewer would do, but more are forecast for soon after
	UpStabilized   Reason = "ScaleUpStabilized"   // more are asked for, but not all along the window
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
	ScaleUpLimit    LimitReason = "ScaleUpLimit"    // cut to what Policy.Up allows
	ScaleDownLimit  LimitReason = "ScaleDownLimit"  // raised to what Policy.Down allows
)

// Decision is how many replicas the workload should have, and why.
type Decision struct {
	Replicas       int32
	Reactive       *int32    // what the present load asks for; nil = unknown
	Proactive      *int32    // what the forecast asks for; nil = unknown
	CurrentPercent *int32    // utilization of the ready pods whose load is known by the first metric; nil = not known, or no utilization
	Metrics        []Reading // what each metric says, in the order of Inputs.Metrics
	Reason         Reason
	Message        string // one sentence with the numbers
	Limited        LimitReason
	Incomplete     bool // something that counts is not known: a metric, that of a ready pod, or a forecast that was there
	Held           bool // fewer replicas would do, but missing data did not allow it
	// Until is when a stabilization ends that keeps Replicas, if nothing else is recommended meanwhile; zero when none does.
	Until     time.Time
	Saturated bool // the ready pods are busy all the time: demand is at least what it looks like
}

// Reading is what one metric is now and what it asks for.
type Reading struct {
	Name      string
	Percent   *int32   // utilization of the ready pods whose load is known, where Target.Percent counts; nil = not known
	Average   *float64 // by ready pod, or by replica, where Target.Percent does not count; nil = not known
	Value     *float64 // of the whole, where the metric is; nil = not known
	Unknown   int      // ready pods whose load is unknown
	Reactive  *int32   // what it asks for; nil = unknown
	Proactive *int32   // what its forecast asks for; nil = unknown
	Saturated bool
}
