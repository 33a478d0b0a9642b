package controller

import (
	"context"
	"math"
	"slices"
	"time"
)

// span is what is known of the minutes from a moment on.
type span struct {
	from      time.Time
	demand    []float64 // [minute] in GPUs; NaN = unknown
	saturated []bool    // [minute] nil = unknown
}

// part is what lies between two moments within it.
func (s span) part(from, to time.Time) span {
	i, j := int(from.Sub(s.from)/step), int(to.Sub(s.from)/step)
	out := span{from: from, demand: s.demand[i:j]}
	if s.saturated != nil {
		out.saturated = s.saturated[i:j]
	}
	return out
}

// means are those of so many values each, as far as they are whole.
func means(values []float64, each int) []float64 {
	if each == 1 {
		return values
	}
	out := make([]float64, len(values)/each)
	for i := range out {
		out[i] = mean(values[i*each : (i+1)*each])
	}
	return out
}

// mean is that of the known values, NaN when none is.
func mean(values []float64) float64 {
	sum, n := 0.0, 0
	for _, v := range values {
		if !math.IsNaN(v) {
			sum, n = sum+v, n+1
		}
	}
	if n == 0 {
		return math.NaN()
	}
	return sum / float64(n)
}

// saturatedShare is how much of their GPUs pods keep busy when they can do no more: between two requests there is always a moment.
const saturatedShare = 0.95

// saturated tells of each minute up to end whether the pods had no GPU left: demand may have been more than what was seen of it. nil
// means that it is not known how many GPUs pods have.
func (t task) saturated(ctx context.Context, minutes []float64, end time.Time) ([]bool, error) {
	if t.gpusPerPod <= 0 || len(minutes) == 0 {
		return nil, nil
	}
	pods, err := t.history.Pods(ctx, t.workload, end.Add(-time.Duration(len(minutes))*step), end, step)
	if err != nil {
		return nil, err
	}
	out := make([]bool, len(minutes))
	for i, busy := range minutes { // what is NaN is not
		out[i] = pods[i] > 0 && busy >= saturatedShare*pods[i]*t.gpusPerPod
	}
	return out, nil
}

// anyOf tells of so many minutes each, up to n in all, whether any is.
func anyOf(minutes []bool, n, each int) []bool {
	if minutes == nil {
		return nil
	}
	out := make([]bool, n/each)
	for i := range out {
		out[i] = slices.Contains(minutes[i*each:(i+1)*each], true)
	}
	return out
}
