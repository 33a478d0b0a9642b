package forecast

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// runs is a job that runs for a sixth of each period and wants 15 busy GPUs more than what else there is.
func runs(step, period time.Duration, usual func(i int) float64) func(i int) float64 {
	r := rand.New(rand.NewPCG(2, 2))
	per := int(period / step)
	return func(i int) float64 {
		v := usual(i) + r.NormFloat64()
		if (i+1000*per)%per < max(1, per/6) {
			v += 15
		}
		return max(0, v)
	}
}

func flat(int) float64 { return 10 }

// ripple is a day in steps of five minutes.
func ripple(i int) float64 { return 20 + 10*math.Sin(2*math.Pi*float64(i)/288) }

// lossOf is the quantile loss of what a history and its components forecast, without a correction.
func lossOf(h *history, actual []float64) float64 {
	_, bands := newBacktest(h, len(actual), deciles).predict(0, len(actual))
	lost, _ := loss(actual, bands)
	return lost
}

func TestCycleIsFoundAndForecast(t *testing.T) {
	const step, days, day = 5 * time.Minute, 28, 288
	for _, c := range []struct {
		period time.Duration
		usual  func(i int) float64
		most   float64 // loss by that without the cycle
	}{
		{30 * time.Minute, flat, 0.95},
		{30 * time.Minute, ripple, 0.95},
		{100 * time.Minute, ripple, 0.6},
		{4 * time.Hour, flat, 0.97},
		{5 * time.Hour, flat, 0.4},
		{5 * time.Hour, ripple, 0.6},
		{7 * time.Hour, flat, 0.7},
		{7 * time.Hour, ripple, 0.9},
		{10 * time.Hour, ripple, 0.6},
		{36 * time.Hour, flat, 0.8},
		{36 * time.Hour, ripple, 0.8},
		{48 * time.Hour, ripple, 0.7},
	} {
		whole := series(step, (days+1)*day, runs(step, c.period, c.usual))
		past, actual := Series{End: end, Step: step, Values: whole.Values[:days*day]}, whole.Values[days*day:]
		h := newHistory(past)
		if got := time.Duration(h.cycle.steps) * step; got != c.period {
			t.Errorf("%s: found %s", c.period, got)
			continue
		}
		with := lossOf(h, actual)
		h.cycle = cycle{}
		ratio := with / lossOf(h, actual)
		t.Logf("%s: loss %.3f of that without the cycle", c.period, ratio)
		if !(ratio < c.most) {
			t.Errorf("%s: loss is %.3f of that without the cycle, want below %g", c.period, ratio, c.most)
		}
	}
}

func TestPartOfADayIsHeldByTheDay(t *testing.T) {
	for _, period := range []time.Duration{6 * time.Hour, 8 * time.Hour, 12 * time.Hour} {
		f := predict(t, series(5*time.Minute, 28*288, runs(5*time.Minute, period, ripple)), 288)
		between := int(period/f.Step) / 2
		run, idle := f.Mean[1]-ripple(1), f.Mean[between]-ripple(between) // the series ends where a run begins
		if !(run > 12 && math.Abs(idle) < 3) {
			t.Errorf("%s: %g more than usual in a run, %g between runs", period, run, idle)
		}
	}
}

func TestPeriodIsThatOfTheStrongestPattern(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	walk, lasting := 1000.0, 0.0
	for name, c := range map[string]struct {
		f    func(i int) float64
		want time.Duration
	}{
		"day":                         {ripple, 24 * time.Hour},
		"day with small batches":      {runs(5*time.Minute, 7*time.Hour, func(i int) float64 { return 50 + 3*(ripple(i)-20) }), 24 * time.Hour},
		"batches":                     {runs(5*time.Minute, 7*time.Hour, flat), 7 * time.Hour},
		"two peaks a day":             {func(i int) float64 { return 20 + ripple(i) + 8*math.Sin(4*math.Pi*float64(i)/288) }, 24 * time.Hour},
		"half a day":                  {func(i int) float64 { return ripple(2 * i) }, 12 * time.Hour},
		"noise":                       {func(int) float64 { return 10 + r.NormFloat64() }, 0},
		"random walk":                 {func(int) float64 { walk += r.NormFloat64(); return walk }, 0},
		"noise that lasts for a hour": {func(int) float64 { lasting = 0.9*lasting + r.NormFloat64(); return 20 + lasting }, 0},
		"nothing":                     {func(int) float64 { return 0 }, 0},
	} {
		for _, days := range []int{5, 9, 28} {
			f := predict(t, series(5*time.Minute, days*288, c.f), 288)
			if f.Period != c.want || f.Method != MethodSeasonal {
				t.Errorf("%s, %d days: period %s by %s, want %s", name, days, f.Period, f.Method, c.want)
			}
		}
	}
}

func TestNoiseSeldomHasACycle(t *testing.T) {
	found := 0
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 9))
		walk, lasting, burst := 1000.0, 0.0, 0.0
		for name, f := range map[string]func(i int) float64{
			"white":       func(int) float64 { return 10 + r.NormFloat64() },
			"random walk": func(int) float64 { walk += r.NormFloat64(); return walk },
			"lasting":     func(int) float64 { lasting = 0.99*lasting + r.NormFloat64(); return 50 + lasting },
			"bursts":      func(int) float64 { burst = pick(r.IntN(100) == 0, 20, 0.8*burst); return 1 + burst },
			"days": func(i int) float64 {
				return (20 + 10*math.Sin(2*math.Pi*float64(i)/144)) * (1 + 0.5*math.Sin(float64(i/144*i/144)))
			},
		} {
			if h := newHistory(series(10*time.Minute, 14*144, f)); h.cycle.steps > 0 {
				t.Logf("%s, seed %d: %d steps", name, seed, h.cycle.steps)
				found++
			}
		}
	}
	if found > 2 {
		t.Errorf("a cycle in %d of 200 series that have none", found)
	}
}

// Where the shape of the day is chance, what counts is the level, and the forecast is hardly worse than the last value.
func TestWhereThereIsNoDayItsShapeHasLittleSay(t *testing.T) {
	var ours, last, share float64
	const walks = 20
	for seed := range uint64(walks) {
		r := rand.New(rand.NewPCG(seed, 6))
		v := 1000.0
		whole := series(10*time.Minute, 29*144, func(int) float64 { v += r.NormFloat64(); return v })
		past, actual := Series{End: end, Step: whole.Step, Values: whole.Values[:28*144]}, whole.Values[28*144:]
		f := predict(t, past, 144)
		for _, p := range f.Parts {
			switch p.Name {
			case "yesterday", "median day", "fast day", "mid day", "weekly day", "same weekday", "yesterday and weekday":
				share += p.Share / walks
			}
		}
		for i, y := range actual {
			ours += math.Abs(y - f.Mean[i])
			last += math.Abs(y - past.Values[len(past.Values)-1])
		}
	}
	t.Logf("days have %.3f of the forecast, the error is %.3f of that of the last value", share, ours/last)
	if share > 0.2 || ours > 1.1*last {
		t.Errorf("days have %.2f of the forecast, the error is %.2f of that of the last value", share, ours/last)
	}
}

func TestBatchesThatComeRegularlyAreNoIncidents(t *testing.T) {
	for _, hours := range []int{13, 35, 50} {
		for _, days := range []int{9, 28} {
			h := newHistory(series(5*time.Minute, days*288, func(i int) float64 { return pick((i+1e6*hours*12)%(hours*12) < 12, 8, 0.1) }))
			if lost := days*288 - h.count; 5*lost > days*288/hours { // a fifth of all batches, at most
				t.Errorf("every %d hours, %d days: %d steps are taken as not known", hours, days, lost)
			}
		}
	}
}

func TestTrackerCarriesACycle(t *testing.T) {
	past := series(10*time.Minute, 14*144, runs(10*time.Minute, 7*time.Hour, flat))
	want, tracker := predict(t, past, 144), track10(t, past, 144)
	if want.Period != 7*time.Hour {
		t.Fatalf("period is %s", want.Period)
	}
	got := tracker.Forecast(0, nan)
	for i := range want.Mean {
		if !near(got.Mean[i], want.Mean[i], 1e-4) {
			t.Fatalf("step %d is %g, want %g", i, got.Mean[i], want.Mean[i])
		}
	}
	if err := tracker.Add(want.Mean[0]); err != nil {
		t.Fatal(err)
	}
	later := tracker.Forecast(0, nan)
	for i := range 100 {
		if !near(later.Mean[i], want.Mean[i+1], 3) {
			t.Fatalf("a step later step %d is %g, it was %g", i, later.Mean[i], want.Mean[i+1])
		}
	}
}
