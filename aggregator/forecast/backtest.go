package forecast

import (
	"cmp"
	"math"
	"slices"
	"time"
)

const (
	backtestDays = 12            // how far back a backtest begins, at most
	between      = 3 * time.Hour // from one backtest to the next
	maxOrigins   = 120           // backtests
	perBucket    = 8             // leads looked at per bucket and origin
	halfLifeDays = 3             // in which a backtest's weight halves
	minTries     = 3             // origins below which a bucket's residuals are not trusted alone
	daysBefore   = 3             // days of history that a backtest has before it, where there are as many
)

// edges are the leads between which weights and residuals are kept apart.
var edges = [...]time.Duration{0, 30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour}

// backtest is the method tried at past moments: what each component is worth at each lead, and what their mean misses.
type backtest struct {
	h       *history
	parts   int // components
	levels  []float64
	origins []origin
	first   int // the earliest moment that may be one
	buckets buckets
	leads   []int     // looked at, bucket after bucket
	tried   []float64 // [origin][lead][component]: what was expected
	spread  []float64 // [step of the day after the history's end] relative size of residuals at that time of day, mean about 1
}

func newBacktest(h *history, horizon int, levels []float64) *backtest {
	b := &backtest{h: h, parts: h.components(), levels: levels, spread: h.spread()}
	b.pickLeads(min(horizon, h.day))
	b.pickOrigins(min(horizon, h.day))
	b.try()
	b.weigh()
	b.measure()
	return b
}

func (b *backtest) pickLeads(longest int) {
	from := 0
	for _, e := range edges[1:] {
		to := min(longest, max(from+1, int(e/b.h.step)))
		if to > from {
			u := bucket{from: from, to: to, first: len(b.leads), center: float64(from+to-1) / 2}
			for j := from; j < to; j += max(1, (to-from)/perBucket) {
				b.leads = append(b.leads, j)
			}
			u.last = len(b.leads)
			b.buckets = append(b.buckets, u)
		}
		from = max(from, to)
	}
}

// pickOrigins chooses the moments to stand at: every three hours, closer together in a short history, each with at least a day
// (in a long history three) before it. The newest ones see only their short leads.
func (b *backtest) pickOrigins(longest int) {
	h, n := b.h, len(b.h.y)
	newest, first, stride := max(1, int(time.Hour/h.step)), 0, max(1, int(between/h.step))
	if h.seasonal {
		first = max(h.day, min(n/2, daysBefore*h.day), n-longest-backtestDays*h.day)
	} else {
		newest, first, stride = 1, max(1, n/4), n
	}
	b.first = first
	stride = max(1, min(stride, (n-first)/maxOrigins))
	for o := n - newest; o >= first; o -= stride {
		at := h.enter(o)
		at.weight = math.Exp2(-max(0, float64(n-longest-o)/float64(h.day)) / halfLifeDays)
		for at.leads < len(b.leads) && o+b.leads[at.leads] < n {
			at.leads++
		}
		b.origins = append(b.origins, at)
	}
}

// try lets every component forecast from every origin.
func (b *backtest) try() {
	b.tried = make([]float64, len(b.origins)*len(b.leads)*b.parts)
	for i := range b.origins {
		for l := range b.origins[i].leads {
			b.h.paths(&b.origins[i], b.leads[l], b.expected(i, l))
		}
	}
}

// expected is what the components expected at the l-th lead from the i-th origin.
func (b *backtest) expected(i, l int) []float64 {
	k := (i*len(b.leads) + l) * b.parts
	return b.tried[k : k+b.parts]
}

// each calls visit with every known value of a bucket, its origin and what was expected of it.
func (b *backtest) each(u *bucket, visit func(at *origin, step int, expected []float64)) {
	for i := range b.origins {
		at := &b.origins[i]
		for l := u.first; l < min(u.last, at.leads); l++ {
			if step := at.o + b.leads[l]; b.h.known[step] {
				visit(at, step, b.expected(i, l))
			}
		}
	}
}

// time is the step of the day counted from the end of the history.
func (b *backtest) time(i int) int {
	d := b.h.day
	return ((i-len(b.h.y))%d + d) % d
}

// predict returns mean and quantiles [level][step] for horizon steps after the first skip, which lie in the past.
func (b *backtest) predict(skip, horizon int) (mean []float64, bands [][]float64) {
	at := b.h.enter(len(b.h.y))
	mean, bands = make([]float64, horizon), blank(len(b.levels), horizon)
	expected, weights := make([]float64, b.parts), make([]float64, b.parts)
	for i := range mean {
		j := skip + i
		b.h.paths(&at, j, expected)
		b.buckets.mix(j, weights)
		mean[i] = dot(weights, expected)
		b.buckets.spreadOut(i, j, mean[i], b.spread[j%b.h.day], bands)
	}
	return mean, bands
}

// parted names the components with their shares, the largest first.
func (b *backtest) parted() []Part {
	parts := make([]Part, b.parts)
	for c, share := range b.buckets.shares(b.parts) {
		parts[c] = Part{b.h.name(c), share}
	}
	slices.SortStableFunc(parts, func(a, b Part) int { return cmp.Compare(b.Share, a.Share) })
	return parts
}
