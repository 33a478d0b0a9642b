package forecast

import (
	"slices"
	"time"
)

const (
	idleShare     = 0.25             // of known steps without demand, from which on the climate is looked at
	climateAround = 30 * time.Minute // to each side of a time of day …
	climateSteps  = 4                // … in about so many stretches
	climatePerDay = 96               // times of day that are told apart
	climateGain   = 0.95             // of the loss, at most, with the climate: nothing is changed for less
)

// blends are the shares that the climate can have.
var blends = [...]float64{0, 0.25, 0.5, 0.75, 1}

// climate is how demand was spread around each time of day, whatever it was lately. The demand of a workload that is often idle is
// there or it isn't: no path comes near, and what a path misses says little of how much it would be. Where the backtests say that
// the spread alone told more, it has a share in the forecast. (In the weather's terms: climatology, against persistence.)
type climate struct {
	day       int
	slot      int         // steps that share a spread
	means     []float64   // [slot of the day after the history's end]
	quantiles [][]float64 // [slot][level]
	shares    []float64   // [bucket]
	buckets   buckets
}

// idle tells whether there often was no demand, and at times some.
func (h *history) idle() bool {
	none := 0
	for i, v := range h.y {
		if h.known[i] && v == 0 {
			none++
		}
	}
	return h.seasonal && none < h.count && float64(none) >= idleShare*float64(h.count)
}

// climate looks for the share of the climate in each bucket; nil when it has none.
func (b *backtest) climate() *climate {
	h := b.h
	if !h.idle() {
		return nil
	}
	c := &climate{day: h.day, slot: max(1, h.day/climatePerDay), shares: make([]float64, len(b.buckets)), buckets: b.buckets}
	var s climateSample
	for k := range b.buckets {
		c.shares[k] = b.climateShare(&b.buckets[k], &s)
	}
	if slices.Max(c.shares) == 0 {
		return nil
	}
	for t := 0; t < h.day; t += c.slot {
		q := make([]float64, len(b.levels))
		c.means = append(c.means, s.take(h, len(h.y), t, b.levels, q))
		c.quantiles = append(c.quantiles, q)
	}
	return c
}

// climateSample is what demand was around a time of day on the days before an origin.
type climateSample struct {
	all   []residual
	order sorter
}

// take writes the quantiles to q and returns the mean.
func (s *climateSample) take(h *history, o, j int, levels, q []float64) (mean float64) {
	around := max(1, int(climateAround/h.step))
	stride := max(1, 2*around/climateSteps)
	all, sum := s.all[:0], 0.0
	for i := o + j%h.day - h.day; i+around >= 0; i -= h.day {
		for k := max(0, i-around); k <= min(i+around, o-1); k += stride {
			if h.known[k] {
				all = append(all, residual{h.truth(k), 1})
				sum += h.truth(k)
			}
		}
	}
	s.all = all
	copy(q, s.order.quantiles(all, levels))
	return sum / max(1, float64(len(all)))
}

// climateShare tries the shares in the backtests of a bucket, and returns the one with the least quantile loss. It must be clearly
// less, and in neither half of the backtests more: one burst is no climate.
func (b *backtest) climateShare(u *bucket, s *climateSample) float64 {
	h := b.h
	var losses [2][len(blends)]float64 // in the newer and the older half of the backtests
	w, q, own := make([]float64, b.parts), make([]float64, len(b.levels)), blank(len(b.levels), 1)
	for i := range b.origins {
		at, half := &b.origins[i], 2*i/len(b.origins)
		for l := u.first + i%2; l < min(u.last, at.leads); l += 4 {
			j := b.leads[l]
			step := at.o + j
			if !h.known[step] {
				continue
			}
			s.take(h, at.o, j, b.levels, q)
			b.buckets.mix(j, w)
			b.buckets.spreadOut(0, j, dot(w, b.expected(i, l)), b.spread[b.time(step)], own)
			for _, level := range correctedLevels {
				n, _ := slices.BinarySearch(b.levels, level)
				for k, share := range blends {
					miss := h.truth(step) - own[n][0] - share*(q[n]-own[n][0])
					losses[half][k] += at.weight * max(level*miss, (level-1)*miss)
				}
			}
		}
	}
	newer, older := &losses[0], &losses[1]
	best, least := 0.0, climateGain*(newer[0]+older[0])
	for k, share := range blends {
		if newer[k] <= newer[0] && older[k] <= older[0] && newer[k]+older[k] < least {
			best, least = share, newer[k]+older[k]
		}
	}
	return best
}

// blend gives the climate its share of a forecast that begins at a lead, and so many steps after the end of the history.
func (c *climate) blend(lead, after int, mean []float64, bands [][]float64) {
	if c == nil {
		return
	}
	for i := range mean {
		k, between := c.buckets.position(lead + i)
		share := c.shares[k] + between*(c.shares[min(k+1, len(c.shares)-1)]-c.shares[k])
		slot := (after + i) % c.day / c.slot
		mean[i] += share * (c.means[slot] - mean[i])
		lowest := 0.0
		for l, q := range c.quantiles[slot] {
			lowest = max(lowest, bands[l][i]+share*(q-bands[l][i])) // never below the level before by what rounding leaves
			bands[l][i] = lowest
		}
	}
}
