package forecast

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// blocks are times of demand and of none, of random lengths with these means in steps.
func blocks(r *rand.Rand, n int, on, off, gpus float64) []float64 {
	v := make([]float64, 0, n)
	for busy := r.IntN(2) == 0; len(v) < n; busy = !busy {
		length, demand := off, 0.0
		if busy {
			length, demand = on, gpus
		}
		for range 1 + int(r.ExpFloat64()*length) {
			v = append(v, demand)
		}
	}
	return v[:n]
}

// nights are batches of two hours that begin at random within four.
func nights(r *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for d := 0; d+36 < n; d += 144 {
		first := d + r.IntN(24)
		fill(v[first:first+12], 4)
	}
	return v
}

// counts are how many of forty users are there.
func counts(r *rand.Rand, n int, mean float64) []float64 {
	v := make([]float64, n)
	for i := range v {
		for range 40 {
			if r.Float64() < mean/40 {
				v[i]++
			}
		}
	}
	return v
}

// batches come at random and take two hours.
func batches(n int) Series {
	v := blocks(rand.New(rand.NewPCG(3, 3)), n, 12, 36, 8)
	return Series{End: end, Step: 10 * time.Minute, Values: v}
}

// everSeen forecasts the quantiles of what was seen within half an hour of that time on all days.
func everSeen(v []float64, levels []float64) [][]float64 {
	bands := blank(len(levels), 144)
	for j := range 144 {
		var all []residual
		for i := len(v) - 144 + j; i >= 3; i -= 144 {
			for _, y := range v[i-3 : min(i+4, len(v))] {
				all = append(all, residual{y, 1})
			}
		}
		for l, q := range new(sorter).quantiles(all, levels) {
			bands[l][j] = q
		}
	}
	return bands
}

// Of workloads that are often idle, the forecast knows at least what the time of day says by itself: it loses at most a quarter
// more, its p95 holds, and it doesn't reserve more than the demand can be. Where spells last for days, two weeks have seen few of them.
func TestOftenIdleWorkloadsAreForecastNoWorseThanByWhatWasEverSeen(t *testing.T) {
	const days = 28
	asked := append(slices.Clone(deciles), 0.95, 0.99)
	for name, of := range map[string]func(r *rand.Rand, n int) []float64{
		"batches at random":  func(r *rand.Rand, n int) []float64 { return blocks(r, n, 12, 36, 8) },
		"two bursts a day":   func(r *rand.Rand, n int) []float64 { return blocks(r, n, 2, 70, 4) },
		"days on, days off":  func(r *rand.Rand, n int) []float64 { return blocks(r, n, 3*144, 4*144, 8) },
		"a batch each night": nights,
		"counts of 0.1":      func(r *rand.Rand, n int) []float64 { return counts(r, n, 0.1) },
		"counts of 1":        func(r *rand.Rand, n int) []float64 { return counts(r, n, 1) },
	} {
		var ours, theirs, soon, theirsSoon, covered, steps, unused, top float64
		for k := range 16 {
			v := of(rand.New(rand.NewPCG(uint64(k), 9)), (days+2)*144)
			o := days*144 + 9*k
			past, actual := v[o-days*144:o], v[o:o+144]
			f, err := Predict(Series{End: end, Step: 10 * time.Minute, Values: past}, 144, asked)
			if err != nil {
				t.Fatal(err)
			}
			sane(t, f, 144)
			seen := everSeen(past, asked)
			a, _ := loss(actual, f.Quantiles)
			b, _ := loss(actual, seen)
			ours, theirs = ours+a, theirs+b
			a, _ = loss(actual[:6], f.Quantiles)
			b, _ = loss(actual[:6], seen)
			soon, theirsSoon = soon+a, theirsSoon+b
			for i, y := range actual {
				p95 := f.Quantiles[len(deciles)][i]
				covered, steps, unused = covered+pick(y <= p95+1e-9, 1, 0), steps+1, unused+max(0, p95-y)
			}
			top = max(top, slices.Max(v))
		}
		t.Logf("%-20s loss by what was ever seen: %.3f, first hour %.3f; %.1f%% below p95, unused %.2f of at most %g", name, ours/theirs, soon/theirsSoon, 100*covered/steps, unused/steps, top)
		if ours > 1.25*theirs || soon > 1.25*theirsSoon {
			t.Errorf("%s: it loses %.3f of what the time of day by itself does, in the first hour %.3f", name, ours/theirs, soon/theirsSoon)
		}
		if share := covered / steps; share < pick(name == "days on, days off", 0.75, 0.9) {
			t.Errorf("%s: %.3f of the time is below p95", name, share)
		}
		if unused/steps > top {
			t.Errorf("%s: %.2f are reserved for nothing, and demand is never above %g", name, unused/steps, top)
		}
	}
}

func TestSleepingWorkloadIsNotReservedFor(t *testing.T) {
	wave := daily(0)
	for name, c := range map[string]struct {
		f    func(i int) float64
		most float64 // of p95
	}{
		"never awake":                    {func(int) float64 { return 0 }, 0},
		"asleep for 5 days":              {func(i int) float64 { return pick(i >= -5*144, 0, wave(i)) }, 0.5},
		"asleep for 20 days":             {func(i int) float64 { return pick(i >= -20*144, 0, wave(i)) }, 0.01},
		"one burst, 10 days ago":         {func(i int) float64 { return pick(i >= -10*144 && i < -10*144+24, 40, 0) }, 0.01},
		"one burst, the day before":      {func(i int) float64 { return pick(i >= -2*144 && i < -2*144+24, 40, 0) }, 2},
		"a batch each day, but not at 4": {func(i int) float64 { return pick((i+28*144)%144 >= 130, 8, 0) }, 9},
	} {
		f := predict(t, series(10*time.Minute, 28*144, c.f), 144)
		if top := slices.Max(f.Quantiles[3]); top > c.most {
			t.Errorf("%s: p95 is up to %g, want at most %g", name, top, c.most)
		}
	}
}

func TestWorkloadThatWokeIsExpectedToStayAwakeForAWhile(t *testing.T) {
	wave := daily(0)
	f := predict(t, series(10*time.Minute, 28*144, func(i int) float64 { return pick(i >= -5*144 && i < -12, 0, wave(i)) }), 144)
	if !near(f.Mean[0], wave(0), 0.5) || f.Quantiles[3][6] < 2 {
		t.Errorf("awake for two hours at %g: %g is expected, and p95 an hour later is %g", wave(0), f.Mean[0], f.Quantiles[3][6])
	}
}

func TestWorkloadThatIsNeverIdleHasNoClimate(t *testing.T) {
	h, err := read(series(10*time.Minute, 28*144, daily(1)), 144)
	if err != nil {
		t.Fatal(err)
	}
	if c := newBacktest(h, 144, correctedLevels[:]).climate(); c != nil {
		t.Errorf("the climate has shares of %v", c.shares)
	}
	h, err = read(batches(28*144), 144)
	if err != nil {
		t.Fatal(err)
	}
	if c := newBacktest(h, 144, correctedLevels[:]).climate(); c == nil {
		t.Error("batches at random have no climate: the other tests show nothing")
	}
}

func BenchmarkPredictOftenIdle(b *testing.B) {
	s := batches(28 * 288)
	s.Step = 5 * time.Minute
	for b.Loop() {
		if _, err := Predict(s, 288, levels); err != nil {
			b.Fatal(err)
		}
	}
}
