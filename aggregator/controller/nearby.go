package controller

import (
	"math"
	"slices"
	"time"

	"github.com/foretide/foretide/aggregator/forecast"
)

const (
	// nearbyLength is the past that the next minutes are told from.
	nearbyLength = 7 * 24 * time.Hour
	// mostNearby is the longest lead for which that is done: beyond it the time of the day says more.
	mostNearby = 15 * time.Minute
	// nearbyBefore is how much it is told of at least: the newest minute, and that of so long before.
	nearbyBefore = mostNearby + step
)

// nearby is what the last minutes say of the next.
type nearby struct {
	forecast.Nearby
	recent []float64 // the last minutes; NaN is unknown
	asked  int       // minutes
	made   time.Time
}

// lookNearby learns from a past. Where there is too little of it, and where the lead is too long, it knows nothing.
func lookNearby(past span, t task) nearby {
	n := nearby{asked: t.near, made: past.end()}
	if time.Duration(t.near)*step <= mostNearby {
		n.Nearby, _ = forecast.LookNearby(past.certain(), t.near, t.levels)
	}
	return n
}

// nearbyMinutes is how many minutes after the newest that is known a pod could serve that is made now.
func nearbyMinutes(lead time.Duration) int { return int((settle + lead + step - 1) / step) }

// outgrown says that another lead is asked for than was learnt of. Leads that are measured change now and then, so it takes its time.
func (n nearby) outgrown(near int, now time.Time) bool {
	return n.asked != near && now.Sub(n.made) >= lookEvery/4
}

// join is the peak of a forecast within the lead, or beyond it, joined with what the last minutes say.
func (n nearby) join(f *forecast.Forecast, level float64, from, to time.Time) (gpus float64, ok bool) {
	peak, ok := f.Peak(level, from, to)
	median, known := f.Peak(0.5, from, to)
	near, says := n.Peak(level, n.recent)
	if !ok || !known || !says || level <= 0.5 {
		return peak, ok
	}
	return forecast.Joined(median, peak, near), true
}

// end is when it ends.
func (s span) end() time.Time { return s.from.Add(time.Duration(len(s.demand)) * step) }

// certain is the demand without what was cut off: a minute in which all pods were busy says too little.
func (s span) certain() []float64 {
	if !slices.Contains(s.saturated, true) {
		return s.demand
	}
	out := slices.Clone(s.demand)
	for i, hidden := range s.saturated {
		if hidden {
			out[i] = math.NaN()
		}
	}
	return out
}
