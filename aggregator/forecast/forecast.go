// Package forecast turns a workload's past demand into its demand to come, with the doubt about it.
//
//	Series ─► history (incidents, gaps) ─► components (cheap paths) ─► backtest (weights, residuals) ─► correction ─► Forecast
//
// A forecast is a weighted mean of simple paths: yesterday, profiles of the day over recent days and weeks, the present level
// carried along the shape of the day, and a cycle of another length where one is found. The weight of each path at each lead is
// earned in backtests inside the history, and the quantiles come from what the weighted mean missed in those same backtests. A
// small forest of trees, grown on open recordings, then moves the quantiles by what such forecasts are wont to miss. Where less
// than a day is known, the paths are levels without a shape, and nothing is corrected. Where demand was saturated it is lifted
// first; where there is often none, its spread around each time of day has a share. There is no
// clock, no I/O and no chance: the same series gives the same forecast.
package forecast

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/foretide/foretide/pkg/trees"
)

const (
	minKnown   = 10                  // known points below which nothing is forecast
	maxHistory = 28 * 24 * time.Hour // older points are not looked at
	maxGap     = 3 * 24 * time.Hour  // a newest known point older than this forecasts nothing
	maxHorizon = 14 * 24 * time.Hour
	maxValue   = 1e12 // beyond any measurement; keeps sums finite
)

// Errors of Predict; they come wrapped with the numbers.
var (
	ErrShortHistory = errors.New("history is too short")   // fewer than 10 known points
	ErrStaleHistory = errors.New("history is too old")     // the newest known point is more than 3 days before the end
	ErrInvalid      = errors.New("invalid forecast input") // names the field, the value and what is allowed
)

// Methods a Forecast can name.
const (
	MethodSeasonal = "seasonal" // shapes of the day, weighted by backtests
	MethodLevel    = "level"    // levels without a shape: less than a day is known
)

// Series is past demand on a regular grid. Values[i] covers [End-(n-i)·Step, End-(n-i-1)·Step), where n is len(Values).
type Series struct {
	End       time.Time
	Step      time.Duration // divides 24 h
	Values    []float64     // busy GPUs, 0 to 1e12; NaN = missing, which is not zero
	Saturated []bool        // [step] all there was to serve demand was busy: it was Values[i] or more, unknown if 0. nil = never; else as long as Values
	Calendar  Calendar
}

// Forecast is demand to come on the grid of its series. Step i covers [Start+i·Step, Start+(i+1)·Step).
type Forecast struct {
	Start     time.Time // the series' End
	Step      time.Duration
	Levels    []float64     // ascending, between 0 and 1
	Mean      []float64     // [step], busy GPUs, at least 0
	Quantiles [][]float64   // [level][step], busy GPUs, at least 0; a higher level is never below a lower one
	Method    string        // MethodSeasonal or MethodLevel
	Period    time.Duration // of the strongest pattern that was found, of up to 60 h; 0 = none, two days are not known, or steps do not divide an hour
	History   time.Duration // known history behind the forecast: gaps do not count
	LastKnown time.Time     // end of the newest known step: leads are counted from here
	Backtests int           // past moments at which the method was tried to weight it and to measure its doubt
	Parts     []Part        // what Mean was made of before its correction, mean over the horizon; the largest share first
	Missed    float64       // mean absolute miss in the backtests, of all leads, as a share of the demand there; 0 when nothing was tried
}

// Part is one of the paths that a forecast is made of.
type Part struct {
	Name  string
	Share float64 // of the mean, 0 to 1
}

// Predict forecasts horizon steps after s.End, with a quantile for each level (0 < level < 1; sorted, duplicates dropped).
// It returns an error that is ErrShortHistory, ErrStaleHistory or ErrInvalid.
func Predict(s Series, horizon int, levels []float64) (Forecast, error) {
	return PredictWith(correction(), s, horizon, levels)
}

// PredictWith is Predict with another correction, or with none when it is nil: to judge what a correction is worth on series that
// it was not trained on.
func PredictWith(correction *trees.Forest, s Series, horizon int, levels []float64) (Forecast, error) {
	f, _, err := draw(correction, s, horizon, levels)
	return f, err
}

// basis is what a forecast rests on.
type basis struct {
	*backtest
	advice  *advice  // nil when nothing was corrected
	climate *climate // nil when it has no share
}

// draw makes a forecast, and returns what it rests on.
func draw(correction *trees.Forest, s Series, horizon int, levels []float64) (Forecast, basis, error) {
	levels, err := checkLevels(levels)
	if err != nil {
		return Forecast{}, basis{}, err
	}
	h, err := read(s, horizon)
	if err != nil {
		return Forecast{}, basis{}, err
	}
	f := Forecast{Start: s.End, Step: s.Step, Levels: levels, Method: MethodLevel}
	if h.seasonal {
		f.Method, f.Period = MethodSeasonal, h.strongest
	}
	f.History = time.Duration(h.count) * s.Step
	f.LastKnown = s.End.Add(-time.Duration(h.missing) * s.Step)
	all := slices.Concat(levels, correctedLevels[:])
	slices.Sort(all)
	ahead := h.almanac.steps(0, horizon)
	b := newBacktest(h, h.gap+ahead, slices.Compact(all))
	f.Backtests, f.Parts, f.Missed = len(b.origins), b.parted(), b.buckets.missed()
	mean, bands := b.predict(h.gap, ahead)
	on := basis{backtest: b, climate: b.climate()}
	if h.seasonal && correction != nil {
		on.advice = newDraft(b, h.gap, mean, bands).ask(correction)
		on.advice.apply(mean, bands)
	}
	on.climate.blend(h.gap, h.gap, mean, bands)
	f.Mean = h.almanac.real(0, horizon, b.levels, mean, bands)
	for _, level := range levels {
		i, _ := slices.BinarySearch(b.levels, level)
		f.Quantiles = append(f.Quantiles, bands[i])
	}
	return f, on, nil
}

// read makes the history of a series that is long and fresh enough.
func read(s Series, horizon int) (*history, error) {
	if err := checkSeries(s, horizon); err != nil {
		return nil, err
	}
	s = s.served()
	almanac, ordinary := newAlmanac(s, horizon)
	h := newHistory(ordinary)
	h.almanac, h.missing = almanac, silent(s.Values)
	if h.count < minKnown {
		return nil, fmt.Errorf("%w: %d known points, at least %d are needed", ErrShortHistory, h.count, minKnown)
	}
	if gap := time.Duration(h.missing) * s.Step; gap > maxGap {
		return nil, fmt.Errorf("%w: the newest known point ended %s before the end of the series, at most %s are bridged", ErrStaleHistory, gap, maxGap)
	}
	return h, nil
}

// checkSeries tells what is wrong with the input.
func checkSeries(s Series, horizon int) error {
	if s.Step <= 0 || (24*time.Hour)%s.Step != 0 {
		return fmt.Errorf("%w: step is %s; it must be more than 0 and divide 24 h", ErrInvalid, s.Step)
	}
	if most := int(maxHorizon / s.Step); horizon < 1 || horizon > most {
		return fmt.Errorf("%w: horizon is %d steps of %s; it must be from 1 to %d", ErrInvalid, horizon, s.Step, most)
	}
	if n := len(s.Saturated); s.Saturated != nil && n != len(s.Values) {
		return fmt.Errorf("%w: saturated has %d steps; it must have as many as values, %d, or be nil", ErrInvalid, n, len(s.Values))
	}
	for i, v := range s.Values {
		if v < 0 || v > maxValue {
			return fmt.Errorf("%w: values[%d] is %g; it must be from 0 to %g, or NaN where it is missing", ErrInvalid, i, v, maxValue)
		}
	}
	return s.Calendar.check()
}

// checkLevels returns the levels sorted and without duplicates, or what is wrong with them.
func checkLevels(levels []float64) ([]float64, error) {
	if len(levels) == 0 {
		return nil, fmt.Errorf("%w: levels are empty; there must be at least one", ErrInvalid)
	}
	for i, l := range levels {
		if !(l > 0 && l < 1) {
			return nil, fmt.Errorf("%w: levels[%d] is %g; it must be between 0 and 1", ErrInvalid, i, l)
		}
	}
	levels = slices.Clone(levels)
	slices.Sort(levels)
	return slices.Compact(levels), nil
}

// Quantile returns the path of one level, interpolated between the two levels beside it. A level outside Levels is an error.
func (f Forecast) Quantile(level float64) ([]float64, error) {
	lower, upper, share, err := f.between(level)
	if err != nil {
		return nil, err
	}
	path := make([]float64, len(f.Mean))
	for i := range path {
		path[i] = lower[i] + share*(upper[i]-lower[i])
	}
	return path, nil
}

// Peak returns the largest value of a level's path over the steps that overlap [from, to). It returns false when the level is
// outside Levels, when no step overlaps, and when the forecast ends before to: an unknown peak is not a low one. The time before
// Start is past, and does not count.
func (f Forecast) Peak(level float64, from, to time.Time) (float64, bool) {
	lower, upper, share, err := f.between(level)
	if err != nil || !from.Before(to) || f.Step <= 0 || to.After(f.Start.Add(time.Duration(len(f.Mean))*f.Step)) {
		return 0, false
	}
	first, end := 0, int((to.Sub(f.Start)+f.Step-1)/f.Step)
	if from.After(f.Start) {
		first = int(from.Sub(f.Start) / f.Step)
	}
	peak, ok := 0.0, false
	for i := first; i < end; i++ {
		peak, ok = max(peak, lower[i]+share*(upper[i]-lower[i])), true
	}
	return peak, ok
}

// between returns the paths beside a level and how far it lies from the lower to the upper.
func (f Forecast) between(level float64) (lower, upper []float64, share float64, err error) {
	i, found := slices.BinarySearch(f.Levels, level)
	switch {
	case found:
		return f.Quantiles[i], f.Quantiles[i], 0, nil
	case math.IsNaN(level) || i == 0 || i == len(f.Levels):
		return nil, nil, 0, fmt.Errorf("%w: level is %g; it must be within the forecast's levels %v", ErrInvalid, level, f.Levels)
	}
	return f.Quantiles[i-1], f.Quantiles[i], (level - f.Levels[i-1]) / (f.Levels[i] - f.Levels[i-1]), nil
}
