package forecast

import "math"

// decay is a mean over the values at i, i-period, i-2·period … with weights that halve: sum/weight, kept for the last period.
// Unknown values have no weight.
type decay struct {
	sum, weight []float64
	factor      float64
}

// newDecay has a half-life in periods.
func newDecay(halfLife float64, period int) *decay {
	return &decay{make([]float64, period), make([]float64, period), math.Exp2(-1 / halfLife)}
}

// at is the mean before step i, at the same place of the period; false when nothing is known there.
func (w *decay) at(i int) (float64, bool) {
	k := i % len(w.sum)
	return w.sum[k] / w.weight[k], w.weight[k] > 1e-9
}

// push adds the value of step i and returns the mean, or the value when nothing is known.
func (w *decay) push(i int, v float64, known bool) float64 {
	k := i % len(w.sum)
	w.sum[k], w.weight[k] = w.factor*w.sum[k], w.factor*w.weight[k]
	if known {
		w.sum[k] += v
		w.weight[k]++
	}
	if w.weight[k] > 1e-9 {
		return w.sum[k] / w.weight[k]
	}
	return v
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

// lastSeven are the last seven values of a time of day.
type lastSeven struct {
	newest [7]float64 // as a ring
	sorted [7]float64
	count  int
}

// push adds a value and returns the median.
func (l *lastSeven) push(v float64) float64 {
	n := min(l.count, len(l.sorted))
	if n == len(l.sorted) { // the oldest leaves its place
		oldest, k := l.newest[l.count%n], 0
		for l.sorted[k] != oldest {
			k++
		}
		n--
		copy(l.sorted[k:], l.sorted[k+1:])
	}
	k := n
	for ; k > 0 && l.sorted[k-1] > v; k-- {
		l.sorted[k] = l.sorted[k-1]
	}
	l.sorted[k], l.newest[l.count%len(l.newest)] = v, v
	l.count++
	n++
	return (l.sorted[(n-1)/2] + l.sorted[n/2]) / 2
}

// profile answers means over any stretch of an array in constant time: total[i] is the sum of the first i values.
type profile struct{ total []float64 }

func newProfile(n int) profile { return profile{make([]float64, n+1)} }

// push sets value i; the values before it are set.
func (p profile) push(i int, v float64) { p.total[i+1] = p.total[i] + v }

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
