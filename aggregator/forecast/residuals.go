package forecast

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// residual is a miss in a backtest and how much it counts.
type residual struct{ miss, weight float64 }

// quantiles returns the weighted quantiles of r, which it sorts; zeros when r is empty. Each miss stands at the middle of its
// weight, and between two the quantile is interpolated.
func quantiles(r []residual, levels []float64) []float64 {
	out := make([]float64, len(levels))
	if len(r) == 0 {
		return out
	}
	slices.SortFunc(r, func(a, b residual) int { return cmp.Compare(a.miss, b.miss) })
	total := 0.0
	for _, x := range r {
		total += x.weight
	}
	i, below := 0, 0.0 // weight before r[i]
	for l, level := range levels {
		want := level * total
		for i+1 < len(r) && below+r[i].weight+r[i+1].weight/2 < want {
			below += r[i].weight
			i++
		}
		if i+1 == len(r) {
			out[l] = r[i].miss
			continue
		}
		from, to := below+r[i].weight/2, below+r[i].weight+r[i+1].weight/2
		share := 0.0
		if to > from {
			share = min(1, max(0, (want-from)/(to-from)))
		}
		out[l] = r[i].miss + share*(r[i+1].miss-r[i].miss)
	}
	return out
}

// spread is how far days differ at each time of the day that follows the history, relative to the mean over the day: a quiet
// night misses by less than a busy noon. It is the mean distance from the median of up to 14 days, smoothed by half an hour to
// each side, with a floor so that no time is certain. All ones where there are not two days to compare.
func (h *history) spread() []float64 {
	ones := make([]float64, h.day)
	for i := range ones {
		ones[i] = 1
	}
	n := len(h.y)
	days := min(14, n/h.day)
	if !h.seasonal || days < 2 {
		return ones
	}
	distance := make([]float64, h.day)
	past := make([]float64, 0, days)
	for t := range distance {
		past = past[:0]
		for i := n - h.day + t; i >= n-days*h.day; i -= h.day {
			if h.known[i] {
				past = append(past, h.y[i])
			}
		}
		if len(past) == 0 {
			continue
		}
		m := median(past)
		for _, v := range past {
			distance[t] += math.Abs(v-m) / float64(len(past))
		}
	}
	p := newProfile(distance)
	mean := p.mean(0, h.day)
	if mean <= 0 {
		return ones
	}
	around := max(1, int(30*time.Minute/h.step))
	for t := range ones {
		// 0.3 of the mean is the floor; 1.3 makes the mean 1 again.
		ones[t] = (max(0, p.round(h.day, h.day, t, around))/mean + 0.3) / 1.3
	}
	return ones
}
