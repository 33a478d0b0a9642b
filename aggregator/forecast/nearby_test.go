package forecast

import (
	"math"
	"math/rand/v2"
	"testing"
)

// ramps is demand that rises and falls along lines of an hour.
func ramps(minutes int) []float64 {
	values := make([]float64, minutes)
	for i := range values {
		values[i] = 10 + math.Abs(float64(i%120-60))/10
	}
	return values
}

func TestARiseGoesOnAsItDidBefore(t *testing.T) {
	values := ramps(3 * 1440)
	n, ok := LookNearby(values, 5, []float64{0.5, 0.9})
	if !ok {
		t.Fatal("three days say nothing")
	}
	rising := []float64{11, 11.1, 11.2, 11.3, 11.4, 11.5}
	median, _ := n.Peak(0.5, rising)
	high, _ := n.Peak(0.9, rising)
	if median < 11.8 || median > 12.2 || high < median {
		t.Errorf("after a rise of 0.1 a minute the most of five minutes is %.2f, at most %.2f", median, high)
	}
	steady, _ := n.Peak(0.5, []float64{12, 12, 12, 12, 12, 12})
	if falling, _ := n.Peak(0.5, []float64{12.5, 12.4, 12.3, 12.2, 12.1, 12}); falling >= steady {
		t.Errorf("after a fall %.2f, without one %.2f", falling, steady)
	}
}

func TestNoiseDoesNotGoOn(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, 7*1440)
	for i := range values {
		values[i] = 10 + r.NormFloat64()
	}
	n, _ := LookNearby(values, 3, []float64{0.95})
	above, all := 0, 0
	for i := 3; i+3 < len(values); i++ {
		most, _ := n.Peak(0.95, values[:i+1])
		if all++; max(values[i+1], values[i+2], values[i+3]) > most {
			above++
		}
	}
	if n.goesOn > -0.4 { // what is above the mean goes back to it
		t.Errorf("%g of a change goes on", n.goesOn)
	}
	if share := float64(above) / float64(all); share < 0.04 || share > 0.06 {
		t.Errorf("%.3f of the time there is more than the 95 %% quantile", share)
	}
}

func TestWhatIsNotKnownSaysNothingNearby(t *testing.T) {
	nan := math.NaN()
	if _, ok := LookNearby(ramps(1440), 5, []float64{0.5}); ok {
		t.Error("less than a day is enough")
	}
	gaps := ramps(3 * 1440)
	for i := 0; i < len(gaps); i += 5 {
		gaps[i] = nan
	}
	if _, ok := LookNearby(gaps, 5, []float64{0.5}); ok {
		t.Error("there are never five known minutes")
	}
	n, _ := LookNearby(ramps(3*1440), 2, []float64{0.5})
	for name, recent := range map[string][]float64{"none": nil, "too few": {1, 2}, "the newest": {1, 2, nan}, "what was before": {nan, 2, 3}} {
		if _, ok := n.Peak(0.5, recent); ok {
			t.Errorf("%s is not known, and it says something", name)
		}
	}
	if _, ok := n.Peak(0.6, []float64{1, 2, 3}); ok {
		t.Error("it knows a level that it was not made for")
	}
	if _, ok := (Nearby{}).Peak(0.5, []float64{1}); ok {
		t.Error("nothing says something")
	}
}

func TestOfNothingNothingIsLearnt(t *testing.T) {
	if _, ok := LookNearby(make([]float64, 3*1440), 5, []float64{0.95}); ok {
		t.Error("zeros teach something")
	}
}

func TestBothAreJoinedAboveTheMedian(t *testing.T) {
	for want, in := range map[float64][3]float64{15: {10, 20, 10}, 14: {10, 14, 14}, 12: {10, 10, 14}, 11: {10, 12, 5}, 10: {10, 10, 3}} {
		if got := Joined(in[0], in[1], in[2]); got != want {
			t.Errorf("median %g, %g and %g: %g, want %g", in[0], in[1], in[2], got, want)
		}
	}
}
