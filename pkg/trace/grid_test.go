package trace

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestGridHasTheUsualStepAndLeavesGapsMissing(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		seconds []int64 // the values are their numbers
		want    []float64
		step    time.Duration
	}{
		"regular":                 {[]int64{60, 120, 180}, []float64{0, 1, 2}, time.Minute},
		"gap":                     {[]int64{60, 120, 240, 300}, []float64{0, 1, nan, 2, 3}, time.Minute},
		"off the grid":            {[]int64{0, 60, 120, 181, 239, 300, 360}, []float64{0, 1, 2, 4, nan, 5, 6}, time.Minute},
		"as often, the shorter":   {[]int64{0, 20, 30}, []float64{0, nan, 1, 2}, 10 * time.Second},
		"as often, shorter first": {[]int64{0, 10, 30}, []float64{0, 1, nan, 2}, 10 * time.Second},
		"one point":               {[]int64{60}, nil, 0},
	} {
		var s Series
		for i, at := range c.seconds {
			s.Points = append(s.Points, Point{Time: time.Unix(at, 0), Value: float64(i)})
		}
		got, step := s.Grid()
		if d := cmp.Diff(c.want, got, cmpopts.EquateNaNs()); d != "" || step != c.step {
			t.Errorf("%s: step %v, want %v; values (-want +got):\n%s", name, step, c.step, d)
		}
	}
}
