package scaling

import (
	"testing"
	"time"
)

// walk decides at now for replicas that all have the given utilization, checks the result and returns it.
func walk(t *testing.T, w *Window, p gpuPolicy, now time.Time, current int32, percent float64, want int32, reason Reason) int32 {
	t.Helper()
	pods := many(Ready, int(current))
	for i := range pods {
		pods[i].Uses, pods[i].Known = percent/100, percent >= 0
	}
	d := decide(p, gpu{Current: current, Pods: pods, GPUsPerPod: 1}, w, now)
	if d.Replicas != want || d.Reason != reason {
		t.Fatalf("at %s: %d replicas (%s), want %d (%s): %s", now.Format("15:04:05"), d.Replicas, d.Reason, want, reason, d.Message)
	}
	return d.Replicas
}

func stabilized() gpuPolicy {
	p := policy(50)
	p.Down.Stabilization = 5 * time.Minute
	return p
}

func TestScaleDownWaitsUntilLargerRecommendationsScrollOut(t *testing.T) {
	w, p := &Window{}, stabilized()
	n := walk(t, w, p, start, 2, 100, 4, ReactiveDemand)
	n = walk(t, w, p, start.Add(1*time.Minute), n, 30, 4, Stabilized)             // wants 3; 4 is in the window
	n = walk(t, w, p, start.Add(2*time.Minute), n, 10, 4, Stabilized)             // wants 1
	n = walk(t, w, p, start.Add(5*time.Minute), n, 10, 4, Stabilized)             // 4 is exactly five minutes old
	n = walk(t, w, p, start.Add(5*time.Minute+time.Second), n, 10, 3, Stabilized) // 4 scrolls out, drop to 3
	n = walk(t, w, p, start.Add(6*time.Minute), n, 10, 3, Stabilized)             // 3 is exactly five minutes old
	walk(t, w, p, start.Add(6*time.Minute+time.Second), n, 10, 1, ReactiveDemand) // 3 scrolls out, drop to 1
}

func TestWhileTheReadyPodsSettleNothingFallsAndNothingIsRecorded(t *testing.T) {
	w, p := &Window{}, stabilized()
	settling := func(percent, forecast float64) gpu {
		in := gpu{Current: 4, Pods: ready(percent, percent, percent, percent), GPUsPerPod: 1, Settling: true}
		in.Forecast = Demand{Peak: forecast, OK: forecast > 0}
		return in
	}
	walk(t, w, p, start, 4, 10, 4, Stabilized)
	for name, c := range map[string]struct {
		in     gpu
		want   int32
		reason Reason
	}{
		"high":              {settling(100, 0), 4, Settling},
		"low":               {settling(0, 0), 4, Settling},
		"the forecast asks": {settling(0, 3), 6, ForecastDemand},
	} {
		if d := decide(p, c.in, w, start.Add(5*time.Minute)); d.Replicas != c.want || d.Reason != c.reason {
			t.Errorf("%s: %d replicas (%s), want %d (%s): %s", name, d.Replicas, d.Reason, c.want, c.reason, d.Message)
		}
	}
	walk(t, w, p, start.Add(5*time.Minute+time.Second), 4, 10, 1, ReactiveDemand) // only the first 4 was recorded, and it scrolled out
}

func TestScaleUpDoesNotWait(t *testing.T) {
	w, p := &Window{}, stabilized()
	n := walk(t, w, p, start, 4, 10, 4, Stabilized)
	walk(t, w, p, start.Add(2*time.Second), n, 100, 8, ReactiveDemand)
}

func TestRestartDoesNotScaleDownBeforeAWholeWindow(t *testing.T) {
	w, p := &Window{}, stabilized() // all that was known before is lost
	n := walk(t, w, p, start, 6, 10, 6, Stabilized)
	n = walk(t, w, p, start.Add(4*time.Minute), n, 10, 6, Stabilized)
	walk(t, w, p, start.Add(5*time.Minute+time.Second), n, 10, 2, ReactiveDemand)
}

func TestOutageIsFollowedByAWholeWindowOfData(t *testing.T) {
	w, p := &Window{}, stabilized()
	n := walk(t, w, p, start, 6, 50, 6, Steady)
	for m := 1; m <= 20; m++ { // longer than the window
		n = walk(t, w, p, start.Add(time.Duration(m)*time.Minute), n, -1, 6, NoTelemetry)
	}
	n = walk(t, w, p, start.Add(21*time.Minute), n, 10, 6, Stabilized)
	n = walk(t, w, p, start.Add(25*time.Minute), n, 10, 6, Stabilized)
	walk(t, w, p, start.Add(25*time.Minute+time.Second), n, 10, 2, ReactiveDemand)
}

func TestWorkloadSwitchedOnAgainStartsAfresh(t *testing.T) {
	w, p := &Window{}, stabilized()
	walk(t, w, p, start, 6, 50, 6, Steady)
	walk(t, w, p, start.Add(time.Hour), 0, 0, 0, Disabled)
	walk(t, w, p, start.Add(2*time.Hour), 5, 10, 5, Stabilized)
}

func TestLoweringByHandIsNotUndoneByTheWindow(t *testing.T) {
	w, p := &Window{}, stabilized()
	walk(t, w, p, start, 8, 50, 8, Steady)
	walk(t, w, p, start.Add(time.Minute), 4, 10, 4, Stabilized)
}

func TestNoStabilizationDropsAtOnce(t *testing.T) {
	w, p := &Window{}, policy(50)
	walk(t, w, p, start, 6, 50, 6, Steady)
	walk(t, w, p, start.Add(2*time.Second), 6, 10, 2, ReactiveDemand)
}

func TestClockThatGoesBackShortensNothing(t *testing.T) {
	w := &Window{}
	w.add(start, 3)
	w.add(start.Add(-time.Hour), 2)
	if got, _ := w.max(start.Add(time.Minute), 2*time.Minute); got != 3 {
		t.Errorf("largest is %d, want 3", got)
	}
	if got, _ := w.max(start.Add(time.Minute), time.Minute); got != 3 {
		t.Errorf("largest is %d, want 3", got)
	}
}

func TestWindowIsBoundedAndForgetsNoMaximum(t *testing.T) {
	w := &Window{}
	now := start
	for i := range int32(10 * windowSize) {
		w.add(now, 10*windowSize-i)
		now = now.Add(time.Second)
	}
	if len(w.largest) > windowSize {
		t.Errorf("window keeps %d", len(w.largest))
	}
	if got, _ := w.max(now, time.Hour); got < 3600 {
		t.Errorf("largest of the last hour is %d, want at least 3600", got)
	}
	if got, _ := w.max(now, 2*time.Second); got < 2 {
		t.Errorf("largest of the last seconds is %d, want at least 2", got)
	}
}

func TestAWorkloadThatFallsForHoursIsFollowed(t *testing.T) {
	w := &Window{}
	now, replicas := start, int32(4000)
	for range 2000 {
		w.add(now, replicas)
		now, replicas = now.Add(10*time.Second), replicas-1
	}
	if got, _ := w.max(now, 5*time.Minute); got != replicas+30 {
		t.Errorf("largest of the last five minutes is %d, want %d", got, replicas+30)
	}
	if n := len(w.largest); n > 361 {
		t.Errorf("%d are kept, of which only an hour can be asked for", n)
	}
}

func TestAWorkloadThatGrowsForHoursIsFollowed(t *testing.T) {
	w := &Window{}
	now, replicas := start, int32(1)
	for range 2000 {
		w.add(now, replicas)
		now, replicas = now.Add(10*time.Second), replicas+1
	}
	if got, _ := w.min(now, 5*time.Minute); got != replicas-30 {
		t.Errorf("smallest of the last five minutes is %d, want %d", got, replicas-30)
	}
}
