package forecast

import (
	"math"
	"time"
)

// history is the part of a series that a forecast rests on: from the first known point of the last 28 days to the newest known
// one. Every array is built from the past only, so that a backtest which stands at step o and looks below o sees no future.
type history struct {
	y        []float64 // demand; gaps filled from the past
	known    []bool    // false where y is filled
	count    int       // known points
	gap      int       // missing points after the newest known one
	day      int       // steps in a day
	step     time.Duration
	seasonal bool // a day is known
	around   int  // profiles are smoothed over this many steps to each side: 15 minutes

	level    profile // y itself
	fast     profile // mean over past days at the same time of day, half-life 0.7 days
	mid      profile // half-life 2 days
	slow     profile // half-life 6 days
	weekly   profile // half-life 8 days, the same weekday five times
	median   profile // median of seven days
	weekdays profile // mean over the last three same weekdays
}

func newHistory(s Series) *history {
	v := s.Values[max(0, len(s.Values)-int(maxHistory/s.Step)):]
	h := &history{day: int(24 * time.Hour / s.Step), step: s.Step, around: int(15 * time.Minute / s.Step)}
	for len(v) > 0 && math.IsNaN(v[len(v)-1]) {
		v = v[:len(v)-1]
		h.gap++
	}
	for len(v) > 0 && math.IsNaN(v[0]) {
		v = v[1:]
	}
	h.known = make([]bool, len(v))
	for i := range v {
		if !math.IsNaN(v[i]) {
			h.known[i] = true
			h.count++
		}
	}
	h.seasonal = h.knowsADay()
	h.fill(v)
	h.level = newProfile(h.y)
	if h.seasonal {
		h.fast = h.decaying(0.7)
		h.mid = h.decaying(2)
		h.slow = h.decaying(6)
		h.weekly = h.sameWeekdayMore(8, 5)
		h.median = h.medians(7)
		h.weekdays = h.sameWeekdays(3)
	}
	return h
}

// knowsADay tells whether the known points add up to a day and touch three quarters of its hours.
func (h *history) knowsADay() bool {
	hour := max(1, int(time.Hour/h.step))
	hours := (h.day + hour - 1) / hour
	covered, seen := 0, make([]bool, hours)
	for i, known := range h.known {
		if slot := i % h.day / hour; known && !seen[slot] {
			seen[slot] = true
			covered++
		}
	}
	return h.count >= h.day && 4*covered >= 3*hours
}

// fill gives gaps the mean of what is known at the same time on earlier days (half-life 2 days), or the value before.
func (h *history) fill(v []float64) {
	h.y = make([]float64, len(v))
	copy(h.y, v)
	w := newDecay(2, h.day, len(v))
	for i := range h.y {
		if !h.known[i] {
			switch {
			case h.seasonal && i >= h.day && w.weight[i-h.day] > 0:
				h.y[i] = w.sum[i-h.day] / w.weight[i-h.day]
			case i > 0:
				h.y[i] = h.y[i-1]
			}
		}
		w.push(i, h.y[i], h.known[i])
	}
}

// decay is a mean over the values at i, i-period, i-2·period … with weights that halve: sum/weight. Unknown values have no weight.
type decay struct {
	sum, weight []float64
	period      int
	factor      float64
}

// newDecay has a half-life in periods.
func newDecay(halfLife float64, period, n int) *decay {
	return &decay{make([]float64, n), make([]float64, n), period, math.Exp2(-1 / halfLife)}
}

func (w *decay) push(i int, v float64, known bool) {
	if i >= w.period {
		w.sum[i], w.weight[i] = w.factor*w.sum[i-w.period], w.factor*w.weight[i-w.period]
	}
	if known {
		w.sum[i] += v
		w.weight[i]++
	}
}

func (h *history) decaying(halfLifeDays float64) profile {
	w := newDecay(halfLifeDays, h.day, len(h.y))
	return h.mean(func(i int) (float64, float64) {
		w.push(i, h.y[i], h.known[i])
		return w.sum[i], w.weight[i]
	})
}

// sameWeekdayMore weights the weekday of the coming day, which at step i is that of i-6 days, so many times.
func (h *history) sameWeekdayMore(halfLifeDays, times float64) profile {
	days, weeks := newDecay(halfLifeDays, h.day, len(h.y)), newDecay(halfLifeDays/7, 7*h.day, len(h.y))
	six, more := 6*h.day, (times-1)*math.Exp2(-6/halfLifeDays)
	return h.mean(func(i int) (float64, float64) {
		days.push(i, h.y[i], h.known[i])
		weeks.push(i, h.y[i], h.known[i])
		if i < six {
			return days.sum[i], days.weight[i]
		}
		return days.sum[i] + more*weeks.sum[i-six], days.weight[i] + more*weeks.weight[i-six]
	})
}

// sameWeekdays is the mean of y at i and at the same time up to so many weeks before, filled values included.
func (h *history) sameWeekdays(weeks int) profile {
	return h.mean(func(i int) (sum, n float64) {
		for k := 0; k < weeks && i >= 0; k++ {
			sum, n = sum+h.y[i], n+1
			i -= 7 * h.day
		}
		return sum, n
	})
}

func (h *history) medians(days int) profile {
	past := make([]float64, 0, days)
	return h.mean(func(i int) (float64, float64) {
		past = past[:0]
		for k := 0; k < days && i >= 0; k++ {
			past = append(past, h.y[i])
			i -= h.day
		}
		return median(past), 1
	})
}

// mean makes a profile of sum/weight; where nothing is known it takes the filled value.
func (h *history) mean(at func(i int) (sum, weight float64)) profile {
	v := make([]float64, len(h.y))
	for i := range v {
		if sum, weight := at(i); weight > 1e-9 {
			v[i] = sum / weight
		} else {
			v[i] = h.y[i]
		}
	}
	return newProfile(v)
}

// median sorts v, which is short, in place.
func median(v []float64) float64 {
	for i := 1; i < len(v); i++ {
		for k := i; k > 0 && v[k-1] > v[k]; k-- {
			v[k-1], v[k] = v[k], v[k-1]
		}
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// profile answers means over any stretch of an array in constant time: total[i] is the sum of the first i values.
type profile struct{ total []float64 }

func newProfile(v []float64) profile {
	total := make([]float64, len(v)+1)
	for i, x := range v {
		total[i+1] = total[i] + x
	}
	return profile{total}
}

// mean over the steps [from, to).
func (p profile) mean(from, to int) float64 {
	return (p.total[to] - p.total[from]) / float64(to-from)
}

// round is the value at a step of the day that ends before step end, smoothed over its neighbours; the day is a ring, so that
// nothing at or after end is looked at.
func (p profile) round(end, day, step, around int) float64 {
	start := end - day
	if 2*around+1 >= day {
		return p.mean(start, end)
	}
	lo, hi, sum := step-around, step+around+1, 0.0
	if lo < 0 {
		sum += p.total[end] - p.total[end+lo]
		lo = 0
	}
	if hi > day {
		sum += p.total[end-day+hi-day] - p.total[start]
		hi = day
	}
	return (sum + p.total[start+hi] - p.total[start+lo]) / float64(2*around+1)
}
