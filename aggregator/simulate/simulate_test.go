package simulate

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

const step = 15 * time.Second

func world() World {
	return World{Step: step, Sync: step, Lag: 30 * time.Second, GPUsPerPod: 1, Startup: Always(3 * time.Minute), Replicas: 2, Seed: 1}
}

// tide is two busy GPUs at night and eight by day, for so long.
func tide(length time.Duration) Trace {
	t := Trace{Start: start}
	for i := range int(length / step) {
		day := float64(i) * step.Hours() / 24
		t.Offered = append(t.Offered, 5-3*math.Cos(2*math.Pi*day))
	}
	return t
}

// flat is the same load for so long, then another.
func flat(before float64, length time.Duration, after float64, more time.Duration) Trace {
	t := Trace{Start: start}
	for range int(length / step) {
		t.Offered = append(t.Offered, before)
	}
	for range int(more / step) {
		t.Offered = append(t.Offered, after)
	}
	return t
}

func run(t *testing.T, w World, trace Trace, d Decider) Result {
	t.Helper()
	r, err := Run(w, trace, d, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEnoughPodsServeEverythingAndCostWhatTheyHold(t *testing.T) {
	w := world()
	w.Replicas = 8
	r := run(t, w, tide(24*time.Hour), Fixed(8))
	if r.Short != 0 || r.Wait != 0 || math.Abs(r.GPUHours-8*24) > 1e-6 || r.Ups+r.Downs != 0 || r.Most != 8 {
		t.Errorf("%+v", r)
	}
}

func TestWhatCannotBeServedWaits(t *testing.T) {
	// 3 GPUs are offered to 2 for ten minutes, so that 600 GPU seconds wait; then 1 is, and they are served within ten minutes.
	r := run(t, world(), flat(3, 10*time.Minute, 1, time.Hour), Fixed(2))
	if r.Short != 20*time.Minute || r.LongestWait != 5*time.Minute {
		t.Errorf("short for %v, the longest waits %v, want 20m and 5m", r.Short, r.LongestWait)
	}
	// Little's law: 600 GPU seconds at most, over 20 minutes in the form of a triangle, by 5,400 GPU seconds of work.
	if want := 600 * 1200 / 2.0 / 5400; math.Abs(r.Wait.Seconds()-want) > 1e-6 {
		t.Errorf("work waits %v on average, want %g s", r.Wait, want)
	}
	if math.Abs(r.Offered-1.5) > 1e-9 || math.Abs(r.Served-1.5) > 1e-9 || r.Waiting != 0 {
		t.Errorf("%+v", r)
	}
}

func TestWorkThatEndsToWaitWithinAStepWaitsUntilThen(t *testing.T) {
	// 15 GPU seconds wait after a step; two GPUs, of which nothing else is asked, are through them in 7.5 s.
	trace := Trace{Start: start, Offered: []float64{3, 0, 0}}
	r := run(t, world(), trace, Fixed(2))
	if r.Short != 22500*time.Millisecond || math.Abs(r.Wait.Seconds()-(15*15/2.0+15*7.5/2)/45) > 1e-6 {
		t.Errorf("%+v", r)
	}
}

func TestTheOldestWorkIsServedFirst(t *testing.T) {
	// Nobody serves for 75 s; then one does of what would take two, so that the wait grows on. After 3 minutes 105 GPU seconds are served, the
	// last of which was offered after 52.5 s.
	w := world()
	w.Replicas, w.Startup = 1, Always(time.Minute)
	gone := deciding(func(v View) int32 {
		if v.Now.Equal(start) {
			return 0
		}
		return 1
	})
	r := run(t, w, flat(2, 3*time.Minute, 0, 0), gone)
	ready := time.Minute + step // created with the second step
	if want := 3*time.Minute - (3*time.Minute-ready)/2; r.LongestWait != want || r.Short != 3*time.Minute {
		t.Errorf("the longest waits %v, want %v: %+v", r.LongestWait, want, r)
	}
}

func TestPodsServeOnceTheyHaveStarted(t *testing.T) {
	var ready []int32
	w := world()
	_, err := Run(w, flat(2, 10*time.Minute, 2, 0), Fixed(4), func(v View) { ready = append(ready, v.Ready) })
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range ready {
		want := int32(2)
		if time.Duration(i)*step >= 3*time.Minute {
			want = 4
		}
		if n != want {
			t.Fatalf("after %v %d are ready, want %d", time.Duration(i)*step, n, want)
		}
	}
}

func TestTheHorizontalPodAutoscalerIsLateByAPodsStart(t *testing.T) {
	trace := tide(48 * time.Hour)
	bounds := Bounds{1, 50}
	w := world()
	w.Replicas = 4
	hpa := run(t, w, trace, &HPA{Bounds: bounds, Target: 0.8})
	oracle := run(t, w, trace, Oracle{Bounds: bounds, Target: 0.8, GPUsPerPod: 1, Trace: trace, Step: step, Ahead: 3*time.Minute + step})
	if oracle.Short > 0 || oracle.GPUHours >= hpa.GPUHours*1.1 {
		t.Errorf("the oracle: %+v; the HPA: %+v", oracle, hpa)
	}
	burst := flat(2, time.Hour, 8, time.Hour)
	hpa = run(t, world(), burst, &HPA{Bounds: bounds, Target: 0.8})
	if hpa.Short < 3*time.Minute || hpa.Short > 40*time.Minute {
		t.Errorf("at a burst the HPA is short for %v", hpa.Short)
	}
}

func TestTheSameSeedGivesTheSame(t *testing.T) {
	w := world()
	w.Startup = func(r *rand.Rand) time.Duration { return time.Duration(60+r.IntN(240)) * time.Second }
	first := run(t, w, tide(24*time.Hour), &HPA{Bounds: Bounds{1, 50}, Target: 0.6})
	if again := run(t, w, tide(24*time.Hour), &HPA{Bounds: Bounds{1, 50}, Target: 0.6}); again != first {
		t.Errorf("%+v, then %+v", first, again)
	}
	w.Seed = 2
	if other := run(t, w, tide(24*time.Hour), &HPA{Bounds: Bounds{1, 50}, Target: 0.6}); other == first {
		t.Error("another seed gives the same")
	}
}

// random is a world, a trace and a Decider of no sense.
func random(r *rand.Rand) (World, Trace, Decider) {
	w := world()
	w.Startup = func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(300)) * time.Second }
	w.Drain, w.GPUs, w.Provisioning = time.Duration(r.IntN(60))*time.Second, float64(r.IntN(12)), time.Duration(r.IntN(600))*time.Second
	w.Unneeded, w.Lag, w.Noise, w.Seed = time.Duration(r.IntN(300))*time.Second, time.Duration(r.IntN(60))*time.Second, r.Float64(), r.Uint64()
	trace := Trace{Start: start}
	for range 400 {
		trace.Offered = append(trace.Offered, 10*r.Float64()*r.Float64())
	}
	seed := r.Uint64()
	decisions := rand.New(rand.NewPCG(seed, 0))
	return w, trace, deciding(func(View) int32 { return decisions.Int32N(12) })
}

// Work is neither made nor lost: what was offered is served, or waits. Nor are pods: those there are, are those that were decided.
func TestNoWorkAndNoPodIsLost(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		w, trace, d := random(r)
		offered := 0.0
		for _, v := range trace.Offered {
			offered += v * step.Hours()
		}
		result, err := Run(w, trace, d, func(v View) {
			if v.Ready+v.Starting != v.Replicas || v.Pending > v.Starting || v.Settled > v.Ready || min(v.Ready, v.Settled, v.Starting, v.Pending) < 0 {
				t.Fatalf("%+v", v)
			}
			if v.Utilization < 0 || v.Utilization > 1 || v.Busy < 0 || v.Waiting < 0 {
				t.Fatalf("%+v", v)
			}
		})
		if err != nil || math.Abs(result.Offered-offered) > 1e-9*offered || math.Abs(offered-result.Served-result.Waiting) > 1e-9*offered {
			t.Fatalf("%g offered, %v, %+v", offered, err, result)
		}
		if w.GPUs >= float64(w.Replicas) && w.Provisioning == 0 && result.GPUHours > w.GPUs*400*step.Hours()+1e-9 {
			t.Fatalf("%g GPU hours of %g GPUs", result.GPUHours, w.GPUs)
		}
	}
}

func TestMoreReplicasNeverLeaveMoreWaiting(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 100 {
		w, trace, _ := random(r)
		last := run(t, w, trace, Fixed(1))
		for replicas := int32(2); replicas < 12; replicas++ {
			now := run(t, w, trace, Fixed(replicas))
			if now.Short > last.Short || now.Wait > last.Wait || now.LongestWait > last.LongestWait+1 {
				t.Fatalf("%d replicas: %+v, one fewer: %+v", replicas, now, last)
			}
			last = now
		}
	}
}

type deciding func(View) int32

func (d deciding) Decide(v View) int32 { return d(v) }

func TestAWrongWorldIsAnError(t *testing.T) {
	for want, change := range map[string]func(*World){
		"whole number of steps": func(w *World) { w.Sync = 20 * time.Second },
		"none may be negative":  func(w *World) { w.Lag = -1 },
		"noise is NaN":          func(w *World) { w.Noise = math.NaN() },
		"in the order of time":  func(w *World) { w.Rollouts = []time.Time{start.Add(1), start} },
		"a pod has 0 GPUs":      func(w *World) { w.GPUsPerPod = 0 },
		"there are 0 replicas":  func(w *World) { w.Replicas = 0 },
	} {
		w := world()
		change(&w)
		if _, err := Run(w, tide(time.Hour), Fixed(1), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := Run(world(), Trace{}, Fixed(1), nil); err == nil {
		t.Error("an empty trace is played")
	}
	for _, v := range []float64{-1, 2e9, math.Inf(1)} {
		if _, err := Run(world(), Trace{Start: start, Offered: []float64{1, v}}, Fixed(1), nil); err == nil || !strings.Contains(err.Error(), "step 1") {
			t.Errorf("a trace that offers %g: %v", v, err)
		}
	}
}

// BenchmarkSteps is four weeks of 15 s, with a decision in each step.
func BenchmarkSteps(b *testing.B) {
	trace := tide(28 * 24 * time.Hour)
	for b.Loop() {
		if _, err := Run(world(), trace, &HPA{Bounds: Bounds{1, 50}, Target: 0.6}, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(trace.Offered))/b.Elapsed().Seconds(), "steps/s")
}
