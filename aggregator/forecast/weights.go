package forecast

import (
	"math"
	"slices"
	"time"
)

const (
	power     = 8 // weight = error to the power of -8: the good ones rule, none alone
	rounds    = 5 // in which the weights are refined
	pace      = 2 // of a round: the change of a weight's logarithm by the slope of the loss, relative to the loss
	maxChange = 1 // of a weight's logarithm in a round

	levelLasts = 6 * time.Hour // in which the weight of the last level halves where nothing was tried
)

// weigh gives each component its weight in each bucket: first by its own errors there and in the buckets beside, then by what
// it adds to the others.
func (b *backtest) weigh() {
	for k := range b.buckets {
		b.judge(&b.buckets[k])
	}
	e := make([]float64, b.parts)
	for k := range b.buckets {
		u := &b.buckets[k]
		switch {
		case b.untried():
			u.weights = b.presumed(u)
		case u.errors != nil:
			copy(e, u.errors)
			own := slices.Min(e)
			for _, near := range b.buckets[max(0, k-1):min(k+2, len(b.buckets))] {
				if near.errors == nil || near.from == u.from {
					continue
				}
				if best := slices.Min(near.errors); best > 0 {
					for c := range e {
						e[c] += near.errors[c] * own / best
					}
				}
			}
			u.weights = weights(e)
			b.refine(u)
		case k > 0:
			u.weights = b.buckets[k-1].weights
		default:
			u.weights = weights(e)
		}
	}
}

// judge takes the components' mean absolute errors in a bucket; nil where nothing was tried.
func (b *backtest) judge(u *bucket) {
	sums, total := make([]float64, b.parts), 0.0
	b.each(u, func(at *origin, step int, expected []float64) {
		if b.h.saturatedAt(step) {
			for c, v := range expected {
				sums[c] += at.weight * b.h.missed(step, v)
			}
		} else {
			y := b.h.y[step]
			for c, v := range expected {
				sums[c] += at.weight * math.Abs(y-v)
			}
		}
		total += at.weight
	})
	if total > 0 {
		for c := range sums {
			sums[c] /= total
		}
		u.errors = sums
	}
}

// untried tells whether there is a day of history and so little more that hardly anything could be tried.
func (b *backtest) untried() bool { return b.h.seasonal && len(b.origins) < minTries }

// presumed are the weights where nothing could be tried: the last level at first, the day there is later on. The levels that shapes
// are carried at mean nothing yet: what came before was not seen without a shape.
func (b *backtest) presumed(u *bucket) []float64 {
	w := make([]float64, b.parts)
	ahead := time.Duration(u.center+1) * b.h.step
	w[lastLevel] = math.Exp2(-float64(ahead) / float64(levelLasts))
	for c := yesterday; c <= weeklyDay; c++ {
		w[c] = (1 - w[lastLevel]) / (weeklyDay - yesterday + 1)
	}
	return w
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

// refine moves the weights to where the absolute error of the weighted mean falls (exponentiated gradient: Kivinen, Warmuth 1997).
func (b *backtest) refine(u *bucket) {
	slope := make([]float64, b.parts)
	for range rounds {
		clear(slope)
		loss, demand, all := 0.0, 0.0, 0.0
		b.each(u, func(at *origin, step int, expected []float64) {
			mean := dot(u.weights, expected)
			miss, sign := b.h.missed(step, mean), at.weight
			if miss == 0 && b.h.saturatedAt(step) {
				return // where more was expected than was served, no component is the better one
			}
			loss += at.weight * math.Abs(miss)
			demand += at.weight * b.h.y[step]
			if miss < 0 {
				sign = -sign
			}
			all += sign * mean
			slope := slope[:len(expected)]
			for c, v := range expected {
				slope[c] += sign * v
			}
		})
		if loss <= 1e-9*demand { // what rounding leaves
			return
		}
		total := 0.0
		for c := range slope {
			u.weights[c] *= math.Exp(max(-maxChange, min(maxChange, pace*(slope[c]-all)/loss)))
			total += u.weights[c]
		}
		for c := range u.weights {
			u.weights[c] /= total
		}
	}
}
