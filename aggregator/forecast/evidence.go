package forecast

import (
	"math"
	"slices"
)

// correctedLevels are the quantiles that the correction moves; levels between them are moved by what lies between.
var correctedLevels = [...]float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99}

// Indexes of correctedLevels: the median, and the ends of the middle 60 % and 80 %.
const (
	lowestLevel  = 0
	lowLevel     = 1
	medianLevel  = 4
	highLevel    = 7
	highestLevel = 8
)

// Features of a lead, all without a unit. Those that are a distance are in units of the forecast's own spread at that lead,
// so that they mean the same for every workload.
const (
	featureLead   = 0                  // log of the hours ahead, a day at most
	featurePaths  = 1                  // [component] its distance from the mean; 0 where the history cannot feed it
	featureErrors = 1 + componentCount // [judged] log of its error in backtests by that of the mean
	featureRest   = featureErrors + len(judged)
	featureCount  = featureRest + 19
)

// judged are the components whose errors are features: one of each kind.
var judged = [...]int{lastLevel, yesterday, medianDay, weeklyDay, slow15m, slow12h, sameWeekday, lastWeekLevel}

type features [featureCount]float32

// traits describe the newest week of a history.
type traits struct {
	week, day       float64 // mean
	spread          float64 // mean distance from the mean
	rough           float64 // mean distance from the step before, by spread
	weekMax, dayMax float64
	newest          float64
	days            float64 // known history, at most 7
}

func (h *history) traits() traits {
	n := len(h.y)
	from, yesterday := max(0, n-7*h.day), max(0, n-h.day)
	t := traits{week: h.value.mean(from, n), day: h.value.mean(yesterday, n), newest: h.y[n-1]}
	t.days = min(7, float64(h.count)/float64(h.day))
	difference := 0.0
	for i := from; i < n; i++ {
		v := h.y[i]
		t.spread += math.Abs(v-t.week) / float64(n-from)
		t.weekMax = max(t.weekMax, v)
		if i >= yesterday {
			t.dayMax = max(t.dayMax, v)
		}
		if i > from {
			difference += math.Abs(v-h.y[i-1]) / float64(n-from)
		}
	}
	if t.spread > 0 {
		t.rough = difference / t.spread
	}
	return t
}

// draft is a forecast before its correction: quantiles at correctedLevels.
type draft struct {
	b     *backtest
	at    origin
	t     traits
	skip  int
	mean  []float64
	bands [len(correctedLevels)][]float64 // [level][step]
}

// newDraft takes the bands of the backtest's levels, correctedLevels among them.
func newDraft(b *backtest, skip int, mean []float64, bands [][]float64) *draft {
	d := &draft{b: b, at: b.h.enter(len(b.h.y)), t: b.h.traits(), skip: skip, mean: mean}
	for l, level := range correctedLevels {
		i, _ := slices.BinarySearch(b.levels, level)
		d.bands[l] = bands[i]
	}
	return d
}

// scale is the unit of the features: the middle 60 % of the draft as if they were those of a normal distribution, with a floor of
// a thousandth of the level. Where there is no doubt it is 0: nothing is to be corrected.
func scale(low, high, week float64) float64 {
	doubt := high - low
	if doubt <= 1e-9*week { // what rounding leaves
		return 0
	}
	return doubt/(2*0.8416) + 1e-3*week // ±0.8416 standard deviations hold 60 %
}

func (d *draft) scale(i int) float64 {
	return scale(d.bands[lowLevel][i], d.bands[highLevel][i], d.t.week)
}

// features describes step i. paths has room for all components.
func (d *draft) features(i int, paths []float64, x *features) {
	b, h, t := d.b, d.b.h, &d.t
	j, m, s := d.skip+i, d.mean[i], d.scale(i)
	by := func(v, unit, limit float64) float32 { return float32(max(-limit, min(limit, v/(unit+1e-12)))) }
	*x = features{}
	x[featureLead] = float32(math.Log(min(24, float64(j+1)*h.step.Hours())))
	h.paths(&d.at, j, paths)
	for c, v := range paths[:h.usual()] {
		x[featurePaths+c] = by(v-m, s, 6)
	}
	k, share := b.buckets.position(j)
	u, v := &b.buckets[k], &b.buckets[min(k+1, len(b.buckets)-1)]
	between := func(left, right float64) float64 { return left + share*(right-left) }
	floor := 1e-3*t.week + 1e-12
	if u.errors != nil && v.errors != nil {
		own := math.Log(between(u.miss, v.miss) + floor)
		for k, c := range judged {
			if c < h.usual() {
				x[featureErrors+k] = by(math.Log(between(u.errors[c], v.errors[c])+floor)-own, 1, 4)
			}
		}
	}
	hourAgo := max(0, i-max(1, int(1/h.step.Hours())))
	rest := [...]float32{
		by(math.Log((s+1e-9)/(m+0.05*t.week+1e-9)), 1, 6),
		by(m, t.week, 6),
		by(t.newest-m, s, 6),
		by(between(u.bias, v.bias), 1, 4),
		by(between(u.calm, v.calm), 1, 6),
		by(d.bands[highestLevel][i]+d.bands[lowestLevel][i]-2*d.bands[medianLevel][i], d.bands[highestLevel][i]-d.bands[lowestLevel][i], 1),
		by(b.spread[j%h.day], 1, 6),
		by(h.ring(h.slow, d.at.o, j)-d.at.slowMean, t.spread, 6),
		by(t.rough, 1, 3),
		by(t.dayMax-m, s, 12),
		by(t.weekMax-m, s, 12),
		by(t.day-t.week, t.spread, 6),
		by(h.levels[levelSlow2h][d.at.o]-d.at.slowMean, s, 6),
		by(m-d.mean[hourAgo], s, 6),
		by(t.spread, t.week, 5),
		by(h.ratio[d.at.o], 1, 4),
		by(d.bands[medianLevel][i]-m, s, 3),
		float32(t.days),
		by(math.Log(h.moved), 1, 3),
	}
	copy(x[featureRest:], rest[:])
}

// Evidence is what the learned correction sees of one step of a forecast, and what it may change.
type Evidence struct {
	Step      int       // of the forecast
	Mean      float64   // busy GPUs
	Scale     float64   // busy GPUs; the unit of Quantiles
	Quantiles []float32 // at the levels of EvidenceLevels, less Mean
	Features  []float32
}

// EvidenceLevels are the levels that the learned correction moves.
func EvidenceLevels() []float64 { return append([]float64(nil), correctedLevels[:]...) }

// Gather returns the evidence at some steps of a forecast that is not corrected. It is there to train the correction. Its errors are
// those of Predict; without the shape of a day there is no evidence. It does not look at the Calendar.
func Gather(s Series, horizon int, steps []int) ([]Evidence, error) {
	s.Calendar = Calendar{}
	h, err := read(s, horizon)
	if err != nil || !h.seasonal {
		return nil, err
	}
	b := newBacktest(h, h.gap+horizon, correctedLevels[:])
	mean, bands := b.predict(h.gap, horizon)
	d := newDraft(b, h.gap, mean, bands)
	paths := make([]float64, b.parts)
	var x features
	var all []Evidence
	for _, i := range steps {
		d.features(i, paths, &x)
		e := Evidence{Step: i, Mean: mean[i], Scale: d.scale(i), Features: append([]float32(nil), x[:]...)}
		if !(e.Scale > 0) {
			continue
		}
		for l := range correctedLevels {
			e.Quantiles = append(e.Quantiles, float32((d.bands[l][i]-e.Mean)/e.Scale))
		}
		all = append(all, e)
	}
	return all, nil
}
