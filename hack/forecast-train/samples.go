package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/test/recordings"
)

const (
	origins     = 70 // forecasts made of each series
	steps       = 16 // looked at in each forecast
	historyDays = 28
	leastDays   = 7
	spanDays    = 90 // origins lie within the last so many days
)

// row is one step of one forecast: what the correction sees, and what happened.
type row struct {
	forecast.Evidence
	series, family string
	truth          float64
}

// family is what sources of the same origin share: servegen_small and servegen_large are of one family.
func family(source string) string {
	first, _, _ := strings.Cut(source, "_")
	return first
}

// gather makes the rows of every series in directory/<dataset>/series.csv.gz. The same directory gives the same rows.
func gather(directory string) ([]row, error) {
	sets, err := recordings.Read(directory, "*")
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, set := range sets {
		for k, s := range set.Series {
			values, step := s.Grid()
			r := rand.New(rand.NewPCG(uint64(k), 4))
			more, err := forecasts(s.Points[0].Time, step, values, r)
			if err != nil {
				return nil, fmt.Errorf("%s: series %q: %w", set.File, s.Name, err)
			}
			for i := range more {
				more[i].series, more[i].family = set.Name+"/"+s.Name, family(set.Name)
			}
			rows = append(rows, more...)
		}
	}
	return rows, nil
}

// forecasts makes the rows of one series: origins are spread evenly, steps fall by chance, a third of them soon.
func forecasts(start time.Time, step time.Duration, values []float64, r *rand.Rand) ([]row, error) {
	day := int(24 * time.Hour / step)
	last := len(values) - day
	first := max(leastDays*day, last-spanDays*day)
	var rows []row
	for k := range origins {
		o := first + k*(last-first)/(origins-1)
		s := forecast.Series{End: start.Add(time.Duration(o) * step), Step: step, Values: slices.Clone(values[max(0, o-historyDays*day):o])}
		actual := slices.Clone(values[o : o+day])
		if missing(s.Values) > 0.2 || missing(actual) > 0.5 {
			continue
		}
		spoil(&s, actual, day, r)
		at := make([]int, steps)
		for i := range at {
			at[i] = r.IntN(day)
			if i%3 == 0 {
				at[i] = int(math.Exp(r.Float64()*math.Log(float64(day)))) - 1
			}
		}
		slices.Sort(at)
		evidence, err := forecast.Gather(s, day, slices.Compact(at))
		if err != nil {
			return nil, err
		}
		for _, e := range evidence {
			if y := actual[e.Step]; !math.IsNaN(y) {
				rows = append(rows, row{Evidence: e, truth: y})
			}
		}
	}
	return rows, nil
}

func missing(x []float64) (share float64) {
	for _, v := range x {
		if math.IsNaN(v) {
			share += 1 / float64(len(x))
		}
	}
	return share
}

// spoil does to four of ten histories what happens to histories: they are young, demand moves to another level and stays there,
// points or stretches are missing.
func spoil(s *forecast.Series, actual []float64, day int, r *rand.Rand) {
	v := s.Values
	young := func(days float64) { s.Values = v[max(0, len(v)-int(days*float64(day))):] }
	switch chance := r.Float64(); {
	case chance < 0.08:
		young(1 + 0.25*r.Float64())
	case chance < 0.22:
		young(1 + 8*r.Float64())
	case chance < 0.32:
		times := math.Exp2(0.5 + 1.2*r.Float64())
		if r.IntN(3) == 0 {
			times = 1 / times
		}
		for i := len(v) - int((2+22*r.Float64())/24*float64(day)); i < len(v); i++ {
			v[i] *= times
		}
		for i := range actual {
			actual[i] *= times
		}
	case chance < 0.37:
		for i := range v {
			if r.Float64() < 0.3 {
				v[i] = math.NaN()
			}
		}
	case chance < 0.42:
		n := 1 + r.IntN(day)
		end := len(v)
		if r.IntN(2) == 0 {
			end -= r.IntN(5 * day)
		}
		for i := end - n; i < end; i++ {
			v[i] = math.NaN()
		}
	}
}

// learn makes a sample of the rows that are chosen. A series counts as much as any other, and in it what a better forecast could
// gain: the sum of the logarithms of the series' losses is what falls.
func learn(rows []row, choose func(row) bool) *sample {
	s := &sample{levels: forecast.EvidenceLevels()}
	loss, count := map[string]float64{}, map[string]float64{}
	var chosen []row
	for _, r := range rows {
		if !choose(r) {
			continue
		}
		chosen = append(chosen, r)
		count[r.series]++
		for l, level := range s.levels {
			if miss := r.truth - r.Mean - r.Scale*float64(r.Quantiles[l]); level <= 0.9 {
				loss[r.series] += max(level*miss, (level-1)*miss)
			}
		}
	}
	for _, r := range chosen {
		s.features = append(s.features, r.Features)
		s.truth = append(s.truth, float32(max(-farthest, min(farthest, (r.truth-r.Mean)/r.Scale))))
		s.quantiles = append(s.quantiles, slices.Clone(r.Quantiles))
		s.weight = append(s.weight, float32(r.Scale/loss[r.series]))
		s.even = append(s.even, float32(math.Pow(r.Scale/loss[r.series], 0.3)*math.Pow(1/count[r.series], 0.7)))
	}
	level(s.weight)
	level(s.even)
	return s
}

const (
	farthest = 50 // units of the scale that a truth may lie off: beyond, it says no more
	heaviest = 10 // medians of the weights: no row rules
)

// level cuts the weights that are too heavy and makes their mean 1.
func level(weights []float32) {
	sorted := slices.Clone(weights)
	slices.Sort(sorted)
	limit, sum := heaviest*sorted[len(sorted)/2], float32(0)
	for i, w := range weights {
		weights[i] = min(w, limit)
		sum += weights[i] / float32(len(weights))
	}
	for i := range weights {
		weights[i] /= sum
	}
}
