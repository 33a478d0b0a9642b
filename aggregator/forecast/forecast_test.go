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

func TestDailyPatternIsCarriedIntoTheNextDay(t *testing.T) {
	f := predict(t, series(10*time.Minute, 7*144, daily(0)), 144)
	if f.Method != MethodSeasonal || f.Period != 24*time.Hour || f.History != 7*24*time.Hour || f.Backtests == 0 {
		t.Errorf("got %s with period %s from %s, %d backtests", f.Method, f.Period, f.History, f.Backtests)
	}
	exact := daily(0)
	for i, m := range f.Mean {
		if !near(m, exact(i), 0.05) {
			t.Fatalf("step %d is %g, want %g", i, m, exact(i))
		}
	}
}

func TestDayOfHistoryIsEnoughForAShape(t *testing.T) {
	f := predict(t, series(10*time.Minute, 144, daily(0)), 144)
	if f.Method != MethodSeasonal || !(f.Mean[36] > f.Mean[108]+2) {
		t.Errorf("%s: peak %g, trough %g", f.Method, f.Mean[36], f.Mean[108])
	}
	if p99 := f.Quantiles[4]; !(p99[36] > f.Mean[36]) {
		t.Errorf("no doubt about a day seen once: mean %g, p99 %g", f.Mean[36], p99[36])
	}
}

func TestLessThanADayIsALevelWhoseSpreadGrowsWithTheLead(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	v := 50.0
	f := predict(t, series(time.Minute, 600, func(int) float64 { v += r.NormFloat64() * 0.1; return v }), 1440)
	if f.Method != MethodLevel || f.Period != 0 {
		t.Errorf("got %s with period %s", f.Method, f.Period)
	}
	if !near(f.Mean[0], v, 0.5) {
		t.Errorf("the first step is %g, the last known value %g", f.Mean[0], v)
	}
	width := func(i int) float64 { return f.Quantiles[4][i] - f.Mean[i] }
	if !(width(5) < width(120) && width(120) < width(1439)) {
		t.Errorf("p99 lies %g, %g and %g above the mean after 5 minutes, 2 hours and a day", width(5), width(120), width(1439))
	}
}

func TestOnlyKnownPointsCountAsHistory(t *testing.T) {
	some := daily(0)
	half := func(i int) float64 {
		if i%2 == 0 {
			return nan
		}
		return some(i)
	}
	f := predict(t, series(10*time.Minute, 144, half), 10)
	if f.Method != MethodLevel || f.History != 12*time.Hour {
		t.Errorf("half a day known: %s from %s", f.Method, f.History)
	}
	nights := func(i int) float64 { // three half days: more than a day of points, but only half of its times
		if (i+14400)%144 < 72 {
			return nan
		}
		return some(i)
	}
	if f := predict(t, series(10*time.Minute, 432, nights), 10); f.Method != MethodLevel {
		t.Errorf("half of the times of day known: %s", f.Method)
	}
}

func TestGapIsNotZero(t *testing.T) {
	some := daily(0)
	for name, missing := range map[string]func(i int) bool{
		"every third point": func(i int) bool { return i%3 == 0 },
		"an hour yesterday": func(i int) bool { return i >= -150 && i < -144 },
		"a day":             func(i int) bool { return i >= -300 && i < -156 },
		"three days":        func(i int) bool { return i >= -700 && i < -268 },
		"the last hour":     func(i int) bool { return i >= -6 },
		"the last day":      func(i int) bool { return i >= -144 },
	} {
		t.Run(name, func(t *testing.T) {
			f := predict(t, series(10*time.Minute, 10*144, func(i int) float64 {
				if missing(i) {
					return nan
				}
				return some(i)
			}), 144)
			for i, m := range f.Mean {
				if !near(m, some(i), 0.3) {
					t.Fatalf("step %d is %g, want %g", i, m, some(i))
				}
			}
		})
	}
}

func TestDoubtGrowsWhileNothingNewIsKnown(t *testing.T) {
	at := func(missing int) Forecast {
		r := rand.New(rand.NewPCG(7, 7))
		v := 20.0
		return predict(t, series(10*time.Minute, 5*144, func(i int) float64 {
			if v = max(0, v+r.NormFloat64()*0.3); i >= -missing {
				return nan
			}
			return v
		}), 6)
	}
	fresh, old := at(0), at(72)
	if a, b := fresh.Quantiles[4][0]-fresh.Quantiles[0][0], old.Quantiles[4][0]-old.Quantiles[0][0]; b < 2*a {
		t.Errorf("p99 is %g over the median when fresh, %g after 12 hours of silence", a, b)
	}
	if !fresh.LastKnown.Equal(end) || !old.LastKnown.Equal(end.Add(-12*time.Hour)) {
		t.Errorf("last known %s and %s", fresh.LastKnown, old.LastKnown)
	}
}

// Where demand was never seen to change, nothing tells by how much it could. To reserve for it would cost every idle and every
// steady workload GPUs; that it does change is seen within a minute by what reacts to demand itself.
func TestPlainSeriesStayPlain(t *testing.T) {
	for _, v := range []float64{0, 0.1, 7, 1e12} {
		for _, n := range []int{10, 100, 144, 200, 2000} {
			f := predict(t, series(10*time.Minute, n, func(int) float64 { return v }), 144)
			for l := range f.Levels {
				if got := f.Quantiles[l][143]; !near(got, v, 1e-9+v*1e-9) {
					t.Fatalf("%d points of %g: quantile %g is %g", n, v, f.Levels[l], got)
				}
			}
		}
	}
}

func TestUnusableInputIsNamed(t *testing.T) {
	good := func(n int) Series { return series(10*time.Minute, n, daily(0)) }
	with := func(f func(s *Series)) Series { s := good(200); f(&s); return s }
	for name, c := range map[string]struct {
		s       Series
		horizon int
		levels  []float64
		is      error
		want    string
	}{
		"empty":           {Series{End: end, Step: time.Minute}, 1, levels, ErrShortHistory, "0 known points"},
		"single point":    {good(1), 1, levels, ErrShortHistory, "1 known points"},
		"nine points":     {good(9), 1, levels, ErrShortHistory, "9 known points, at least 10"},
		"all missing":     {with(func(s *Series) { fill(s.Values, nan) }), 1, levels, ErrShortHistory, "0 known points"},
		"four days old":   {series(10*time.Minute, 2000, func(i int) float64 { return pick(i < -4*144, 1, nan) }), 1, levels, ErrStaleHistory, "96h0m0s"},
		"infinite":        {with(func(s *Series) { s.Values[3] = math.Inf(1) }), 1, levels, ErrInvalid, "values[3] is +Inf"},
		"negative":        {with(func(s *Series) { s.Values[0] = -0.5 }), 1, levels, ErrInvalid, "values[0] is -0.5"},
		"step zero":       {with(func(s *Series) { s.Step = 0 }), 1, levels, ErrInvalid, "step is 0s"},
		"step not in day": {with(func(s *Series) { s.Step = 7 * time.Minute }), 1, levels, ErrInvalid, "step is 7m0s"},
		"no horizon":      {good(200), 0, levels, ErrInvalid, "horizon is 0"},
		"long horizon":    {good(200), 2017, levels, ErrInvalid, "from 1 to 2016"},
		"no levels":       {good(200), 1, nil, ErrInvalid, "levels are empty"},
		"level one":       {good(200), 1, []float64{0.5, 1}, ErrInvalid, "levels[1] is 1"},
		"level NaN":       {good(200), 1, []float64{nan}, ErrInvalid, "levels[0] is NaN"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Predict(c.s, c.horizon, c.levels)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %v with %q", err, c.is, c.want)
			}
		})
	}
}

func TestPredictLeavesItsInputAlone(t *testing.T) {
	s := series(10*time.Minute, 1000, daily(1))
	s.Values[17] = nan
	before, given := slices.Clone(s.Values), []float64{0.9, 0.5, 0.9}
	f, err := Predict(s, 10, given)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.Levels, []float64{0.5, 0.9}) || !slices.Equal(given, []float64{0.9, 0.5, 0.9}) {
		t.Errorf("levels are %v, given %v", f.Levels, given)
	}
	for i := range before {
		if before[i] != s.Values[i] && i != 17 {
			t.Fatalf("value %d changed", i)
		}
	}
}

func TestQuantileIsInterpolatedWithinItsLevels(t *testing.T) {
	f := Forecast{Levels: []float64{0.5, 0.9}, Mean: []float64{1, 1}, Quantiles: [][]float64{{1, 2}, {3, 6}}}
	for level, want := range map[float64][]float64{0.5: {1, 2}, 0.7: {2, 4}, 0.9: {3, 6}} {
		got, err := f.Quantile(level)
		if err != nil || !near(got[0], want[0], 1e-9) || !near(got[1], want[1], 1e-9) {
			t.Errorf("quantile %g is %v (%v), want %v", level, got, err, want)
		}
	}
	for _, level := range []float64{0.4, 0.95, nan} {
		if _, err := f.Quantile(level); !errors.Is(err, ErrInvalid) {
			t.Errorf("quantile %g: error is %v", level, err)
		}
	}
	if _, err := (Forecast{}).Quantile(0.5); !errors.Is(err, ErrInvalid) {
		t.Errorf("empty forecast: error is %v", err)
	}
}

func TestPeakIsTheLargestOverTheStepsThatOverlap(t *testing.T) {
	f := Forecast{Start: end, Step: time.Minute, Levels: []float64{0.5, 0.9}, Mean: make([]float64, 4),
		Quantiles: [][]float64{{1, 4, 2, 1}, {2, 8, 3, 9}}}
	at := func(seconds int) time.Time { return end.Add(time.Duration(seconds) * time.Second) }
	for name, c := range map[string]struct {
		level    float64
		from, to time.Time
		peak     float64
		ok       bool
	}{
		"one step":                   {0.9, at(0), at(60), 2, true},
		"a touch of the next":        {0.9, at(0), at(61), 8, true},
		"from the middle":            {0.9, at(119), at(180), 8, true},
		"after the peak":             {0.9, at(120), at(180), 3, true},
		"to the end":                 {0.9, at(0), at(240), 9, true},
		"between levels":             {0.7, at(0), at(120), 6, true},
		"past is not counted":        {0.5, at(-600), at(30), 1, true},
		"beyond the end is unknown":  {0.9, at(0), at(241), 0, false},
		"all past":                   {0.9, at(-60), at(0), 0, false},
		"empty":                      {0.9, at(60), at(60), 0, false},
		"level outside is not known": {0.99, at(0), at(60), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			if peak, ok := f.Peak(c.level, c.from, c.to); ok != c.ok || !near(peak, c.peak, 1e-9) {
				t.Errorf("peak is %g, %v; want %g, %v", peak, ok, c.peak, c.ok)
			}
		})
	}
}
