package simulate

import (
	"math"
	"slices"
	"testing"
	"time"
)

// watched is what is seen of a trace, by the step.
func watched(t *testing.T, w World, trace Trace, d Decider) (views []View, r Result) {
	t.Helper()
	r, err := Run(w, trace, d, func(v View) { views = append(views, v) })
	if err != nil {
		t.Fatal(err)
	}
	return views, r
}

// after is the view of a moment.
func after(views []View, at time.Duration) View { return views[at/step] }

func TestADeciderSeesWhatIsOver(t *testing.T) {
	for lag, want := range map[time.Duration][]float64{
		0:                {math.NaN(), 0.5, 0.5, 0.5, 0.5, 1, 1, 1}, // the load doubles with the fifth step
		5 * time.Second:  {math.NaN(), math.NaN(), 0.5, 0.5, 0.5, 5.0 / 6, 1, 1},
		30 * time.Second: {math.NaN(), math.NaN(), math.NaN(), 0.5, 0.5, 0.5, 0.5, 1},
	} {
		w := world()
		w.Lag = lag
		views, _ := watched(t, w, flat(1, time.Minute, 2, time.Minute), Fixed(2))
		for i, v := range views {
			if from := start.Add(time.Duration(i-1)*step - lag); !v.Seen.Equal(from) {
				t.Errorf("with a lag of %v, step %d shows what began at %v", lag, i, v.Seen)
			}
			if math.Abs(v.Utilization-want[i]) > 1e-9 || math.IsNaN(v.Utilization) != math.IsNaN(want[i]) {
				t.Errorf("with a lag of %v, step %d shows %g, want %g", lag, i, v.Utilization, want[i])
			}
		}
	}
}

func TestNothingIsSeenDuringAnOutage(t *testing.T) {
	w := world()
	w.Lag = 0
	w.Outages = []Span{{start.Add(time.Minute), start.Add(2 * time.Minute)}}
	views, _ := watched(t, w, flat(1, 5*time.Minute, 0, 0), Fixed(2))
	for i, v := range views {
		if unknown := i == 0 || i >= 5 && i <= 8; math.IsNaN(v.Busy) != unknown || math.IsNaN(v.Utilization) != unknown {
			t.Errorf("step %d shows %g busy", i, v.Busy)
		}
	}
}

func TestWherePodsHoldNothingThereIsNothingToSee(t *testing.T) {
	w := world()
	w.Lag = 0
	views, r := watched(t, w, flat(1, 2*time.Minute, 0, 0), Fixed(0))
	if v := after(views, time.Minute); !math.IsNaN(v.Busy) || !math.IsNaN(v.Utilization) || v.Waiting != 60 {
		t.Errorf("%+v", v)
	}
	if r.GPUHours != 0 || r.LongestWait != 2*time.Minute {
		t.Errorf("%+v", r)
	}
}

func TestPodsThatBecameReadyLatelyAreNotInWhatIsSeen(t *testing.T) {
	w := world()                                                                           // three minutes to start, a lag of 30 s
	views, _ := watched(t, w, flat(2, 10*time.Minute, 2, 0), deciding(func(v View) int32 { // two more, and one of them no longer
		if v.Now.Sub(start) < 5*time.Minute {
			return 4
		}
		return 3
	}))
	for _, c := range []struct {
		at             time.Duration
		ready, settled int32
		utilization    float64
	}{
		{2*time.Minute + 45*time.Second, 2, 2, 1},
		{3 * time.Minute, 4, 2, 1},
		{3*time.Minute + 30*time.Second, 4, 2, 1},
		{3*time.Minute + 45*time.Second, 4, 4, 0.5},
		{5*time.Minute + 15*time.Second, 3, 3, 0.5},
		{6 * time.Minute, 3, 3, 2 / 3.0},
	} {
		if v := after(views, c.at); v.Ready != c.ready || v.Settled != c.settled || math.Abs(v.Utilization-c.utilization) > 1e-9 {
			t.Errorf("after %v: %+v, want %+v", c.at, v, c)
		}
	}
	// The one that has to go is the youngest.
	views, _ = watched(t, w, flat(2, 10*time.Minute, 2, 0), deciding(func(v View) int32 {
		if v.Now.Sub(start) < 3*time.Minute+step {
			return 4
		}
		return 3
	}))
	if v := after(views, 3*time.Minute+30*time.Second); v.Ready != 3 || v.Settled != 2 {
		t.Errorf("%+v", v)
	}
	// An HPA that took the new pods for as busy as the old would ask for twice as many again.
	h := &HPA{Bounds: Bounds{1, 50}, Target: 0.5}
	if most := run(t, w, flat(2, time.Hour, 2, 0), h).Most; most != 4 {
		t.Errorf("the HPA asks for %d pods of a load that is always two", most)
	}
}

func TestNoiseIsInWhatIsSeenAndNotInWhatIs(t *testing.T) {
	w := world()
	w.Replicas, w.Noise, w.Startup = 2, 0.1, Measured([]time.Duration{0, 5 * step, 6 * step, 7 * step})
	quiet := w
	quiet.Noise = 0
	trace := flat(2, 24*time.Hour, 2, 0)
	views, r := watched(t, w, trace, Fixed(4))
	if r != run(t, quiet, trace, Fixed(4)) {
		t.Error("noise changes what is")
	}
	busy, later := flat(6, 24*time.Hour, 6, 0), deciding(func(v View) int32 { return 2 + 2*int32(v.Now.Hour()%4) })
	if run(t, w, busy, later) != run(t, quiet, busy, later) {
		t.Error("noise changes how long pods take to start")
	}
	sum, squares, n := 0.0, 0.0, 0.0
	for _, v := range views[20:] {
		if math.Abs(v.Busy-4*v.Utilization) > 1e-9 {
			t.Fatalf("%+v", v)
		}
		sum, squares, n = sum+v.Utilization, squares+v.Utilization*v.Utilization, n+1
	}
	if mean, deviation := sum/n, math.Sqrt(squares/n-sum/n*sum/n); math.Abs(mean-0.5) > 0.003 || math.Abs(deviation-0.05) > 0.002 {
		t.Errorf("a mean of %g and a deviation of %g, want 0.5 and a tenth of it", mean, deviation)
	}
	again, _ := watched(t, w, trace, Fixed(4))
	w.Seed = 2
	other, _ := watched(t, w, trace, Fixed(4))
	if !slices.Equal(views[3:], again[3:]) || slices.Equal(views[3:], other[3:]) {
		t.Error("noise is not that of its seed")
	}
}

func TestPodsThatDrainHoldTheirGPUsAndNoLonger(t *testing.T) {
	for drain, want := range map[time.Duration]float64{0: 0, 30 * time.Second: 60, time.Minute: 120} {
		w := world()
		w.Replicas, w.Drain = 4, drain
		r := run(t, w, flat(1, time.Hour, 1, 0), Fixed(2))
		if got := (r.GPUHours - 2) * 3600; math.Abs(got-want) > 1e-6 {
			t.Errorf("two pods that take %v to go hold GPUs for %g s, want %g", drain, got, want)
		}
	}
}

func TestEachPodTakesItsOwnTimeToStart(t *testing.T) {
	w := world()
	w.Startup = Measured([]time.Duration{time.Minute, 2 * time.Minute, 3 * time.Minute})
	views, _ := watched(t, w, flat(1, 5*time.Minute, 1, 0), Fixed(62))
	for at, want := range map[time.Duration][2]int32{45 * time.Second: {2, 2}, time.Minute: {12, 32}, 2 * time.Minute: {32, 52}, 3 * time.Minute: {62, 62}} {
		if v := after(views, at); v.Ready < want[0] || v.Ready > want[1] {
			t.Errorf("after %v %d are ready, want from %d to %d", at, v.Ready, want[0], want[1])
		}
	}
}

func TestEachPodsGPUsComeAfterItWasFoundToLackThem(t *testing.T) {
	w := world()
	w.GPUs, w.Provisioning = 3, 5*time.Minute
	views, _ := watched(t, w, flat(1, 15*time.Minute, 1, 0), deciding(func(v View) int32 {
		if v.Now.Sub(start) < 3*time.Minute {
			return 5
		}
		return 6
	}))
	for at, want := range map[time.Duration]int32{15 * time.Second: 2, 3*time.Minute + 15*time.Second: 3, 5 * time.Minute: 1, 8 * time.Minute: 0} {
		if v := after(views, at); v.Pending != want {
			t.Errorf("after %v %d are pending, want %d", at, v.Pending, want)
		}
	}
	if v := after(views, 11*time.Minute); v.Ready != 6 {
		t.Errorf("%+v", v)
	}
}

func TestGPUsThatWereBroughtGoWhenNobodyNeedsThem(t *testing.T) {
	pending := func(unneeded time.Duration) int32 {
		w := world()
		w.Startup, w.GPUs, w.Provisioning, w.Unneeded = nil, 2, time.Minute, unneeded
		views, _ := watched(t, w, flat(1, time.Hour, 1, 0), deciding(func(v View) int32 {
			if at := v.Now.Sub(start); at >= 10*time.Minute && at < 30*time.Minute {
				return 2
			}
			return 4
		}))
		if v := after(views, 5*time.Minute); v.Ready != 4 {
			t.Fatalf("%+v", v)
		}
		return after(views, 30*time.Minute+step).Pending
	}
	if got := pending(0); got != 0 {
		t.Errorf("%d pods lack GPUs that stay", got)
	}
	if got := pending(25 * time.Minute); got != 0 {
		t.Errorf("%d pods lack GPUs that go later", got)
	}
	if got := pending(10 * time.Minute); got != 2 {
		t.Errorf("%d pods lack GPUs that are gone, want 2", got)
	}
}

func TestNoMoreGPUsGoThanCameAndNoneThatWereNeededMeanwhile(t *testing.T) {
	at := func(v View) time.Duration { return v.Now.Sub(start) }
	w := world()
	w.Startup, w.GPUs, w.Provisioning, w.Unneeded = nil, 2, time.Minute, 10*time.Minute
	views, _ := watched(t, w, flat(1, time.Hour, 1, 0), deciding(func(v View) int32 { // a third is needed again, five minutes after
		switch {
		case at(v) < 10*time.Minute || at(v) >= 21*time.Minute:
			return 4
		case at(v) >= 15*time.Minute && at(v) < 18*time.Minute:
			return 3
		}
		return 2
	}))
	if v := after(views, 21*time.Minute+step); v.Pending != 1 {
		t.Errorf("%d pods lack GPUs, want 1: %+v", v.Pending, v)
	}
	w.Replicas, w.GPUs = 1, 3
	views, _ = watched(t, w, flat(1, time.Hour, 1, 0), deciding(func(v View) int32 { // one comes, and three are without a pod
		switch {
		case at(v) < 10*time.Minute:
			return 4
		case at(v) < 30*time.Minute:
			return 1
		}
		return 3
	}))
	if v := after(views, 30*time.Minute+step); v.Pending != 0 {
		t.Errorf("%+v", v)
	}
}

func TestARolloutReplacesAQuarterAtATime(t *testing.T) {
	w := world()
	w.Replicas, w.Rollouts = 8, []time.Time{start.Add(time.Minute)}
	views, r := watched(t, w, flat(7, 20*time.Minute, 7, 0), Fixed(8))
	// Two may be away and two more may be there: four new ones in three minutes, then four more.
	for at, want := range map[time.Duration][2]int32{45 * time.Second: {8, 0}, time.Minute: {6, 4}, 3*time.Minute + 45*time.Second: {6, 4}, 4 * time.Minute: {6, 4}, 7 * time.Minute: {8, 0}} {
		if v := after(views, at); v.Ready != want[0] || v.Starting != want[1] {
			t.Errorf("after %v %d are ready and %d starting, want %v", at, v.Ready, v.Starting, want)
		}
	}
	if r.Short != 12*time.Minute || // six with one too few, and as long until what waited is served
		r.Ups+r.Downs != 0 || math.Abs(r.GPUHours-(8*20+2*6)/60.0) > 1e-9 {
		t.Errorf("%+v", r)
	}
}

func TestARolloutOfOnePodHasTheNewOneReadyFirst(t *testing.T) {
	w := world()
	w.Replicas, w.Rollouts = 1, []time.Time{start.Add(time.Minute)}
	views, r := watched(t, w, flat(0.9, 20*time.Minute, 0.9, 0), Fixed(1))
	if v := after(views, 2*time.Minute); v.Ready != 1 || v.Starting != 1 || r.Short != 0 || math.Abs(r.GPUHours-(20+3)/60.0) > 1e-9 {
		t.Errorf("%+v, %+v", v, r)
	}
}

func TestARolloutMakesPodsThatStartAnew(t *testing.T) {
	w := world()
	w.Rollouts = []time.Time{start.Add(time.Minute)}
	views, _ := watched(t, w, flat(1, 20*time.Minute, 1, 0), Fixed(4))
	for at, want := range map[time.Duration][2]int32{45 * time.Second: {2, 2}, 3 * time.Minute: {2, 3}, 4 * time.Minute: {3, 1}, 7 * time.Minute: {4, 0}} {
		if v := after(views, at); v.Ready != want[0] || v.Starting != want[1] {
			t.Errorf("after %v %d are ready and %d starting, want %v", at, v.Ready, v.Starting, want)
		}
	}
}

func TestARolloutWithNothingReadyStartsAllAnew(t *testing.T) {
	w := world()
	w.Replicas, w.Rollouts = 1, []time.Time{start.Add(time.Minute)}
	views, _ := watched(t, w, flat(0, 20*time.Minute, 0, 0), deciding(func(v View) int32 {
		if v.Now.Equal(start) {
			return 0
		}
		return 3
	}))
	for at, want := range map[time.Duration][2]int32{45 * time.Second: {0, 3}, 4*time.Minute - step: {0, 3}, 4 * time.Minute: {3, 0}} {
		if v := after(views, at); v.Ready != want[0] || v.Starting != want[1] {
			t.Errorf("after %v %d are ready and %d starting, want %v", at, v.Ready, v.Starting, want)
		}
	}
}

func TestARolloutWithoutSpareGPUsGoesOnWithThoseThatBecomeFree(t *testing.T) {
	w := world()
	w.Replicas, w.GPUs, w.Drain, w.Rollouts = 8, 8, 30*time.Second, []time.Time{start.Add(time.Minute)}
	views, _ := watched(t, w, flat(1, time.Hour, 1, 0), Fixed(8))
	if v := after(views, time.Minute); v.Ready != 6 || v.Pending != 4 {
		t.Errorf("%+v", v)
	}
	if v := after(views, time.Minute+30*time.Second); v.Pending != 2 || v.Starting != 4 {
		t.Errorf("%+v", v)
	}
	last := views[len(views)-1]
	if last.Ready != 8 || last.Starting != 0 {
		t.Errorf("%+v", last)
	}
}

func TestARolloutAndScalingEndWithWhatWasDecided(t *testing.T) {
	for _, during := range []int32{1, 3, 6, 9, 20} {
		w := world()
		w.Replicas, w.Rollouts = 8, []time.Time{start.Add(time.Minute), start.Add(3 * time.Minute)}
		views, _ := watched(t, w, flat(1, time.Hour, 1, 0), deciding(func(v View) int32 {
			if v.Now.Sub(start) < 2*time.Minute {
				return 8
			}
			return during
		}))
		for _, v := range views {
			if most := max(8, during); v.Ready+v.Starting > most+(most+3)/4 || v.Ready < 0 {
				t.Fatalf("%+v", v)
			}
		}
		if last := views[len(views)-1]; last.Ready != during || last.Starting != 0 {
			t.Errorf("%+v, want %d", last, during)
		}
	}
}
