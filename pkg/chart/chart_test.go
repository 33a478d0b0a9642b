package chart

import (
	"math"
	"slices"
	"testing"
)

var nan = math.NaN()

func at(i int) float64       { return float64(i) }
func down(v float64) float64 { return 10 - v }
func tenth(i int) float64    { return float64(i / 10) }
func same(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Abs(x-y) < 1e-9 })
}

func TestAnAxisHasAFewRoundLevels(t *testing.T) {
	for _, c := range []struct {
		top   float64
		whole bool
		want  []float64
	}{
		{10, false, []float64{0, 2, 4, 6, 8, 10}},
		{11, false, []float64{0, 2.5, 5, 7.5, 10, 12.5}},
		{11, true, []float64{0, 5, 10, 15}},
		{0.3, false, []float64{0, .1, .2, .3}},
		{0.3, true, []float64{0, 1}},
		{0, false, []float64{0, .2, .4, .6, .8, 1}},
		{nan, true, []float64{0, 1}},
	} {
		if got := Levels(c.top, c.whole); !same(got, c.want) {
			t.Errorf("to %v, whole %v: %v, want %v", c.top, c.whole, got, c.want)
		}
	}
}

func TestALineKeepsPeaksAndBreaksWhereNothingIsKnown(t *testing.T) {
	values := make([]float64, 50)
	values[17], values[13] = 7, 2
	for i := range 10 {
		values[30+i] = nan
	}
	if got, want := Line(Columns(values, tenth), down), "M0 10.0L1 3.0L2 10.0M4 10.0h1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestStepsStayAsTheyAreUntilTheyChange(t *testing.T) {
	if got, want := Steps(Columns([]float64{1, 1, 1, 3, 3, nan, 2}, at), down), "M0 9.0L3 9.0L3 7.0L4 7.0M6 8.0h1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestABandLiesBetweenTwoLinesWhereBothAreKnown(t *testing.T) {
	got := Band(Columns([]float64{1, 1, nan, 2}, at), Columns([]float64{3, 4, 5, 6}, at), down)
	if want := "M0 7.0L1 6.0L1 9.0L0 9.0ZM3 4.0L3 8.0Z"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
