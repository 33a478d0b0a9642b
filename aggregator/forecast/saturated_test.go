package forecast

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// clipped serves a series with no more than limit, and marks the steps in which that was not enough.
func clipped(s Series, limit float64) Series {
	s.Values, s.Saturated = slices.Clone(s.Values), make([]bool, len(s.Values))
	for i, v := range s.Values {
		if v > limit {
			s.Values[i], s.Saturated[i] = limit, true
		}
	}
	return s
}

func unmarked(s Series) Series { s.Saturated = nil; return s }

func TestNoonThatWasCappedEachDayIsExpectedAboveTheCap(t *testing.T) {
	s := clipped(series(10*time.Minute, 14*144, daily(0.5)), 4.4) // of a wave up to 5: a fifth of the time
	told, untold := predict(t, s, 144), predict(t, unmarked(s), 144)
	exact, noon := daily(0), 36 // the wave's top
	if m := untold.Mean[noon]; m > 4.4 {
		t.Errorf("not told, %g is expected at the top; the test shows nothing", m)
	}
	if m, want := told.Mean[noon], exact(noon); !near(m, want, 0.3) {
		t.Errorf("%g is expected at the top, want about %g", m, want)
	}
	missed := 0
	for i := range 144 {
		if exact(i) > told.Quantiles[3][i] {
			missed++
		}
	}
	if missed > 0 {
		t.Errorf("the wave is above p95 in %d steps of 144", missed)
	}
	night := 108
	if !near(told.Mean[night], exact(night), 0.2) {
		t.Errorf("at night %g is expected, want %g", told.Mean[night], exact(night))
	}
}

func TestFreeDaysTellOfTheCappedOnes(t *testing.T) {
	whole := series(10*time.Minute, 14*144, daily(0.5))
	s := clipped(whole, 3.5)
	copy(s.Values[:11*144], whole.Values) // capped in the last three days only
	clear(s.Saturated[:11*144])
	told, exact := predict(t, s, 144), daily(0)
	for i := range 144 {
		if !near(told.Mean[i], exact(i), 0.5) {
			t.Fatalf("step %d is %g, want about %g", i, told.Mean[i], exact(i))
		}
	}
}

// What was never seen free is somewhat more than what was served, and is not believed to be without end.
func TestDemandThatWasAlwaysCappedIsBounded(t *testing.T) {
	for _, n := range []int{10, 100, 144, 1000, 4000} {
		s := series(10*time.Minute, n, func(int) float64 { return 4 })
		s.Saturated = make([]bool, n)
		for i := range s.Saturated {
			s.Saturated[i] = true
		}
		f := predict(t, s, 144)
		for i := range 144 {
			if f.Mean[i] < 4.1 || f.Mean[i] > 6 || f.Quantiles[3][i] < 4.3 || f.Quantiles[4][i] > pick(n < 1000, 12, 8) {
				t.Fatalf("%d steps of 4 or more: step %d is %g, p95 %g, p99 %g", n, i, f.Mean[i], f.Quantiles[3][i], f.Quantiles[4][i])
			}
		}
	}
}

func TestForecastIsNeverLowerForBeingTold(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	wave := daily(1)
	s := clipped(series(10*time.Minute, 10*144, func(i int) float64 { return max(0, wave(i)) + pick(r.IntN(20) == 0, 5, 0) }), 4)
	told, untold := predict(t, s, 144), predict(t, unmarked(s), 144)
	sum, before := 0.0, 0.0
	for i := range 144 {
		sum, before = sum+told.Quantiles[3][i], before+untold.Quantiles[3][i]
	}
	if sum <= before {
		t.Errorf("p95 is %g on average, and %g when it isn't known that the cap was one", sum/144, before/144)
	}
}

func TestNothingSaturatedChangesNothing(t *testing.T) {
	for _, n := range []int{60, 144, 1000, 4000} {
		s := series(10*time.Minute, n, daily(1))
		fill(s.Values[n/2:n/2+5], nan)
		want := predict(t, s, 144)
		s.Saturated = make([]bool, n)
		s.Saturated[n/2] = true // and what is missing isn't known to be more
		got := predict(t, s, 144)
		for l := range want.Quantiles {
			if !slices.Equal(got.Mean, want.Mean) || !slices.Equal(got.Quantiles[l], want.Quantiles[l]) {
				t.Fatalf("%d steps: the forecast differs", n)
			}
		}
	}
}

func TestNothingServedIsNotNothingAskedFor(t *testing.T) {
	wave := daily(0)
	s := series(10*time.Minute, 10*144, func(i int) float64 { return pick(i >= -288 && i < -144, 0, wave(i)) })
	s.Saturated = make([]bool, len(s.Values))
	for i := len(s.Values) - 288; i < len(s.Values)-144; i++ {
		s.Saturated[i] = true
	}
	f := predict(t, s, 144)
	for i := range 144 {
		if !near(f.Mean[i], wave(i), 0.3) {
			t.Fatalf("step %d is %g, want %g", i, f.Mean[i], wave(i))
		}
	}
	fill(s.Values, 0)
	for i := range s.Saturated {
		s.Saturated[i] = true
	}
	if _, err := Predict(s, 10, levels); !errors.Is(err, ErrShortHistory) {
		t.Errorf("nothing was ever served: error is %v", err)
	}
}

func TestSaturatedMustBeAsLongAsValues(t *testing.T) {
	s := series(10*time.Minute, 200, daily(0))
	s.Saturated = make([]bool, 199)
	if _, err := Predict(s, 1, levels); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "saturated has 199 steps") {
		t.Errorf("error is %v", err)
	}
}

func TestWhatIsAboveACapFollowsTheTailOfANormalDistribution(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	g := normal{mean: 10, deviation: 2}
	for _, c := range []float64{4, 9, 11, 14} {
		sum, square, n := 0.0, 0.0, 0.0
		var above []residual
		for n < 20000 {
			if v := g.mean + g.deviation*r.NormFloat64(); v > c {
				sum, square, n = sum+v, square+(v-g.mean)*(v-g.mean), n+1
				above = append(above, residual{v, 1})
			}
		}
		if want := sum / n; !near(g.meanAbove(c), want, 0.05) {
			t.Errorf("mean above %g is %g, want %g", c, g.meanAbove(c), want)
		}
		if want := square / n; math.Abs(g.squareAbove(c)-want) > 0.03*want {
			t.Errorf("mean square above %g is %g, want %g", c, g.squareAbove(c), want)
		}
		shares := []float64{0.1, 0.5, 0.9}
		for k, want := range new(sorter).quantiles(above, shares) {
			if got := g.above(c, shares[k]); !near(got, want, 0.1) {
				t.Errorf("%g of what is above %g is below %g, want %g", shares[k], c, got, want)
			}
		}
	}
	for _, c := range []float64{10 + 2*far - 1e-6, 10 + 2*far + 1e-6, 100} { // no jump where the tail is taken as exponential
		if m, median := g.meanAbove(c), g.above(c, 0.5); m <= c || m > c+0.4 || median <= c || median >= m {
			t.Errorf("above %g: mean %g, median %g", c, m, median)
		}
	}
}

// Where nothing was served, at the end too and whatever the days are, it is as if nothing had been measured.
func TestNothingServedIsForecastFromAsWhatIsMissing(t *testing.T) {
	s := clipped(series(10*time.Minute, 15*144, daily(1)), 4.5)
	for name, c := range map[string]struct {
		from, to int // steps before the end
		calendar Calendar
	}{
		"until now":                       {12, 0, Calendar{}},
		"on a day like the Sunday before": {144 + 54, 54, Calendar{Days: map[Date]time.Weekday{{2026, time.March, 2}: time.Sunday}}},
	} {
		n := len(s.Values)
		unserved, missing := s, s
		unserved.Values, unserved.Saturated, unserved.Calendar = slices.Clone(s.Values), slices.Clone(s.Saturated), c.calendar
		missing.Values, missing.Calendar = slices.Clone(s.Values), c.calendar
		for i := n - c.from; i < n-c.to; i++ {
			unserved.Values[i], unserved.Saturated[i], missing.Values[i] = 0, true, nan
		}
		want, got := predict(t, missing, 200), predict(t, unserved, 200)
		if !got.LastKnown.Equal(want.LastKnown) || got.History != want.History {
			t.Errorf("%s: known until %s, %s of history; want %s, %s", name, got.LastKnown, got.History, want.LastKnown, want.History)
		}
		if !slices.Equal(got.Mean, want.Mean) || !slices.EqualFunc(got.Quantiles, want.Quantiles, slices.Equal) {
			t.Errorf("%s: the forecast differs", name)
		}
		if tracked := track10(t, unserved, 200).Forecast(0, nan); !tracked.LastKnown.Equal(want.LastKnown) {
			t.Errorf("%s: tracked, it is known until %s, want %s", name, tracked.LastKnown, want.LastKnown)
		}
	}
}

func TestNothingServedForDaysIsTooOld(t *testing.T) {
	s := series(10*time.Minute, 15*144, func(i int) float64 { return pick(i < -4*144, 3, 0) })
	s.Saturated = make([]bool, len(s.Values))
	for i := len(s.Values) - 4*144; i < len(s.Values); i++ {
		s.Saturated[i] = true
	}
	if _, err := Predict(s, 1, levels); !errors.Is(err, ErrStaleHistory) {
		t.Errorf("error is %v", err)
	}
}

func TestForgottenSpikeIsNotLifted(t *testing.T) {
	hit := clipped(series(10*time.Minute, 10*144, daily(1)), 4.5)
	missing := hit
	missing.Values = slices.Clone(hit.Values)
	for i := len(hit.Values) - 200; i < len(hit.Values)-194; i++ {
		hit.Values[i], hit.Saturated[i], missing.Values[i] = 50, true, nan
	}
	want, got := predict(t, missing, 144), predict(t, hit, 144)
	if got.History != want.History || !slices.Equal(got.Mean, want.Mean) {
		t.Error("the forecast differs from that without the spike")
	}
}
