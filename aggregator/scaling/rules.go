package scaling

import (
	"fmt"
	"math"
	"time"
)

// Defaults of the Horizontal Pod Autoscaler (kubernetes pkg/controller/podautoscaler/config/v1alpha1/defaults.go and
// pkg/apis/autoscaling/v2/defaults.go).
const (
	DefaultTolerance         = 0.1
	DefaultDownStabilization = 300 * time.Second

	defaultPeriod = 15 * time.Second
)

// longestPeriod is how far back changes of the replicas are remembered; the Horizontal Pod Autoscaler allows no longer period.
const longestPeriod = 30 * time.Minute

// Rules are how readily and how fast replicas move in one direction (autoscaling/v2, HPAScalingRules).
type Rules struct {
	// Tolerance is the share by which utilization may be off the target in this direction before anything moves, 0 to 1.
	Tolerance float64
	// Stabilization is how long is looked back: replicas go down only to the largest, and up only to the smallest recommendation
	// of that long. 0 = at once, at most an hour.
	Stabilization time.Duration
	// Limits are the most that replicas may change; none = no limit.
	Limits []Limit
	// Select says which of several limits counts.
	Select Select
}

// Select chooses among the limits of a direction.
type Select string

// What can be selected; "" is SelectMax.
const (
	SelectMax      Select = "Max"      // the limit that allows the larger change
	SelectMin      Select = "Min"      // the limit that allows the smaller change
	SelectDisabled Select = "Disabled" // no change in this direction
)

// Limit is the most that replicas may change within a period.
type Limit struct {
	Percent bool          // Value is percent of the replicas at the beginning of the period; else it is replicas
	Value   int32         // 1 or more
	Period  time.Duration // more than 0, at most half an hour
}

// DefaultUp is how replicas rise where nothing else is asked for: by four or to twice as many in 15 s, whichever is more.
func DefaultUp() Rules {
	return Rules{Tolerance: DefaultTolerance, Limits: []Limit{{Percent: true, Value: 100, Period: defaultPeriod}, {Value: 4, Period: defaultPeriod}}}
}

// DefaultDown is how they fall: as far as they may at once, when nothing within five minutes asked for more.
func DefaultDown() Rules {
	return Rules{
		Tolerance: DefaultTolerance, Stabilization: DefaultDownStabilization,
		Limits: []Limit{{Percent: true, Value: 100, Period: defaultPeriod}},
	}
}

// most is the largest number of replicas that the rules of going up allow from current (horizontal.go,
// calculateScaleUpLimitWithScalingRules): from what there was at the beginning of each period, not from what is there now.
func (r Rules) most(w *Window, now time.Time, current int32) int32 {
	if r.Select == SelectDisabled {
		return current
	}
	return max(current, r.choose(math.MaxInt32, func(l Limit) float64 {
		began := w.before(now, l.Period, current)
		if l.Percent {
			return math.Ceil(began*(1+float64(l.Value)/100) - epsilon)
		}
		return began + float64(l.Value)
	}))
}

// least is the smallest number that the rules of going down allow (horizontal.go, calculateScaleDownLimitWithBehaviors).
func (r Rules) least(w *Window, now time.Time, current int32) int32 {
	if r.Select == SelectDisabled {
		return current
	}
	return min(current, -r.choose(0, func(l Limit) float64 {
		began := w.before(now, l.Period, current)
		if l.Percent {
			return -math.Floor(began*(1-float64(l.Value)/100) + epsilon)
		}
		return -(began - float64(l.Value))
	}))
}

// choose is the bound of the limit that counts: the largest one, or with SelectMin the smallest; without limits, open.
func (r Rules) choose(open int32, bound func(Limit) float64) int32 {
	if len(r.Limits) == 0 {
		return open
	}
	chosen := bound(r.Limits[0])
	for _, l := range r.Limits[1:] {
		if b := bound(l); r.Select == SelectMin && b < chosen || r.Select != SelectMin && b > chosen {
			chosen = b
		}
	}
	return int32(max(math.MinInt32, min(math.MaxInt32, chosen)))
}

// invalid returns what is wrong with the rules of a direction, or "".
func (r Rules) invalid(direction string) string {
	switch {
	case math.IsNaN(r.Tolerance) || r.Tolerance < 0 || r.Tolerance > 1:
		return fmt.Sprintf("tolerance %s is %g; it must be from 0 to 1", direction, r.Tolerance)
	case r.Stabilization < 0 || r.Stabilization > longestStabilization:
		return fmt.Sprintf("stabilization %s is %s; it must be from 0 to %s", direction, r.Stabilization, longestStabilization)
	case r.Select != "" && r.Select != SelectMax && r.Select != SelectMin && r.Select != SelectDisabled:
		return fmt.Sprintf("the select policy %s is %q; it must be Max, Min or Disabled", direction, r.Select)
	}
	for _, l := range r.Limits {
		switch {
		case l.Value < 1:
			return fmt.Sprintf("a limit %s is %d; it must be at least 1", direction, l.Value)
		case l.Period <= 0 || l.Period > longestPeriod:
			return fmt.Sprintf("the period of a limit %s is %s; it must be more than 0 and at most %s", direction, l.Period, longestPeriod)
		}
	}
	return ""
}
