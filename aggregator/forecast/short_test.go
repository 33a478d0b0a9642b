package forecast

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// walk is demand that wanders around 20.
func walk(seed uint64) func(i int) float64 {
	r, v := rand.New(rand.NewPCG(seed, 1)), 0.0
	return func(int) float64 { v = 0.98*v + r.NormFloat64(); return max(0, 20+v) }
}

func TestMinutesOfHistoryGiveALevelWithHonestDoubt(t *testing.T) {
	for _, c := range []struct {
		step  time.Duration
		known time.Duration
	}{
		{time.Minute, 15 * time.Minute}, {time.Minute, time.Hour}, {time.Minute, 3 * time.Hour}, {5 * time.Minute, time.Hour}, {5 * time.Minute, 3 * time.Hour},
	} {
		n, soon := int(c.known/c.step), int(15*time.Minute/c.step)
		covered, steps := 0.0, 0.0
		for seed := range uint64(100) {
			of := walk(seed)
			for range 100 {
				of(0)
			}
			f := predict(t, series(c.step, n, of), int(24*time.Hour/c.step))
			for i := range soon {
				steps++
				covered += pick(of(0) <= f.Quantiles[3][i], 1, 0)
			}
			last := len(f.Mean) - 1
			if p := f.Quantiles; p[3][last] <= p[0][last] || p[3][last] < p[3][0]-5 || p[4][last] > 500 {
				t.Fatalf("%s of %s: p95 is %g at first, in a day %g, p99 %g, the median %g", c.known, c.step, p[3][0], p[3][last], p[4][last], p[0][last])
			}
		}
		share := covered / steps
		t.Logf("%s in steps of %s: %.3f of the next 15 minutes are below p95", c.known, c.step, share)
		if share < pick(n < 20, 0.7, 0.8) { // fifteen points haven't seen how far this walk goes
			t.Errorf("%s in steps of %s: %.3f of the next 15 minutes are below p95", c.known, c.step, share)
		}
	}
}

// A workload that began yesterday is forecast from where it is now, and later on by yesterday.
func TestWithOneDayOfHistoryTheNextHourFollowsTheLevel(t *testing.T) {
	for _, hours := range []int{24, 25, 27} {
		n := 6 * hours
		doubled := func(i int) float64 { return (3 + 2*math.Sin(2*math.Pi*float64(i)/144)) * pick(i >= -36, 2, 1) }
		f := predict(t, series(10*time.Minute, n, doubled), 144)
		if now := doubled(-1); !near(f.Mean[0], now, 1.2) {
			t.Errorf("%d h: demand is %g, for the next ten minutes %g is expected", hours, now, f.Mean[0])
		}
		if f.Mean[36] < f.Mean[108]+1 {
			t.Errorf("%d h: peak %g, trough %g", hours, f.Mean[36], f.Mean[108])
		}
		if p95 := f.Quantiles[3][143]; p95 > 30 {
			t.Errorf("%d h: p95 of a day ahead is %g, and demand was never above 10", hours, p95)
		}
	}
}

// The upper tail of what was hardly tried is wider than it was seen to be, and the more so the less was tried.
func TestUpperTailIsWiderWhereLittleWasTried(t *testing.T) {
	at := func(days int) (tail, middle float64) {
		h, err := read(series(10*time.Minute, days*144, daily(1)), 144)
		if err != nil {
			t.Fatal(err)
		}
		b := newBacktest(h, 144, levels)
		u := &b.buckets[len(b.buckets)-1]
		for l := range u.plain {
			u.plain[l] = 1
		}
		b.stretch(u)
		return u.plain[len(levels)-1], u.plain[0]
	}
	two, middle := at(2)
	if three, _ := at(3); two <= three || three <= 1 || middle != 1 {
		t.Errorf("times %g with two days, %g with three; the median %g", two, three, middle)
	}
	if week, _ := at(14); week != 1 {
		t.Errorf("with two weeks %g times", week)
	}
}
