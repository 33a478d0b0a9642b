package engine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// loadsAt is a view as it was read so many seconds after the start.
func loadsAt(t *testing.T, w *world, seconds float64, namespaces ...string) *Loads {
	t.Helper()
	o := LoadsOptions{Interval: time.Second, Window: 10 * time.Second, StaleAfter: 30 * time.Second, Now: func() time.Time { return at(seconds) }}
	if namespaces != nil {
		o.Namespaces = func() []string { return namespaces }
	}
	l, err := NewLoads(w.client(t), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

func expectLoad(t *testing.T, l *Loads, since, now float64, want Load) {
	t.Helper()
	got, ok := l.Load("default", "p", "a", at(since), at(now))
	if !ok || got.GPUs != want.GPUs || got.Settled != want.Settled || math.Abs(got.BusyGPUs-want.BusyGPUs) > 1e-9 {
		t.Errorf("p since %v at %v: %+v, %v; want %+v", since, now, got, ok, want)
	}
}

func expectUnknown(t *testing.T, l *Loads, pod string, now float64) {
	t.Helper()
	if got, ok := l.Load("default", pod, "a", time.Time{}, at(now)); ok {
		t.Errorf("%s at %v: %+v; want unknown", pod, now, got)
	}
}

// busy writes the utilization of a device by pod p, held says that it holds it.
func busy(t *testing.T, w *world, container, uuid string, pairs ...float64) {
	t.Helper()
	w.add(t, fmt.Sprintf(`foretide_pod_utilization_ratio{node="a",namespace="default",pod="p",container=%q,uuid=%q}`, container, uuid), pairs...)
	for i := 0; i < len(pairs); i += 2 {
		held(t, w, container, uuid, pairs[i])
	}
}

func held(t *testing.T, w *world, container, uuid string, seconds float64) {
	t.Helper()
	w.add(t, fmt.Sprintf(`foretide_pod_memory_bytes{node="a",namespace="default",pod="p",container=%q,uuid=%q}`, container, uuid), seconds, 80)
}

// every gives a value at each second of (from, to].
func every(from, to int, value float64) []float64 {
	var out []float64
	for i := from + 1; i <= to; i++ {
		out = append(out, float64(i), value)
	}
	return out
}

func TestLoadIsTheSumOverDevicesOfTheWindowsMean(t *testing.T) {
	w := newWorld(t)
	busy(t, w, "main", "GPU-0", append(every(0, 10, 0), every(10, 20, 0.8)...)...)
	busy(t, w, "main", "GPU-1", every(0, 20, 0.5)...)
	l := loadsAt(t, w, 20)
	expectLoad(t, l, 0, 20, Load{2, 1.3, true})
	if got := l.Pods(at(20)); len(got) != 1 || got[0] != (Pod{"default", "p", "a", 2}) {
		t.Errorf("pods %v, want p on a with two devices", got)
	}
	w.add(t, `foretide_pod_utilization_ratio{node="b",namespace="default",pod="p",uuid="GPU-9"}`, 20, 1)
	expectLoad(t, loadsAt(t, w, 20), 0, 20, Load{2, 1.3, true}) // another node's word does not count
}

func TestPodsOfASilentNodeStayAndThoseItsNodeNoLongerReportsGo(t *testing.T) {
	w := newWorld(t)
	w.add(t, `foretide_pod_utilization_ratio{node="a",namespace="default",pod="p",uuid="GPU-0"}`, every(0, 20, 0.5)...)
	w.add(t, `foretide_pod_utilization_ratio{node="b",namespace="default",pod="q",uuid="GPU-1"}`, every(0, 20, 0.5)...)
	w.add(t, `foretide_pod_utilization_ratio{node="b",namespace="default",pod="r",uuid="GPU-2"}`, every(0, 200, 0.5)...)
	now := 20.0
	l := loadsAt(t, w, now)
	l.o.Now = func() time.Time { return at(now) }
	for ; now < 200; now += 10 {
		if err := l.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	names := func(since float64) (out []string) {
		for _, p := range l.Pods(at(since)) {
			out = append(out, p.Name)
		}
		slices.Sort(out)
		return out
	}
	if got := names(10); !slices.Equal(got, []string{"p", "r"}) {
		t.Errorf("pods %v: want p, of whose node nothing was heard, and r, which its node reports", got)
	}
	if got := names(30); !slices.Equal(got, []string{"r"}) {
		t.Errorf("pods %v of nodes heard of lately: want r", got)
	}
	if _, ok := l.Load("default", "p", "a", at(0), at(now)); ok {
		t.Error("the load of a pod that nothing is heard of is known")
	}
	now = 20 + keepPod.Seconds() + 10
	if err := l.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := names(0); slices.Contains(got, "p") {
		t.Errorf("pods %v: p is kept for ever", got)
	}
}

func TestNothingFromBeforeSinceIsCountedOnceThereIsSomethingAfterIt(t *testing.T) {
	w := newWorld(t)
	busy(t, w, "main", "GPU-0", append(every(0, 15, 1), every(15, 20, 0.5)...)...)
	l := loadsAt(t, w, 20)
	expectLoad(t, l, 15, 20, Load{1, 0.5, true})
	expectLoad(t, l, 20, 20, Load{1, 0.75, false}) // nothing yet: the plain window
}

func TestAWindowThatLiesPartlyInTheAverageCountsForThatPart(t *testing.T) {
	w := newWorld(t)
	busy(t, w, "main", "GPU-0", 15, 0.2, 30, 1, 34, 0) // batches of 15 s, then one of 4 s
	expectLoad(t, loadsAt(t, w, 34), 0, 34, Load{1, 0.6, true})
}

func TestASampleAfterAGapDoesNotSpeakForTheGap(t *testing.T) {
	w := newWorld(t)
	busy(t, w, "main", "GPU-0", append(every(0, 10, 1), 50, 0)...)
	l := loadsAt(t, w, 50)
	l.o.Window = time.Minute
	expectLoad(t, l, 0, 50, Load{1, 10.0 / 25, true}) // 10 s at 1 and, a batch being 15 s at most, 15 s at 0
}

func TestUtilizationThatStoppedComingIsUnknownHoweverLongTheAverage(t *testing.T) {
	w := newWorld(t)
	busy(t, w, "main", "GPU-0", every(0, 10, 1)...)
	for i := range 60 {
		held(t, w, "main", "GPU-0", float64(i+11))
	}
	l := loadsAt(t, w, 41)
	l.o.Window = time.Minute
	expectUnknown(t, l, "p", 41)
}

func TestContainersOfADeviceAddUpEvenWhileOneIsBehind(t *testing.T) {
	w := newWorld(t)
	busy(t, w, "main", "GPU-0", every(0, 20, 0.5)...)
	busy(t, w, "side", "GPU-0", every(0, 17, 0.25)...) // its newest samples are on their way
	expectLoad(t, loadsAt(t, w, 20), 0, 20, Load{1, 0.75, true})
}

func TestADeviceOnItsWayStillCounts(t *testing.T) {
	w := newWorld(t)
	busy(t, w, "main", "GPU-0", every(0, 20, 1)...)
	busy(t, w, "main", "GPU-1", every(0, 18, 1)...)
	expectLoad(t, loadsAt(t, w, 20), 0, 20, Load{2, 2, true})
}

func TestAPodIsUnknownWhenADeviceItHoldsIs(t *testing.T) {
	w := newWorld(t)
	busy(t, w, "main", "GPU-0", every(0, 20, 1)...)
	for i := range 20 { // shared, and the driver does not say who used it
		held(t, w, "main", "GPU-1", float64(i+1))
	}
	expectUnknown(t, loadsAt(t, w, 20), "p", 20)
}

func TestOldSamplesAreUnknownNotIdle(t *testing.T) {
	w := newWorld(t)
	busy(t, w, "main", "GPU-0", every(0, 20, 1)...)
	l := loadsAt(t, w, 20)
	expectLoad(t, l, 0, 50, Load{1, 1, true})
	expectUnknown(t, l, "p", 50.001)
	expectUnknown(t, l, "q", 20)
	expectUnknown(t, loadsAt(t, w, 60), "p", 60)
	if got := l.Trouble("a", at(20)); got != "" {
		t.Errorf("trouble with a fresh node: %s", got)
	}
	if got := l.Trouble("a", at(51)); got != "the newest the engine has of its pods is of 09:00:20 UTC" {
		t.Errorf("trouble with a stale node: %s", got)
	}
	if got := l.Trouble("z", at(20)); !strings.Contains(got, "nothing of its pods that is younger than 30s") {
		t.Errorf("trouble with an unheard-of node: %s", got)
	}
}

func TestReplicasOfASampleCountOnce(t *testing.T) {
	w := newWorld(t)
	for _, aggregator := range []string{"one", "two"} {
		w.add(t, `foretide_pod_utilization_ratio{aggregator="`+aggregator+`",node="a",namespace="default",pod="p",container="main",uuid="GPU-0"}`,
			every(0, 20, 0.5)...)
	}
	expectLoad(t, loadsAt(t, w, 20), 0, 20, Load{1, 0.5, true})
}

func TestOnlyTheNamespacesAskedForAreRead(t *testing.T) {
	w := newWorld(t)
	for _, namespace := range []string{"a.b", "aXb", "c"} {
		w.add(t, `foretide_pod_utilization_ratio{node="a",namespace="`+namespace+`",pod="p",uuid="GPU-0"}`, every(0, 20, 1)...)
	}
	l := loadsAt(t, w, 20, "c", "a.b", "c")
	for namespace, want := range map[string]bool{"a.b": true, "c": true, "aXb": false} {
		if _, ok := l.Load(namespace, "p", "a", time.Time{}, at(20)); ok != want {
			t.Errorf("load in %s: %v, want %v", namespace, ok, want)
		}
	}
	if l := loadsAt(t, w, 20); len(l.pods) != 3 {
		t.Errorf("no list of namespaces reads %d pods, want all 3", len(l.pods))
	}
	none := &Loads{o: LoadsOptions{Namespaces: func() []string { return nil }}}
	if got := none.selector(); !strings.Contains(got, `namespace=~""`) {
		t.Errorf("an empty list of namespaces reads %s, want nothing", got)
	}
}

func TestALostEngineIsToldOnceAndTheViewGrowsStale(t *testing.T) {
	w := newWorld(t)
	busy(t, w, "main", "GPU-0", every(0, 20, 1)...)
	var log bytes.Buffer
	l := loadsAt(t, w, 20)
	l.o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	ctx, stop := context.WithCancel(t.Context())
	l.o.Interval = time.Millisecond
	asked := 0
	w.before = func(rw http.ResponseWriter, _ *http.Request) bool {
		if asked++; asked == 5 {
			expectLoad(t, l, 0, 20, Load{1, 1, true})
			if got := l.Trouble("a", at(20)); !strings.Contains(got, "the engine cannot be read: server_error: server error: 503") {
				t.Errorf("trouble: %s", got)
			}
		}
		if asked == 8 {
			stop()
		}
		if asked < 6 {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
		return asked < 6
	}
	l.Run(ctx)
	if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "cannot read") || !strings.Contains(log.String(), "again") {
		t.Errorf("log:\n%s", log.String())
	}
}
