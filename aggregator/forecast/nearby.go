package forecast

import (
	"math"
	"slices"
)

const (
	// leastNearby is how many moments of the past a Nearby is made of at least: a day of minutes.
	leastNearby = 1440
	// nearbyFloor is the share of the mean that a miss is at least relative to: a nearly idle workload is not certain.
	nearbyFloor = 0.1
)

// Nearby is how far demand goes within the next few steps, told from what it did within the last few alone. It knows no time of the day
// and no day of the week, and is sharper than a Forecast where the present says more than these: its doubt is that of so many steps and
// of no more.
//
//	the most within the next n steps = last + g·(last − the value n steps before) + miss·(last + floor)
//
// where g is the part of a change that goes on, by least squares, and a level's miss is that quantile of what was missed in the past.
type Nearby struct {
	steps         int
	goesOn, floor float64
	levels        []float64
	misses        []float64 // [level]
}

// LookNearby learns from past values (NaN is missing) for so many steps, at the levels of a Forecast. It is false when there are fewer than
// 1440 moments with as many known steps before and after them.
func LookNearby(values []float64, steps int, levels []float64) (Nearby, bool) {
	n := Nearby{steps: steps, levels: levels}
	sum, squares, products, moments := 0.0, 0.0, 0.0, 0
	for i := steps; i+steps < len(values); i++ {
		was, next := values[i]-values[i-steps], values[i+steps]-values[i]
		if !math.IsNaN(was) && !math.IsNaN(next) {
			sum, squares, products, moments = sum+values[i], squares+was*was, products+was*next, moments+1
		}
	}
	if steps < 1 || moments < leastNearby {
		return Nearby{}, false
	}
	if squares > 0 {
		n.goesOn = min(1, max(-1, products/squares))
	}
	n.floor = nearbyFloor * sum / float64(moments)
	misses := make([]float64, 0, len(values))
	for i := steps; i+steps < len(values); i++ {
		most := slices.Max(values[i+1 : i+1+steps]) // NaN where one is
		if miss := (most - n.expected(values[i], values[i-steps])) / (values[i] + n.floor); !math.IsNaN(miss) && !math.IsInf(miss, 0) {
			misses = append(misses, miss)
		}
	}
	if len(misses) < leastNearby {
		return Nearby{}, false
	}
	slices.Sort(misses)
	for _, level := range levels {
		n.misses = append(n.misses, misses[int(level*float64(len(misses)))])
	}
	return n, true
}

// expected is what a change that goes on comes to.
func (n Nearby) expected(last, before float64) float64 { return last + n.goesOn*(last-before) }

// Steps is how far it reaches; 0 for the zero value, which knows nothing.
func (n Nearby) Steps() int { return n.steps }

// Peak is a level of the most within the next steps, given the values of the last ones, the newest last. It is false when the newest is not
// known or that of so many steps before it, and for a level that it was not made for.
func (n Nearby) Peak(level float64, recent []float64) (float64, bool) {
	i, found := slices.BinarySearch(n.levels, level)
	if !found || n.steps == 0 || len(recent) <= n.steps {
		return 0, false
	}
	last, before := recent[len(recent)-1], recent[len(recent)-1-n.steps]
	if math.IsNaN(last) || math.IsNaN(before) {
		return 0, false
	}
	return max(0, n.expected(last, before)+n.misses[i]*(last+n.floor)), true
}

// Joined is the peak at a level above the median by both: the median of the Forecast and above it the mean of what the Forecast and the
// Nearby add to it. Quantiles that are averaged are sharper than those of an averaged distribution (Lichtendahl, Grushka-Cockayne,
// Winkler: Is it better to average probabilities or quantiles? Management Science 59, 2013).
func Joined(median, peak, nearby float64) float64 {
	return median + (max(0, peak-median)+max(0, nearby-median))/2
}
