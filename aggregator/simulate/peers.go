package simulate

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// PeerNames are the policies that others are measured against, in the order of their tables.
var PeerNames = []string{"hpa", "kpa", "fixed", "cron", "oracle", "ahpa-like", "crane-like"}

// Bounds are what replicas stay within.
type Bounds struct{ Min, Max int32 }

func (b Bounds) clamp(replicas float64) int32 {
	return int32(min(max(replicas, float64(b.Min)), float64(b.Max)))
}

// PeerOptions are what the peers are given, all of them the same.
type PeerOptions struct {
	Bounds
	// Target is the utilization aimed for, 0 to 1.
	Target float64
	// GPUsPerPod is what each pod holds.
	GPUsPerPod float64
	// Trace is what will be offered; only the oracle looks at it, and the others at its Start.
	Trace Trace
	// Before is the workload's busy GPUs of the minutes before the trace, the last of which ends where it starts; NaN is not known.
	Before []float64
	// Step and Sync are those of the world.
	Step, Sync time.Duration
	// Ahead is how long a pod takes from wanted to ready: a startup and a sync.
	Ahead time.Duration
}

// Peer returns a reference policy, ready for one simulation:
//
//	hpa         Kubernetes' HorizontalPodAutoscaler with its defaults
//	kpa         Knative's autoscaler with its defaults, busy GPUs in place of concurrency
//	fixed       always enough for the most that was seen before
//	cron        the most that was seen before at that hour of that weekday: a schedule as a person writes it
//	oracle      what the trace will need, and never more
//	ahpa-like   Alibaba Cloud's AHPA as documented: a quantile of the same time on past days, at least what the load asks for
//	crane-like  Crane's EffectiveHPA: its periodic forecast as one more metric of an HPA
//
// An unknown name, an option out of range, and a fixed or a cron without anything seen before are errors.
func Peer(name string, o PeerOptions) (Decider, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	hpa := HPA{Bounds: o.Bounds, Target: o.Target}
	switch name {
	case "hpa":
		return &hpa, nil
	case "kpa":
		return &kpa{Bounds: o.Bounds, target: o.Target * o.GPUsPerPod}, nil
	case "fixed":
		most, known := highest(o.Before)
		if !known {
			return nil, fmt.Errorf("policy %q needs the load before the trace, and none of its %d minutes is known", name, len(o.Before))
		}
		return Fixed(o.clamp(o.pods(most))), nil
	case "cron":
		if _, known := highest(o.Before); !known {
			return nil, fmt.Errorf("policy %q needs the load before the trace, and none of its %d minutes is known", name, len(o.Before))
		}
		return newCron(o), nil
	case "oracle":
		return Oracle{Bounds: o.Bounds, Target: o.Target, GPUsPerPod: o.GPUsPerPod, Trace: o.Trace, Step: o.Step, Ahead: o.Ahead}, nil
	case "ahpa-like":
		return &ahpaLike{Minutes: NewMinutes(o.Before, o.Trace.Start), PeerOptions: o, reactive: hpa}, nil
	case "crane-like":
		return &craneLike{Minutes: NewMinutes(o.Before, o.Trace.Start), target: o.Target * o.GPUsPerPod, hpa: hpa}, nil
	}
	return nil, fmt.Errorf("policy is %q; it must be one of %s", name, strings.Join(PeerNames, ", "))
}

func (o PeerOptions) check() error {
	switch {
	case o.Min < 0 || o.Max < 1 || o.Min > o.Max:
		return fmt.Errorf("replicas are from %d to %d: they must be from 0 or more to 1 or more", o.Min, o.Max)
	case !(o.Target > 0 && o.Target <= 1):
		return fmt.Errorf("target is %g: it must be more than 0 and at most 1", o.Target)
	case !(o.GPUsPerPod > 0) || math.IsInf(o.GPUsPerPod, 0):
		return fmt.Errorf("a pod has %g GPUs: it must be more than 0", o.GPUsPerPod)
	case o.Step <= 0 || o.Sync < o.Step:
		return fmt.Errorf("step is %v and sync %v: a step must be more than 0, a sync at least that", o.Step, o.Sync)
	case o.Ahead < 0:
		return fmt.Errorf("ahead is %v: it must not be negative", o.Ahead)
	}
	return nil
}

// pods is how many keep so many GPUs busy at the target.
func (o PeerOptions) pods(busy float64) float64 { return podsFor(busy, o.Target*o.GPUsPerPod) }

// podsFor is how many pods of so many busy GPUs each there must be; what is a whole number but for rounding is that number.
func podsFor(busy, each float64) float64 { return math.Ceil(busy/each - 1e-9) }

// highest is the most of what is known.
func highest(values []float64) (most float64, known bool) {
	for _, v := range values {
		if !math.IsNaN(v) {
			most, known = max(most, v), true
		}
	}
	return most, known
}

// quantileOf is a quantile of values that are known, interpolated between neighbours; it sorts them. Of none it is NaN.
func quantileOf(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	slices.Sort(values)
	at := q * float64(len(values)-1)
	low := int(at)
	high := min(low+1, len(values)-1)
	return values[low] + (at-float64(low))*(values[high]-values[low])
}

// Fixed always wants the same.
type Fixed int32

// Decide returns it.
func (f Fixed) Decide(View) int32 { return int32(f) }
