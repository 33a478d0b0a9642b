package forecast

import (
	"math"
	"os"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/trace"
)

// deciles are the levels over which the weighted quantile loss is taken.
var deciles = []float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}

// grid puts the points of a recorded series on a regular grid; what is absent is NaN.
func grid(s trace.Series, step time.Duration) Series {
	first := s.Points[0].Time
	last := s.Points[len(s.Points)-1].Time
	v := make([]float64, int(last.Sub(first)/step)+1)
	fill(v, nan)
	for _, p := range s.Points {
		v[int(p.Time.Sub(first)/step)] = p.Value
	}
	return Series{End: last.Add(step), Step: step, Values: v}
}

// loss is the quantile loss of a forecast against what happened, and the sum of what happened.
func loss(actual []float64, bands [][]float64) (pinball, sum float64) {
	for i, y := range actual {
		if math.IsNaN(y) {
			continue
		}
		sum += y
		for l, level := range deciles {
			if z := bands[l][i]; y >= z {
				pinball += level * (y - z)
			} else {
				pinball += (1 - level) * (z - y)
			}
		}
	}
	return pinball, sum
}

// yesterdayAgain forecasts yesterday's values with the quantiles of how past days differed from the day before.
func yesterdayAgain(v []float64, day int) [][]float64 {
	var misses []residual
	for i := day; i < len(v); i++ {
		if d := v[i] - v[i-day]; !math.IsNaN(d) {
			misses = append(misses, residual{d, 1})
		}
	}
	shift := new(sorter).quantiles(misses, deciles)
	bands := make([][]float64, len(deciles))
	for l := range bands {
		bands[l] = make([]float64, day)
		for j := range bands[l] {
			i := len(v) - day + j
			for math.IsNaN(v[i]) { // a day further back where yesterday is missing
				i -= day
			}
			bands[l][j] = max(0, v[i]+shift[l])
		}
	}
	return bands
}

// On two weeks of recorded requests, the forecasts made from the second week on lose less than yesterday's values do.
func TestForecastOfRecordedLoadBeatsYesterdaysValues(t *testing.T) {
	file, err := os.Open("../../test/replay/servegen_small.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	recorded, err := trace.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	const day = 144
	for _, r := range recorded {
		s := grid(r, 10*time.Minute)
		for _, c := range []struct {
			name  string
			steps int
		}{{"24 h", day}, {"first hour", 6}} {
			var ours, sum, naive float64
			origins, covered, n := 0, 0, 0
			for o := 7 * day; o+day <= len(s.Values); o += 50 { // 8 h 20 min apart: every time of day is met
				past := Series{End: s.End.Add(-time.Duration(len(s.Values)-o) * s.Step), Step: s.Step, Values: s.Values[:o]}
				f, err := Predict(past, day, append([]float64{0.95}, deciles...))
				if err != nil {
					t.Fatal(err)
				}
				actual := s.Values[o : o+c.steps]
				l, y := loss(actual, f.Quantiles)
				ours, sum = ours+l, sum+y
				l, _ = loss(actual, yesterdayAgain(past.Values, day))
				naive += l
				origins++
				for i, y := range actual {
					if !math.IsNaN(y) {
						n++
						if y <= f.Quantiles[len(deciles)][i] {
							covered++
						}
					}
				}
			}
			scale := 2 / float64(len(deciles)) / sum
			t.Logf("%s, %s, %d origins: MWQL %.4f, yesterday's %.4f, ratio %.3f; %.1f%% below p95", r.Name, c.name, origins, ours*scale, naive*scale, ours/naive, 100*float64(covered)/float64(n))
			if !(ours < naive) {
				t.Errorf("%s, %s: ratio of losses is %.3f, want below 1", r.Name, c.name, ours/naive)
			}
		}
	}
}
