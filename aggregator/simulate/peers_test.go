package simulate

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// options are those of a workload whose busy GPUs of the minutes before are given, for a trace from start on.
func options(before []float64, trace Trace) PeerOptions {
	return PeerOptions{Bounds: Bounds{1, 100}, Target: 0.5, GPUsPerPod: 1, Trace: trace, Before: before, Step: step, Sync: step, Ahead: 3*time.Minute + step}
}

// busyMinutes is a load by the minute of so many days that end at start.
func busyMinutes(days int, load func(time.Time) float64) (out []float64) {
	for i := range days * dayMinutes {
		out = append(out, load(start.Add(time.Duration(i-days*dayMinutes)*time.Minute)))
	}
	return out
}

// daily is two busy GPUs at midnight and eight at noon.
func daily(t time.Time) float64 {
	return 5 - 3*math.Cos(2*math.Pi*t.Sub(start).Hours()/24)
}

func peer(t *testing.T, name string, o PeerOptions) Decider {
	t.Helper()
	d, err := Peer(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// steady is a workload of so many pods, all ready, that keep so many GPUs of one each busy.
func steady(at time.Duration, pods int32, busy float64) View {
	return View{Now: start.Add(at), Replicas: pods, Ready: pods, Settled: pods, Utilization: busy / float64(pods), Busy: busy}
}

// decide shows a step and asks.
func decide(d Decider, v View) int32 {
	if w, ok := d.(Watcher); ok {
		w.Watch(v)
	}
	return d.Decide(v)
}

func TestAnUnknownPolicyIsToldWhichThereAre(t *testing.T) {
	_, err := Peer("keda", options(nil, tide(time.Hour)))
	if err == nil || !strings.Contains(err.Error(), `"keda"`) || !strings.Contains(err.Error(), strings.Join(PeerNames, ", ")) {
		t.Error(err)
	}
}

func TestAPeersOptionOutOfRangeIsAnError(t *testing.T) {
	for want, change := range map[string]func(*PeerOptions){
		"from 5 to 4":  func(o *PeerOptions) { o.Bounds = Bounds{5, 4} },
		"target is 1.": func(o *PeerOptions) { o.Target = 1.5 },
		"0 GPUs":       func(o *PeerOptions) { o.GPUsPerPod = 0 },
		"sync 0s":      func(o *PeerOptions) { o.Sync = 0 },
		"ahead is -1s": func(o *PeerOptions) { o.Ahead = -time.Second },
	} {
		for _, name := range PeerNames {
			o := options([]float64{1}, tide(time.Hour))
			change(&o)
			if _, err := Peer(name, o); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
	for _, name := range []string{"fixed", "cron"} {
		if _, err := Peer(name, options([]float64{math.NaN()}, tide(time.Hour))); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s without anything seen before: %v", name, err)
		}
	}
}

func TestEveryPeerStaysWithinItsBoundsAndGivesTheSameAgain(t *testing.T) {
	trace, before := tide(24*time.Hour), busyMinutes(8, daily)
	for _, name := range PeerNames {
		o := options(before, trace)
		o.Bounds = Bounds{3, 12}
		w := world()
		w.Replicas = 6
		var replicas []int32
		first, err := Run(w, trace, peer(t, name, o), func(v View) { replicas = append(replicas, v.Replicas) })
		if err != nil || slices.Min(replicas) < 3 || slices.Max(replicas) > 12 {
			t.Errorf("%s: from %d to %d replicas, %v", name, slices.Min(replicas), slices.Max(replicas), err)
		}
		if again := run(t, w, trace, peer(t, name, o)); again != first {
			t.Errorf("%s: %+v, then %+v", name, first, again)
		}
	}
}

func TestNoPeerMovesWhileNothingIsKnown(t *testing.T) {
	for _, name := range []string{"hpa", "kpa", "ahpa-like", "crane-like"} {
		v := steady(0, 7, math.NaN())
		v.Waiting = math.NaN()
		if got := decide(peer(t, name, options(nil, tide(time.Hour))), v); got != 7 {
			t.Errorf("%s wants %d instead of 7", name, got)
		}
	}
}

func TestFixedIsEnoughForThePeakThatWasSeen(t *testing.T) {
	o := options([]float64{1, math.NaN(), 3.2, 2}, tide(time.Hour))
	if got := peer(t, "fixed", o).Decide(View{}); got != 7 { // 3.2 busy GPUs at a half each
		t.Errorf("%d", got)
	}
	o.GPUsPerPod = 2
	if got := peer(t, "fixed", o).Decide(View{}); got != 4 {
		t.Errorf("%d of two GPUs each", got)
	}
}

func TestAScheduleKnowsTheHourAndTheWeekdayAndIsInTime(t *testing.T) {
	// Work from nine to five on weekdays; start is a Monday.
	office := func(t time.Time) float64 {
		if t.Weekday() != time.Saturday && t.Weekday() != time.Sunday && t.Hour() >= 9 && t.Hour() < 17 {
			return 4
		}
		return 1
	}
	cron := peer(t, "cron", options(busyMinutes(7, office), tide(time.Hour)))
	for at, want := range map[time.Duration]int32{
		8 * time.Hour: 2, 8*time.Hour + 56*time.Minute: 2, 8*time.Hour + 57*time.Minute: 8, 12 * time.Hour: 8, 16*time.Hour + 58*time.Minute: 8, 17 * time.Hour: 2, (5*24 + 12) * time.Hour: 2,
	} {
		if got := cron.Decide(View{Now: start.Add(at)}); got != want {
			t.Errorf("after %v the schedule has %d, want %d", at, got, want)
		}
	}
	// Of less than a week it knows the hours only; of an hour it knows nothing about it expects the most.
	cron = peer(t, "cron", options(busyMinutes(1, office)[:23*60], tide(time.Hour))) // Sunday from one o'clock on
	if got := cron.Decide(View{Now: start.Add(12 * time.Hour)}); got != 2 {
		t.Errorf("a schedule of a Sunday has %d on Monday noon", got)
	}
	before := busyMinutes(2, office)
	for i := range 60 {
		before[i+3*60], before[i+27*60] = math.NaN(), math.NaN()
	}
	before[20*60] = 3
	cron = peer(t, "cron", options(before, tide(time.Hour)))
	if got := cron.Decide(View{Now: start.Add(3 * time.Hour)}); got != 6 {
		t.Errorf("of an unknown hour the schedule has %d", got)
	}
}

func TestTheOracleHasWhatWillBeNeeded(t *testing.T) {
	trace := flat(1, 10*time.Minute, 4, 10*time.Minute)
	oracle := peer(t, "oracle", options(nil, trace))
	for at, want := range map[time.Duration]int32{0: 2, 6*time.Minute + 45*time.Second: 2, 7 * time.Minute: 8, 19 * time.Minute: 8} {
		if got := oracle.Decide(View{Now: start.Add(at)}); got != want {
			t.Errorf("after %v it wants %d, not %d", at, got, want)
		}
	}
	w := world()
	if r := run(t, w, trace, oracle); r.Short != 0 {
		t.Errorf("%+v", r)
	}
	o := options(nil, trace) // a startup that is no whole number of steps
	o.Target, w.Startup, o.Ahead = 1, Always(50*time.Second), 50*time.Second+step
	if r := run(t, w, trace, peer(t, "oracle", o)); r.Short != 0 || r.GPUHours > (2*9+4*11)/60.0 {
		t.Errorf("%+v", r)
	}
}
