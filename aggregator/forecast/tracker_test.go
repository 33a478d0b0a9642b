package forecast

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func track10(t *testing.T, s Series, horizon int) *Tracker {
	t.Helper()
	tracker, err := Track(s, horizon, levels)
	if err != nil {
		t.Fatal(err)
	}
	return tracker
}

func TestTrackerWithNothingNewForecastsWhatPredictDoes(t *testing.T) {
	for name, s := range map[string]Series{
		"seasonal":   series(10*time.Minute, 10*144, daily(1)),
		"level":      series(10*time.Minute, 60, daily(1)),
		"saturated":  clipped(series(10*time.Minute, 10*144, daily(1)), 4),
		"one day":    series(10*time.Minute, 144, daily(1)),
		"two days":   series(10*time.Minute, 288, daily(1)),
		"batches":    batches(20 * 144),
		"with a gap": series(10*time.Minute, 10*144, func(i int) float64 { return pick(i > -20, nan, 1+float64((i+1440)%7)) }),
	} {
		want, got := predict(t, s, 160), track10(t, s, 160).Forecast(0, nan)
		sane(t, got, 160)
		if got.LastKnown != want.LastKnown || got.History != want.History || got.Method != want.Method {
			t.Errorf("%s: %s from %s until %s, want %s from %s until %s", name, got.Method, got.History, got.LastKnown, want.Method, want.History, want.LastKnown)
		}
		for i := range want.Mean {
			for l := range levels {
				if !near(got.Quantiles[l][i], want.Quantiles[l][i], 1e-4) {
					t.Fatalf("%s: quantile %g of step %d is %g, want %g", name, levels[l], i, got.Quantiles[l][i], want.Quantiles[l][i])
				}
			}
		}
	}
}

func TestTrackerFollowsWhatIsNew(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	v := 20.0
	whole := series(10*time.Minute, 10*144+6, func(int) float64 { v = math.Abs(v + r.NormFloat64()); return v })
	n := len(whole.Values) - 6
	tracker := track10(t, Series{End: end.Add(-time.Hour), Step: whole.Step, Values: whole.Values[:n]}, 144)
	for _, v := range whole.Values[n:] {
		if tracker.Due() {
			t.Fatal("due within the hour")
		}
		if err := tracker.Add(v); err != nil {
			t.Fatal(err)
		}
	}
	want, got := predict(t, whole, 144), tracker.Forecast(0, nan)
	sane(t, got, 144)
	for i := range 6 {
		if off := math.Abs(got.Mean[i] - want.Mean[i]); off > 0.1*want.Mean[i] {
			t.Errorf("step %d is %g, of the whole series %g", i, got.Mean[i], want.Mean[i])
		}
	}
	if !tracker.Due() {
		t.Error("not due after an hour")
	}
	if err := tracker.Add(1); !errors.Is(err, ErrInvalid) {
		t.Errorf("another step: error is %v", err)
	}
}

func TestTrackerDoubtsMoreWhileNothingIsKnown(t *testing.T) {
	tracker := track10(t, series(10*time.Minute, 10*144, daily(1)), 144)
	fresh := tracker.Forecast(0, nan)
	for range 3 {
		if err := tracker.Add(nan); err != nil {
			t.Fatal(err)
		}
	}
	silent := tracker.Forecast(0, nan)
	if silent.History != fresh.History || !silent.LastKnown.Equal(fresh.LastKnown) || !silent.Start.Equal(fresh.Start.Add(30*time.Minute)) {
		t.Errorf("history %s until %s, forecast from %s", silent.History, silent.LastKnown, silent.Start)
	}
	for i := range 10 {
		if !near(silent.Mean[i], fresh.Mean[i+3], 0.5) {
			t.Errorf("step %d is %g; it was %g", i, silent.Mean[i], fresh.Mean[i+3])
		}
	}
}

func TestTrackersLastLevelIsThatOfTheLastTenMinutes(t *testing.T) {
	tracker := track10(t, series(5*time.Minute, 60, func(i int) float64 { return pick(i == 59 || i == -1, 4, 2) }), 1)
	for _, c := range []struct{ add, want float64 }{{8, 6}, {nan, 6}, {2, 5}} {
		if err := tracker.Add(c.add); err != nil || tracker.lastMean != c.want {
			t.Errorf("after %g: %v, last level %g, want %g", c.add, err, tracker.lastMean, c.want)
		}
	}
}

func TestTrackerTakesWhatIsSaturatedAsAtLeastThat(t *testing.T) {
	s := clipped(series(10*time.Minute, 10*144, daily(1)), 4)
	told, untold, missing := track10(t, s, 6), track10(t, s, 6), track10(t, s, 6)
	expected := told.Forecast(0, nan).Mean
	for i := range 3 {
		served := 0.5 * expected[i]
		for _, err := range []error{told.AddSaturated(served), untold.Add(served), missing.AddSaturated(0)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if a, b := told.Forecast(0, nan).Mean[0], untold.Forecast(0, nan).Mean[0]; !near(a, expected[3], 0.1) || b > a-0.1 {
		t.Errorf("the next step is %g, and %g were what was served all; it was %g before", a, b, expected[3])
	}
	if f := missing.Forecast(0, nan); !f.LastKnown.Equal(end) {
		t.Errorf("nothing served: the newest known step ended at %s", f.LastKnown)
	}
	if err := told.AddSaturated(-1); !errors.Is(err, ErrInvalid) {
		t.Errorf("-1: error is %v", err)
	}
}

func TestTrackerTakesTheLargestSaturatedDemand(t *testing.T) {
	r, far := rand.New(rand.NewPCG(5, 5)), up()
	for l := range far.Trees[0].Values {
		far.Trees[0].Values[l] = 5
	}
	tracker, err := track(far, series(10*time.Minute, 10*144, func(int) float64 { return maxValue * (1 - 0.2*r.Float64()*r.Float64()) }), 1, levels)
	if err != nil {
		t.Fatal(err)
	}
	if f := tracker.Forecast(0, nan); f.Mean[0] <= maxValue {
		t.Errorf("%g is expected; the test shows nothing", f.Mean[0])
	}
	if err := tracker.AddSaturated(0.9 * maxValue); err != nil {
		t.Error(err)
	}
}

func TestTrackerRefusesWhatIsNoDemand(t *testing.T) {
	tracker := track10(t, series(10*time.Minute, 1000, daily(1)), 1)
	for _, v := range []float64{-1, math.Inf(1), 2e12} {
		if err := tracker.Add(v); !errors.Is(err, ErrInvalid) {
			t.Errorf("%g: error is %v", v, err)
		}
	}
	if _, err := Track(Series{End: end}, 1, levels); !errors.Is(err, ErrInvalid) {
		t.Errorf("no step: error is %v", err)
	}
}

// fourWeeks is a noisy daily pattern of 28 days.
func fourWeeks(step time.Duration) Series {
	r := rand.New(rand.NewPCG(1, 1))
	day := float64(24 * time.Hour / step)
	return series(step, int(28*day), func(i int) float64 {
		return max(0, 3+2*math.Sin(2*math.Pi*float64(i)/day)+r.NormFloat64()*0.3)
	})
}

func BenchmarkPredict(b *testing.B) {
	for _, step := range []time.Duration{5 * time.Minute, time.Minute} {
		s := fourWeeks(step)
		b.Run(step.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Predict(s, int(24*time.Hour/step), levels); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTrackerUpdate is one new step and the forecast after it.
func BenchmarkTrackerUpdate(b *testing.B) {
	for _, step := range []time.Duration{5 * time.Minute, time.Minute} {
		first, err := Track(fourWeeks(step), int(24*time.Hour/step), levels)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(step.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				t := *first
				if err := t.Add(3); err != nil {
					b.Fatal(err)
				}
				t.Forecast(0, nan)
			}
		})
	}
}
