package forecast

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	end    = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	levels = []float64{0.5, 0.8, 0.9, 0.95, 0.99}
	nan    = math.NaN()
)

// series returns n points of f, whose argument is the step before the end: -n to -1.
func series(step time.Duration, n int, f func(i int) float64) Series {
	s := Series{End: end, Step: step, Values: make([]float64, n)}
	for i := range s.Values {
		s.Values[i] = f(i - n)
	}
	return s
}

// daily is a wave with a period of a day in steps of ten minutes, from 1 to 5, with some noise.
func daily(noise float64) func(i int) float64 {
	r := rand.New(rand.NewPCG(1, 1))
	return func(i int) float64 { return 3 + 2*math.Sin(2*math.Pi*float64(i)/144) + noise*r.NormFloat64()*0.3 }
}

func predict(t *testing.T, s Series, horizon int) Forecast {
	t.Helper()
	f, err := Predict(s, horizon, levels)
	if err != nil {
		t.Fatal(err)
	}
	sane(t, f, horizon)
	return f
}

// sane checks what holds for every forecast.
func sane(t *testing.T, f Forecast, horizon int) {
	t.Helper()
	sound(t, f, end, horizon)
}

// sound is sane for a forecast that starts at any time.
func sound(t *testing.T, f Forecast, start time.Time, horizon int) {
	t.Helper()
	if len(f.Mean) != horizon || len(f.Quantiles) != len(f.Levels) || !f.Start.Equal(start) {
		t.Fatalf("forecast has %d steps from %s and %d levels", len(f.Mean), f.Start, len(f.Quantiles))
	}
	for i := range horizon {
		low := 0.0
		for l := range f.Levels {
			v := f.Quantiles[l][i]
			if math.IsNaN(v) || math.IsInf(v, 0) || v < low {
				t.Fatalf("quantile %g of step %d is %g after %g", f.Levels[l], i, v, low)
			}
			low = v
		}
		if m := f.Mean[i]; math.IsNaN(m) || math.IsInf(m, 0) || m < 0 {
			t.Fatalf("mean of step %d is %g", i, m)
		}
	}
}

func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance }

func fill(v []float64, x float64) {
	for i := range v {
		v[i] = x
	}
}

func pick(first bool, a, b float64) float64 {
	if first {
		return a
	}
	return b
}
