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
	if r.Short < 19*time.Minute || r.Short > 20*time.Minute || r.LongestWait != 5*time.Minute {
		t.Errorf("short for %v, at most %v of waiting, want 20m and 5m", r.Short, r.LongestWait)
	}
	// Little's law: 600 GPU seconds at most, over 20 minutes in the form of a triangle, by 5,400 GPU seconds of work.
	if want := 600 * 1200 / 2.0 / 5400; math.Abs(r.Wait.Seconds()-want) > 2 {
		t.Errorf("work waits %v on average, want %.0f s", r.Wait, want)
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

func TestADeciderSeesWhatWas(t *testing.T) {
	var seen []float64
	_, err := Run(world(), flat(1, time.Minute, 2, time.Minute), Fixed(2), func(v View) { seen = append(seen, v.Utilization) })
	if err != nil {
		t.Fatal(err)
	}
	if !math.IsNaN(seen[1]) || seen[2] != 0.5 || seen[5] != 0.5 || seen[6] != 1 { // the load doubles with the fifth step, two steps late
		t.Errorf("seen %v", seen)
	}
}

func TestNothingIsSeenDuringAnOutage(t *testing.T) {
	w := world()
	w.Lag = 0
	w.Outages = []Span{{start.Add(time.Minute), start.Add(2 * time.Minute)}}
	unknown := 0
	_, err := Run(w, flat(1, 5*time.Minute, 0, 0), Fixed(2), func(v View) {
		if math.IsNaN(v.Busy) {
			unknown++
		}
	})
	if err != nil || unknown != 4 {
		t.Errorf("%d steps unknown, %v", unknown, err)
	}
}

func TestPodsWaitForGPUsUntilSomeoneBringsThem(t *testing.T) {
	w := world()
	w.GPUs = 3
	if r := run(t, w, flat(4, time.Hour, 4, 0), Fixed(5)); r.LongestWait == 0 || math.Abs(r.GPUHours-3) > 0.01 {
		t.Errorf("nobody brings any: %+v", r)
	}
	w.Provisioning = 5 * time.Minute
	ready := int32(0)
	if _, err := Run(w, flat(4, time.Hour, 4, 0), Fixed(5), func(v View) {
		if v.Now.Sub(start) == 5*time.Minute {
			ready = v.Ready
		}
		if v.Now.Sub(start) == 9*time.Minute && v.Ready != 5 {
			t.Errorf("%d ready, want 5 of which two came with the nodes", v.Ready)
		}
	}); err != nil || ready != 3 {
		t.Errorf("%d ready before, %v", ready, err)
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

// Work is neither made nor lost: what was offered is served, or waits.
func TestNoWorkIsLost(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		w := world()
		w.Startup = func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(300)) * time.Second }
		w.Drain, w.GPUs, w.Provisioning = time.Duration(r.IntN(60))*time.Second, float64(r.IntN(12)), time.Duration(r.IntN(600))*time.Second
		w.Lag, w.Seed = 0, r.Uint64()
		trace := Trace{Start: start}
		offered, served, waiting := 0.0, 0.0, 0.0
		for range 400 {
			v := 10 * r.Float64() * r.Float64()
			trace.Offered = append(trace.Offered, v)
			offered += v * step.Seconds()
		}
		_, err := Run(w, trace, deciding(func(View) int32 { return 1 + r.Int32N(12) }), func(v View) {
			served, waiting = served+v.Busy*step.Seconds(), v.Waiting
			if v.Ready < 0 || v.Starting < 0 || v.Utilization > 1+1e-9 {
				t.Fatalf("%+v", v)
			}
		})
		if err != nil || math.Abs(offered-served-waiting) > 1e-6*offered {
			t.Fatalf("%g offered, %g served, %g wait, %v", offered, served, waiting, err)
		}
	}
}

type deciding func(View) int32

func (d deciding) Decide(v View) int32 { return d(v) }

func TestAWrongWorldIsAnError(t *testing.T) {
	for want, change := range map[string]func(*World){
		"whole number of steps": func(w *World) { w.Sync = 20 * time.Second },
		"none may be negative":  func(w *World) { w.Lag = -1 },
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
}

func BenchmarkHPA(b *testing.B) {
	trace := tide(28 * 24 * time.Hour)
	for b.Loop() {
		if _, err := Run(world(), trace, &HPA{Bounds: Bounds{1, 50}, Target: 0.6}, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(trace.Offered))/b.Elapsed().Seconds(), "steps/s")
}
