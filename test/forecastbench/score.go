package forecastbench

import (
	"maps"
	"math"
	"slices"
	"time"
)

const (
	// offset keeps the ratio of two losses near zero from saying much.
	offset = 1e-3
	// most is what one series may add to the mean of a ratio to its own demand.
	most = 5
)

// deciles are the levels of MWQL.
var deciles = []float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}

// Scores are of one series, over the first hours of all its tasks together, or means over series. Capacity is the .95 quantile.
type Scores struct {
	MASE   float64 // mean absolute error of the point forecast / Case.Scale
	WAPE   float64 // sum of absolute errors / sum of demand
	MWQL   float64 // mean over the deciles of 2 · sum of pinball losses / sum of demand
	WQL95  float64 // the same at .95
	Cov95  float64 // share of time with demand ≤ capacity; .95 is right
	CalErr float64 // |Cov95 − .95|
	Under  float64 // share of time with demand > capacity
	Short  float64 // sum of missing capacity / sum of demand
	Over   float64 // sum of unused capacity / sum of demand
}

// Series are the scores of one series.
type Series struct {
	Scores
	Tasks            int
	actual, capacity []float64
}

// Table is how well a forecaster did.
type Table struct {
	Scores                 // means over series; of what is relative to demand a series adds at most 5
	RMASE, RMWQL   float64 // geometric mean over series of the ratio to the base; below 1 is better
	K5, Over5      float64 // the one factor on all capacities that makes Under 5 %, and Over with it; NaN when none does
	Seconds        float64 // mean of what forecasts took; NaN when unknown
	Tasks, Missing int     // answered, and not answered: those are in no other figure
	BySeries       map[string]Series
}

// Score compares forecasts with what happened in the first hours of each case (24 h is all of it). The base is usually
// SeasonalNaive's forecasts of the same cases; without one, the ratios to it are NaN.
func Score(cases []Case, forecasts, base map[string]Forecast, within time.Duration) Table {
	t := Table{BySeries: series(cases, forecasts, within)}
	known, seconds := 0, 0.0
	for _, c := range cases {
		f, ok := forecasts[c.ID]
		if !ok {
			t.Missing++
			continue
		}
		t.Tasks++
		if f.Seconds > 0 {
			known, seconds = known+1, seconds+f.Seconds
		}
	}
	t.Seconds = seconds / float64(known)
	t.Scores = mean(t.BySeries)
	t.K5, t.Over5 = evenly(t.BySeries)
	other := series(cases, base, within)
	t.RMASE = Ratio(t.BySeries, other, func(s Scores) float64 { return s.MASE })
	t.RMWQL = Ratio(t.BySeries, other, func(s Scores) float64 { return s.MWQL })
	return t
}

// Ratio is the geometric mean over the series of both of what the column is in one, relative to the other.
func Ratio(one, other map[string]Series, column func(Scores) float64) float64 {
	sum, n := 0.0, 0
	for _, name := range slices.Sorted(maps.Keys(one)) {
		if o, ok := other[name]; ok {
			sum += math.Log((column(one[name].Scores) + offset) / (column(o.Scores) + offset))
			n++
		}
	}
	return math.Exp(sum / float64(n))
}

// series scores each series that has a forecast and a known value.
func series(cases []Case, forecasts map[string]Forecast, within time.Duration) map[string]Series {
	totals := map[string]*total{}
	for _, c := range cases {
		f, ok := forecasts[c.ID]
		if !ok {
			continue
		}
		t := totals[c.Series]
		if t == nil {
			t = &total{}
			totals[c.Series] = t
		}
		t.add(c, f, c.steps(within))
	}
	all := map[string]Series{}
	for name, t := range totals {
		if t.tasks > 0 {
			all[name] = t.scores()
		}
	}
	return all
}

// total collects the tasks of one series.
type total struct {
	tasks                  int
	scaled, errors, demand float64
	pinball, pinball95     float64
	actual, capacity       []float64
}

func (t *total) add(c Case, f Forecast, steps int) {
	bands := make([]Values, len(deciles))
	for l, level := range deciles {
		bands[l] = f.at(level)
	}
	upper := f.at(0.95)
	errors, n := 0.0, 0
	for i, y := range c.Actual[:min(steps, len(c.Actual))] {
		if math.IsNaN(y) {
			continue
		}
		n++
		errors += math.Abs(y - number(f.Mean[i]))
		t.demand += math.Abs(y)
		for l, level := range deciles {
			t.pinball += pinball(level, y, number(bands[l][i])) / float64(len(deciles))
		}
		capacity := number(upper[i])
		t.pinball95 += pinball(0.95, y, capacity)
		t.actual, t.capacity = append(t.actual, y), append(t.capacity, capacity)
	}
	if n > 0 {
		t.tasks++
		t.errors += errors
		t.scaled += errors / float64(n) / c.Scale
	}
}

// number counts what is no number as 0.
func number(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}

// pinball is the loss of the quantile z at a level when y happened.
func pinball(level, y, z float64) float64 {
	if y >= z {
		return level * (y - z)
	}
	return (1 - level) * (z - y)
}

func (t *total) scores() Series {
	demand, n := max(t.demand, 1e-12), float64(len(t.actual))
	s := Series{Tasks: t.tasks, actual: t.actual, capacity: t.capacity}
	s.MASE, s.WAPE = t.scaled/float64(t.tasks), t.errors/demand
	s.MWQL, s.WQL95 = 2*t.pinball/demand, 2*t.pinball95/demand
	for i, y := range t.actual {
		if y > t.capacity[i] {
			s.Under += 1 / n
		}
		s.Short += max(0, y-t.capacity[i]) / demand
		s.Over += max(0, t.capacity[i]-y) / demand
	}
	s.Cov95 = 1 - s.Under
	s.CalErr = math.Abs(s.Cov95 - 0.95)
	return s
}

// mean over series, in the order of their names so that it is the same each time.
func mean(all map[string]Series) Scores {
	var m Scores
	n := float64(len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		m.MASE += s.MASE / n
		m.WAPE += min(most, s.WAPE) / n
		m.MWQL += min(most, s.MWQL) / n
		m.WQL95 += min(most, s.WQL95) / n
		m.Cov95 += s.Cov95 / n
		m.CalErr += s.CalErr / n
		m.Under += s.Under / n
		m.Short += s.Short / n
		m.Over += min(most, s.Over) / n
	}
	return m
}

// evenly finds the one factor on every capacity that leaves demand above it 5 % of the time, and what is unused then.
func evenly(all map[string]Series) (factor, over float64) {
	names := slices.Sorted(maps.Keys(all))
	under := func(k float64) (share float64) {
		for _, name := range names {
			s := all[name]
			above := 0
			for i, y := range s.actual {
				if y > k*s.capacity[i] {
					above++
				}
			}
			share += float64(above) / float64(len(s.actual)) / float64(len(names))
		}
		return share
	}
	low, high := 0.05, 50.0
	if len(names) == 0 || under(high) > 0.05 {
		return math.NaN(), math.NaN()
	}
	for range 40 { // halves the distance, in powers, to less than 1e-11
		if middle := math.Sqrt(low * high); under(middle) > 0.05 {
			low = middle
		} else {
			high = middle
		}
	}
	for _, name := range names {
		s := all[name]
		unused, demand := 0.0, 0.0
		for i, y := range s.actual {
			unused += max(0, high*s.capacity[i]-y)
			demand += y
		}
		over += min(most, unused/max(1e-12, demand)) / float64(len(names))
	}
	return high, over
}
