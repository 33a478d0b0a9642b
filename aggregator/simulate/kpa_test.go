package simulate

import (
	"math"
	"testing"
	"time"
)

// The walks are those of knative/serving's pkg/autoscaler/scaling/autoscaler_test.go, with its defaults for rates.
func TestKnativesArithmetic(t *testing.T) {
	type tick struct {
		at            time.Duration
		ready         int32
		stable, panic float64
		want          float64
	}
	for name, c := range map[string]struct {
		target float64
		walk   []tick
	}{
		"stable":                              {10, []tick{{0, 1, 50, 10, 5}, {0, 1, 100, 10, 10}}},
		"stable, down":                        {10, []tick{{0, 1, 100, 10, 10}, {2 * time.Second, 8, 50, 50, 5}}},
		"not under half of what is ready":     {10, []tick{{0, 1, 1, 1, 1}, {2 * time.Second, 100, 1, 1, 50}, {4 * time.Second, 50, 1, 1, 25}}},
		"a slow rise ends panic":              {1, []tick{{0, 10, 11, 25, 25}, {30 * time.Second, 40, 30, 41, 41}, {62 * time.Second, 55, 50, 56, 50}}},
		"a surge goes on":                     {1, []tick{{0, 10, 11, 25, 25}, {30 * time.Second, 40, 30, 80, 80}, {62 * time.Second, 80, 30, 30, 80}, {92 * time.Second, 80, 30, 30, 40}}},
		"each surge is followed at once":      {1, []tick{{0, 1, 6, 6, 6}, {0, 6, 36, 36, 36}, {time.Second, 36, 216, 216, 216}, {time.Second, 216, 1296, 1296, 1296}}},
		"it starts with what is there":        {10, []tick{{0, 10, 1, 1, 10}, {60 * time.Second, 10, 1, 1, 10}, {62 * time.Second, 10, 1, 1, 5}}},
		"it keeps what it panicked for":       {10, []tick{{0, 10, 100, 1000, 100}, {30 * time.Second, 10, 1, 1, 100}, {61 * time.Second, 10, 1, 1, 5}}},
		"not over a thousand times at a time": {1, []tick{{0, 1, 5000, 5000, 1000}}},
	} {
		k := &kpa{target: c.target}
		for _, tick := range c.walk {
			if got := k.scaled(View{Now: start.Add(tick.at), Ready: tick.ready}, tick.stable, tick.panic); got != tick.want {
				t.Errorf("%s, after %v: %g pods, want %g", name, tick.at, got, tick.want)
			}
		}
	}
}

func TestKnativesWindowsAreAMinuteAndTheLastStep(t *testing.T) {
	k := &kpa{}
	for i, busy := range []float64{100, 1, 2, math.NaN(), 6} {
		k.Watch(View{Now: start.Add(time.Duration(i) * step), Busy: busy})
	}
	now := start.Add(4 * step)
	if stable, panicked := k.mean(now, kpaStable), k.mean(now, kpaPanic); stable != 3 || panicked != 6 {
		t.Errorf("%g in the stable window and %g in the panic window, want 3 and 6", stable, panicked)
	}
	for i := range 4 {
		k.Watch(View{Now: now.Add(time.Duration(i+1) * step), Busy: math.NaN()})
	}
	if got := k.Decide(View{Now: now.Add(4 * step), Replicas: 9, Ready: 1}); got != 9 {
		t.Errorf("without anything in the window it wants %d", got)
	}
}
