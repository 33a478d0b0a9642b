package forecast

import (
	"math"
	"testing"
	"time"
)

const noon = 72 // steps of ten minutes

func TestSpikeOfAnHourYesterdayIsForgotten(t *testing.T) {
	some := daily(0)
	calm := predict(t, series(10*time.Minute, 10*144, some), 144)
	hit := predict(t, series(10*time.Minute, 10*144, func(i int) float64 { return some(i) * pick(i >= -150 && i < -144, 10, 1) }), 144)
	for i := range calm.Mean {
		if !near(hit.Mean[i], calm.Mean[i], 0.2) || !near(hit.Quantiles[3][i], calm.Quantiles[3][i], 0.3) {
			t.Fatalf("step %d: mean %g and p95 %g, without the spike %g and %g", i, hit.Mean[i], hit.Quantiles[3][i], calm.Mean[i], calm.Quantiles[3][i])
		}
	}
	if hit.History != calm.History-time.Hour {
		t.Errorf("history is %s: the hour of the spike counts", hit.History)
	}
}

func TestBurstThatComesEachDayIsNoIncident(t *testing.T) {
	f := predict(t, series(10*time.Minute, 10*144, func(i int) float64 { return pick((i+1440)%144 < 6, 50, 1) }), 144)
	if f.Mean[3] < 40 || f.History != 10*24*time.Hour {
		t.Errorf("the burst is expected at %g from %s of history", f.Mean[3], f.History)
	}
}

func TestBurstThatStillLastsIsBelieved(t *testing.T) {
	some := daily(0)
	f := predict(t, series(10*time.Minute, 10*144, func(i int) float64 { return some(i) * pick(i >= -6, 10, 1) }), 6)
	if f.Mean[0] < 6 {
		t.Errorf("ten times the usual for an hour, and now %g is expected", f.Mean[0])
	}
}

func TestDemandThatDoubledHalfADayAgoStaysDoubled(t *testing.T) {
	some := daily(0.3)
	f := predict(t, series(10*time.Minute, 14*144, func(i int) float64 { return max(0, some(i)) * pick(i >= -noon, 2, 1) }), 144)
	exact := daily(0)
	for i, m := range f.Mean {
		if want := 2 * exact(i); math.Abs(m-want) > 0.25*want {
			t.Fatalf("step %d is %g, want about %g", i, m, want)
		}
	}
}

func TestQuietDayIsNoNewLevel(t *testing.T) {
	some := daily(0.3)
	h := newHistory(series(10*time.Minute, 14*144, func(i int) float64 { return max(0, some(i)) * pick(i >= -noon, 0.4, 1) }))
	if h.moved != 1 {
		t.Errorf("what came before was multiplied by %g", h.moved)
	}
}

func TestEveryWeekendIsNoNewLevel(t *testing.T) {
	some := daily(0.3)
	h := newHistory(series(10*time.Minute, 28*144, func(i int) float64 { return max(0, some(i)) * pick((i+28*144)/144%7 >= 5, 2.5, 1) }))
	if h.moved != 1 {
		t.Errorf("what came before was multiplied by %g", h.moved)
	}
}
