package forecastbench

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/foretide/foretide/pkg/trace"
	"github.com/foretide/foretide/test/recordings"
)

// Levels are the quantiles that every task asks for.
var Levels = []float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99}

const (
	origins     = 8  // tasks of a series
	historyDays = 28 // at most
	leastDays   = 7
	spanDays    = 90 // origins lie within the last so many days
	horizon     = 24 * time.Hour
)

// Tasks makes eight tasks of every series in directory/<dataset>/series.csv.gz that is long enough: 24 hours to forecast from 7 to
// 28 days of history. Origins are spread evenly over the last 90 days, so that they fall on different hours. Gaps of the history
// are filled with the value a day before, or in a line from one neighbour to the next. A task is left out when more than a fifth
// of its history or half of what happened is missing.
func Tasks(directory string) ([]Case, error) {
	sets, err := recordings.Read(directory, "*")
	if err != nil {
		return nil, err
	}
	var all []Case
	for _, set := range sets {
		for _, s := range set.Series {
			cases, err := tasks(set.Name+"/"+s.Name, s)
			if err != nil {
				return nil, fmt.Errorf("%s: series %q: %w", set.File, s.Name, err)
			}
			all = append(all, cases...)
		}
	}
	return all, nil
}

// tasks are those of one series, oldest first.
func tasks(name string, s trace.Series) ([]Case, error) {
	x, usual := s.Grid()
	if usual == 0 || (24*time.Hour)%usual != 0 {
		return nil, fmt.Errorf("the usual step is %v; it must divide a day", usual)
	}
	start, step := s.Points[0].Time.Unix(), int(usual/time.Second)
	day, ahead := int(24*time.Hour/usual), int(horizon/usual)
	last := len(x) - ahead
	first := max(leastDays*day, last-spanDays*day)
	if last < leastDays*day {
		return nil, nil
	}
	var all []Case
	previous, number := -1, -1
	for j := range origins {
		o := int(math.RoundToEven(float64(first) + float64(j)*float64(last-first)/(origins-1)))
		if o == previous {
			continue
		}
		previous = o
		number++
		from := max(0, o-historyDays*day)
		past, actual := x[from:o], x[o:o+ahead]
		if missing(past) > 0.2 || missing(actual) > 0.5 {
			continue
		}
		t := Task{ID: fmt.Sprintf("%s#%d", name, number), Series: name, StepSeconds: step, Start: start + int64(from*step),
			Origin: start + int64(o*step), Horizon: ahead, Quantiles: Levels, History: written(filled(past, day))}
		all = append(all, Case{Task: t, Actual: written(actual), Scale: scale(past, day)})
	}
	return all, nil
}

func missing(x []float64) (share float64) {
	for _, v := range x {
		if math.IsNaN(v) {
			share += 1 / float64(len(x))
		}
	}
	return share
}

// filled gives gaps the value a day before, which may be a filled one, then what lies on the line between their neighbours. At
// the ends the nearest value is repeated.
func filled(x []float64, day int) []float64 {
	x = slices.Clone(x)
	for i := day; i < len(x); i++ {
		if math.IsNaN(x[i]) {
			x[i] = x[i-day]
		}
	}
	before := -1
	for i := 0; i <= len(x); i++ {
		if i < len(x) && math.IsNaN(x[i]) {
			continue
		}
		for k := before + 1; k < i; k++ {
			switch {
			case before < 0 && i == len(x):
			case before < 0:
				x[k] = x[i]
			case i == len(x):
				x[k] = x[before]
			default:
				x[k] = x[before] + (x[i]-x[before])*float64(k-before)/float64(i-before)
			}
		}
		before = i
	}
	return x
}

// scale is the mean distance from the day before; where days are equal, from the step before, or a hundredth of the mean.
func scale(x []float64, day int) float64 {
	for _, lag := range []int{day, 1} {
		if m := meanDistance(x, lag); m > 0 {
			return m
		}
	}
	sum, n := 0.0, 0
	for _, v := range x {
		if !math.IsNaN(v) {
			sum, n = sum+v, n+1
		}
	}
	return max(1e-9, sum/float64(n)/100)
}

func meanDistance(x []float64, lag int) float64 {
	sum, n := 0.0, 0
	for i := lag; i < len(x); i++ {
		if d := math.Abs(x[i] - x[i-lag]); !math.IsNaN(d) {
			sum, n = sum+d, n+1
		}
	}
	return sum / float64(n)
}

// written rounds to the six digits that tasks are kept with, so that a task in a file and one in memory are the same.
func written(x []float64) Values {
	out := make(Values, len(x))
	for i, v := range x {
		out[i], _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64) // what was just written can be read
	}
	return out
}
