package forecast

import (
	"math"
	"slices"
	"time"
)

const (
	maxOrigins = 56
	perBucket  = 24  // leads looked at per bucket and origin
	power      = 8   // weight = error to the power of -8: the good ones rule, none alone
	timeOfDay  = 0.8 // share of the residuals that is scaled by the spread of that time of day
	minTries   = 3   // origins below which a bucket's residuals are not trusted alone
)

// edges are the leads between which weights and residuals are kept apart.
var edges = [...]time.Duration{0, 30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour}

// backtest is the method tried at past moments: what each component is worth at each lead, and what their mean misses.
type backtest struct {
	h       *history
	parts   []component
	levels  []float64
	origins []origin
	buckets []bucket
	spread  []float64 // [step of the day after the history's end] relative size of residuals at that time of day, mean about 1
}

// bucket is the leads [from, to).
type bucket struct {
	from, to, stride int
	center           float64
	weights          []float64 // [component], sum 1
	plain, scaled    []float64 // [level] quantiles of the residuals, as they are and divided by spread
}

func newBacktest(h *history, horizon int, levels []float64) *backtest {
	b := &backtest{h: h, parts: h.components(), levels: levels, spread: h.spread()}
	longest := min(horizon, h.day)
	from := 0
	for _, e := range edges[1:] {
		to := min(longest, max(from+1, int(e/h.step)))
		if to > from {
			b.buckets = append(b.buckets, bucket{from: from, to: to, stride: max(1, (to-from)/perBucket), center: float64(from+to-1) / 2})
		}
		from = max(from, to)
	}
	b.pickOrigins(longest)
	b.weigh()
	b.measure()
	return b
}

// pickOrigins chooses the moments to stand at: every three hours over the last week, closer together in a short history, each
// with at least a day (in a long history five) before it. The newest ones see only their short leads.
func (b *backtest) pickOrigins(longest int) {
	h, n := b.h, len(b.h.y)
	hour := max(1, int(time.Hour/h.step))
	first, widest := max(1, n/4), max(1, n)
	if h.seasonal {
		first = max(h.day, min(n/2, 5*h.day), n-longest-7*h.day)
		widest = 3 * hour
	} else {
		hour = 1
	}
	stride := max(1, min(widest, (n-first)/maxOrigins))
	for o := n - hour; o >= first; o -= stride {
		at := h.enter(o)
		at.weight = math.Exp2(-max(0, float64(n-longest-o)/float64(h.day)) / 4) // half-life 4 days
		b.origins = append(b.origins, at)
	}
}

// weigh gives each component its weight in each bucket.
func (b *backtest) weigh() {
	errors, sums := make([]float64, len(b.parts)), make([]float64, len(b.parts))
	for k := range b.buckets {
		u := &b.buckets[k]
		clear(sums)
		tried := false
		for i := range b.origins {
			at := &b.origins[i]
			n := 0
			clear(errors)
			for j := u.from; j < u.to && at.o+j < len(b.h.y); j += u.stride {
				if !b.h.known[at.o+j] {
					continue
				}
				n++
				for c, part := range b.parts {
					errors[c] += math.Abs(b.h.y[at.o+j] - max(0, part(b.h, at, j)))
				}
			}
			if n > 0 {
				tried = true
				for c := range sums {
					sums[c] += at.weight * errors[c] / float64(n)
				}
			}
		}
		switch {
		case tried:
			u.weights = weights(sums)
		case k > 0:
			u.weights = b.buckets[k-1].weights
		default:
			u.weights = weights(make([]float64, len(b.parts)))
		}
	}
}

// weights turns errors into weights that add up to 1; equal errors weigh the same.
func weights(errors []float64) []float64 {
	w := make([]float64, len(errors))
	mean := 0.0
	for _, e := range errors {
		mean += e / float64(len(errors))
	}
	if mean == 0 {
		for c := range w {
			w[c] = 1 / float64(len(w))
		}
		return w
	}
	best, total := slices.Min(errors)+1e-3*mean, 0.0
	for c, e := range errors {
		w[c] = math.Pow(best/(e+1e-3*mean), power)
		total += w[c]
	}
	for c := range w {
		w[c] /= total
	}
	return w
}

// measure takes the quantiles of what the weighted mean missed.
func (b *backtest) measure() {
	var plain, scaled []residual
	for k := range b.buckets {
		u := &b.buckets[k]
		plain, scaled = plain[:0], scaled[:0]
		tries := 0
		for i := range b.origins {
			at := &b.origins[i]
			before := len(plain)
			for j := u.from; j < u.to && at.o+j < len(b.h.y); j += u.stride {
				if b.h.known[at.o+j] {
					miss := b.h.y[at.o+j] - b.mean(at, j)
					plain = append(plain, residual{miss, at.weight})
					scaled = append(scaled, residual{miss / b.spread[b.time(at.o+j)], at.weight})
				}
			}
			if len(plain) > before {
				tries++
			}
		}
		u.plain, u.scaled = quantiles(plain, b.levels), quantiles(scaled, b.levels)
		if tries < minTries {
			b.widen(k)
		}
	}
}

// widen gives a bucket with too few residuals a spread that errs on the wide side: the wider of the bucket before, growing with
// the square root of the lead as a random walk's does, and of how all that is known spreads around its mean.
func (b *backtest) widen(k int) {
	var all []residual
	mean := 0.0
	for i, v := range b.h.y {
		if b.h.known[i] {
			mean += v / float64(b.h.count)
		}
	}
	for i, v := range b.h.y {
		if b.h.known[i] {
			all = append(all, residual{v - mean, 1})
		}
	}
	u, around := &b.buckets[k], quantiles(all, b.levels)
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

// mean is the weighted mean of the components at lead j, weights interpolated between the centers of the buckets.
func (b *backtest) mean(at *origin, j int) float64 {
	k, share := b.position(j)
	left, right := b.buckets[k].weights, b.buckets[min(k+1, len(b.buckets)-1)].weights
	sum := 0.0
	for c, part := range b.parts {
		if w := left[c] + share*(right[c]-left[c]); w > 1e-6 {
			sum += w * max(0, part(b.h, at, j))
		}
	}
	return sum
}

// position finds the bucket whose center is at or before lead j, and how far j is on the way to the next center.
func (b *backtest) position(j int) (k int, share float64) {
	x := float64(j)
	for k+1 < len(b.buckets) && b.buckets[k+1].center <= x {
		k++
	}
	if x <= b.buckets[k].center || k+1 == len(b.buckets) {
		return k, 0
	}
	return k, (x - b.buckets[k].center) / (b.buckets[k+1].center - b.buckets[k].center)
}

// time is the step of the day counted from the end of the history.
func (b *backtest) time(i int) int {
	d := b.h.day
	return ((i-len(b.h.y))%d + d) % d
}

// predict returns mean and quantiles [level][step] for horizon steps after the first skip, which lie in the past.
func (b *backtest) predict(skip, horizon int) (mean []float64, bands [][]float64) {
	at := b.h.enter(len(b.h.y))
	mean, bands = make([]float64, horizon), make([][]float64, len(b.levels))
	for l := range bands {
		bands[l] = make([]float64, horizon)
	}
	for i := range mean {
		j := skip + i
		k, share := b.position(j)
		left, right := &b.buckets[k], &b.buckets[min(k+1, len(b.buckets)-1)]
		spread := b.spread[j%b.h.day]
		mean[i] = b.mean(&at, j)
		lowest := 0.0
		for l := range bands {
			plain := left.plain[l] + share*(right.plain[l]-left.plain[l])
			scaled := left.scaled[l] + share*(right.scaled[l]-left.scaled[l])
			lowest = max(lowest, mean[i]+(1-timeOfDay)*plain+timeOfDay*scaled*spread) // never below the level before, or 0
			bands[l][i] = lowest
		}
	}
	return mean, bands
}
