package forecastbench

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

const naiveDays = 14 // residuals are of the last so many days

// SeasonalNaive forecasts yesterday's values, with the quantiles of how each of the last 14 days missed the day after: what every
// forecaster is compared with. The history must be at least two days long.
func SeasonalNaive(t Task) (Forecast, error) {
	day := t.Day()
	y := filled(t.History, day)
	n := len(y)
	if n < 2*day || math.IsNaN(y[0]) {
		return Forecast{}, fmt.Errorf("history has %d steps; two days are needed, of which something is known", n)
	}
	misses := changes(y[max(0, n-(naiveDays+1)*day):], day)
	path := make(Values, t.Horizon)
	for i := range path {
		path[i] = y[n-day+i%day]
	}
	return spread(t, path, func(_ int, level float64) float64 { return quantile(misses, level) }), nil
}

// LastLevel forecasts that the last known value stays, with the quantiles of how values changed over as many steps in the history,
// measured at twelve leads and in a line between them. Leads beyond half the history take the changes over that half.
func LastLevel(t Task) (Forecast, error) {
	y := filled(t.History, t.Day())
	n := len(y)
	if n < 2 || math.IsNaN(y[0]) {
		return Forecast{}, errors.New("history has no two values")
	}
	level := y[n-1]
	for i := n - 1; i >= 0; i-- {
		if !math.IsNaN(t.History[i]) {
			level = t.History[i]
			break
		}
	}
	path := make(Values, t.Horizon)
	for i := range path {
		path[i] = level
	}
	leads := []int{1, 2, 3, 6, 12}
	for k := 1; k <= 8; k++ {
		leads = append(leads, t.Horizon*k/8)
	}
	for i := range leads {
		leads[i] = min(max(1, leads[i]), n/2)
	}
	slices.Sort(leads)
	leads = slices.Compact(leads)
	misses := make([][]float64, len(leads))
	for k, lead := range leads {
		misses[k] = changes(y, lead)
	}
	return spread(t, path, func(i int, level float64) float64 {
		k, found := slices.BinarySearch(leads, i+1)
		switch {
		case k == len(leads):
			return quantile(misses[k-1], level)
		case k == 0 || found:
			return quantile(misses[k], level)
		}
		before, after := quantile(misses[k-1], level), quantile(misses[k], level)
		return before + (after-before)*float64(i+1-leads[k-1])/float64(leads[k]-leads[k-1])
	}), nil
}

// changes are how y changed over lag steps, sorted.
func changes(y []float64, lag int) []float64 {
	out := make([]float64, 0, max(0, len(y)-lag))
	for i := lag; i < len(y); i++ {
		out = append(out, y[i]-y[i-lag])
	}
	slices.Sort(out)
	return out
}

// spread sets quantiles around a path by the miss of each step and level; demand is not below 0.
func spread(t Task, path Values, miss func(i int, level float64) float64) Forecast {
	f := Forecast{ID: t.ID, Mean: path, Quantiles: map[string]Values{}}
	for _, level := range t.Quantiles {
		q := make(Values, t.Horizon)
		for i := range q {
			q[i] = max(0, path[i]+miss(i, level))
		}
		f.Quantiles[Level(level)] = q
	}
	return f
}

// quantile of sorted values, in a line between two of them; none are 0.
func quantile(sorted []float64, level float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := level * float64(len(sorted)-1)
	i := int(at)
	next := min(i+1, len(sorted)-1)
	return sorted[i] + (at-float64(i))*(sorted[next]-sorted[i])
}
