package scaling

import (
	"fmt"
	"math"
)

// PodState says whether a pod's load tells anything about the workload's demand.
type PodState int

// States of a pod.
const (
	Unready PodState = iota // Unready is pending, starting, or running and not ready: capacity on its way.
	Ready                   // Ready serves: its load counts.
	Gone                    // Gone is being deleted, failed or finished: ignored.
)

// Metric is one thing that a decision is made on: what the pods do, or what is waiting for all of them.
type Metric struct {
	// Name is what messages call it, such as gpu-memory.
	Name   string
	Target Target
	// Pods are the workload's, with what they have of the metric.
	Pods []Pod
	// Whole is the value where the metric is not a pod's; nil where it is.
	Whole *Whole
	// PerReplica is what one replica holds, for Target.Percent; 0 = unknown.
	PerReplica float64
	// Hides is true when a metric near the whole of what pods hold says only that demand is at least so much, and no other metric says
	// how much more there is.
	Hides    bool
	Forecast Demand
}

// Target is the value aimed for; one of them is more than 0.
type Target struct {
	Percent int32   // of what pods hold
	Average float64 // by pod; where the metric is of the whole, its value divided by the replicas
	Value   float64 // of the whole, however many replicas there are
}

// Pod is one pod of the workload as it is now, and what it has of a metric.
type Pod struct {
	Name  string
	State PodState
	Holds float64 // what it has at most, such as GPUs; 0 = unknown, Metric.PerReplica is taken. Only Target.Percent looks at it
	Uses  float64 // of that, such as busy GPUs; or how much of whatever the metric counts
	Known bool    // Uses is measured and fresh; false = unknown, which is not zero
}

// Whole is the value of a metric that is not a pod's, such as the length of a queue.
type Whole struct {
	Value float64
	OK    bool
	Why   string // why it is not known, in words; only when not OK
}

// Demand is what the forecast says that the workload will need until a new replica could serve.
type Demand struct {
	// Peak is the largest value of the chosen quantile: the sum of what pods will use, or the metric of the whole; where Target.Value
	// counts, that times the ready pods. Only when OK.
	Peak float64
	// Later is the same from now until a replica that is removed would not be missed; 0 = not looked at.
	Later float64
	OK    bool
	Why   string // why there is none, in words; only when not OK
	// Lost is true when there should be a forecast and it cannot be made now: that is missing data, and lowers nothing. A
	// workload that is still too young for one has lost none.
	Lost bool
}

// MostAmount is more than anyone has of anything that pods hold, in GPUs or bytes: a larger number is not a measurement, and would
// overflow the arithmetic.
const MostAmount = 1e18

// IsAmount tells whether x can be a measurement: NaN, infinities and what is below 0 or above MostAmount cannot.
func IsAmount(x float64) bool { return x >= 0 && x <= MostAmount }

func positive(x float64) bool { return x > 0 && IsAmount(x) }

// invalid returns what is wrong with the metric's target, or "".
func (m Metric) invalid() string {
	set := 0
	for _, given := range []bool{m.Target.Percent != 0, m.Target.Average != 0, m.Target.Value != 0} {
		if given {
			set++
		}
	}
	switch t := m.Target; {
	case set != 1:
		return fmt.Sprintf("the target of %s has %d values; it must have one", m.Name, set)
	case t.Percent < 0:
		return fmt.Sprintf("the target of %s is %d%%; it must be at least 1", m.Name, t.Percent)
	case t.Average != 0 && !positive(t.Average) || t.Value != 0 && !positive(t.Value):
		return fmt.Sprintf("the target of %s is %g; it must be more than 0 and at most %g", m.Name, t.Average+t.Value, MostAmount)
	case t.Percent > 0 && m.Whole != nil, t.Value > 0 && m.Whole == nil:
		return fmt.Sprintf("the target of %s is not one that the metric can have", m.Name)
	}
	return ""
}

// called is how messages begin to speak of the metric.
func (m Metric) called() string {
	if m.Name == "gpu" {
		return "utilization"
	}
	return m.Name
}

// number writes a measurement for people.
func number(v float64) string {
	if v >= 1e6 {
		return fmt.Sprintf("%.3g", v)
	}
	return fmt.Sprintf("%g", math.Round(v*100)/100)
}
