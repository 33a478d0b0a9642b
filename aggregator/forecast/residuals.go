package forecast

import (
	"math"
	"slices"
	"time"
)

// residual is a miss in a backtest and how much it counts.
type residual struct{ miss, weight float64 }

// sorter has room to sort residuals in, again and again.
type sorter struct {
	keys   []uint64
	sorted []residual
}

// quantiles returns the weighted quantiles of r, which it sorts; zeros when r is empty. Each miss stands at the middle of its
// weight, and between two the quantile is interpolated.
func (s *sorter) quantiles(r []residual, levels []float64) []float64 {
	out := make([]float64, len(levels))
	if len(r) == 0 {
		return out
	}
	s.sort(r)
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

// sort sorts by the first digits, which fit into a word beside the place, and then by the others: that takes less time than a sort
// with a comparison function takes.
func (s *sorter) sort(r []residual) {
	s.keys, s.sorted = slices.Grow(s.keys[:0], len(r))[:len(r)], slices.Grow(s.sorted[:0], len(r))[:len(r)]
	for i, x := range r {
		bits := math.Float32bits(float32(x.miss))
		if bits>>31 == 0 {
			bits |= 1 << 31
		} else { // the more bits, the farther below zero
			bits = ^bits
		}
		s.keys[i] = uint64(bits)<<32 | uint64(i)
	}
	slices.Sort(s.keys)
	for i, key := range s.keys {
		x := r[uint32(key)]
		for ; i > 0 && s.sorted[i-1].miss > x.miss; i-- {
			s.sorted[i] = s.sorted[i-1]
		}
		s.sorted[i] = x
	}
	copy(r, s.sorted)
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
				past = append(past, h.truth(i))
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
	p := newProfile(h.day)
	for t, v := range distance {
		p.push(t, v)
	}
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

const (
	enoughSpans = 4.0                     // of backtests, each as long as the lead: their quantiles hold by themselves
	upperTail   = 0.75                    // the level from which on they do not before
	timeOfDay   = 0.8                     // share of the residuals that is scaled by the spread of that time of day
	recency     = 12 * float64(time.Hour) // in which the weight of a miss halves where the newest count
)

// measure takes the quantiles of what the weighted mean missed.
func (b *backtest) measure() {
	var plain, scaled []residual
	var order sorter
	w := make([]float64, b.parts)
	for k := range b.buckets {
		u := &b.buckets[k]
		plain, scaled = plain[:0], scaled[:0]
		tries, recent := 0, 0.0
		var before *origin
		var all, newest tally
		b.each(u, func(at *origin, step int, expected []float64) {
			if at != before {
				before, tries = at, tries+1
				age := float64(max(0, len(b.h.y)-at.o-u.to)) * float64(b.h.step)
				recent = math.Exp2(-age / recency)
			}
			b.buckets.mix(step-at.o, w)
			miss := b.h.truth(step) - dot(w, expected)
			plain = append(plain, residual{miss, at.weight})
			scaled = append(scaled, residual{miss / b.spread[b.time(step)], at.weight})
			all.add(miss, b.h.y[step], at.weight)
			newest.add(miss, b.h.y[step], recent)
		})
		if all.absolute > 0 {
			u.miss, u.demand = all.absolute/all.weight, all.demand/all.weight
			u.calm, u.bias = newest.absolute/newest.weight/u.miss, newest.miss/newest.weight/u.miss
		}
		u.plain, u.scaled = order.quantiles(plain, b.levels), order.quantiles(scaled, b.levels)
		b.stretch(u)
		switch {
		case b.untried():
			u.plain = b.changes(int(u.center) + 1)
			u.scaled = u.plain
		case tries < minTries:
			b.widen(k)
		}
	}
}

// stretch widens the upper tail of a bucket whose lead has hardly been tried: it is not only as far from the mean as was seen, but also
// from where that mean would be had more been seen, sqrt(1 + 1/n) times as far in all. It is the peaks that a short history has not
// had yet; the middle is known sooner.
func (b *backtest) stretch(u *bucket) {
	spans := float64(len(b.h.y)-b.first-u.from) / float64(u.to)
	if !b.h.seasonal || spans <= 0 || spans >= enoughSpans {
		return
	}
	times := math.Sqrt((1 + 1/spans) / (1 + 1/enoughSpans))
	first, _ := slices.BinarySearch(b.levels, upperTail)
	for l := first; l < len(b.levels); l++ {
		u.plain[l], u.scaled[l] = times*u.plain[l], times*u.scaled[l]
	}
}

// tally adds up misses, each times its weight.
type tally struct{ miss, absolute, demand, weight float64 }

func (t *tally) add(miss, demand, weight float64) {
	t.miss += weight * miss
	t.absolute += weight * math.Abs(miss)
	t.demand += weight * demand
	t.weight += weight
}

// changes are what is known of the doubt when nothing could be tried: the quantiles of how far demand went in so many steps, or in
// half of the history where that is less.
func (b *backtest) changes(lag int) []float64 {
	h := b.h
	lag = min(lag, len(h.y)/2)
	var all []residual
	for i := lag; i < len(h.y); i++ {
		if h.known[i] && h.known[i-lag] {
			all = append(all, residual{h.truth(i) - h.truth(i-lag), 1})
		}
	}
	return new(sorter).quantiles(all, b.levels)
}

// widen gives a bucket with too few residuals a spread that errs on the wide side: the wider of the bucket before, growing with
// the square root of the lead as a random walk's does, and of how all that is known spreads around its mean.
func (b *backtest) widen(k int) {
	var all []residual
	mean := 0.0
	for i, known := range b.h.known {
		if known {
			mean += b.h.truth(i) / float64(b.h.count)
		}
	}
	for i, known := range b.h.known {
		if known {
			all = append(all, residual{b.h.truth(i) - mean, 1})
		}
	}
	u, around := &b.buckets[k], new(sorter).quantiles(all, b.levels)
	for l, level := range b.levels {
		wide := around[l]
		grown, own := wide, u.plain[l]
		if k > 0 {
			before := b.buckets[k-1]
			grown = before.plain[l] * math.Sqrt((u.center+1)/(before.center+1))
		}
		if level >= 0.5 {
			wide = max(0, wide, grown, own)
		} else {
			wide = min(0, wide, grown, own)
		}
		u.plain[l], u.scaled[l] = wide, wide // spread is about 1
	}
}
