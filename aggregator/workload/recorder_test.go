package workload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// tape is a Recorder whose workloads and loads the test sets, and what it wrote.
type tape struct {
	*Recorder
	pods    []Pod
	loads   map[string]Load
	written []string
	refuse  error
}

var bert = ID{"default", "Deployment", "bert"}

func newTape(t *testing.T, pods ...Pod) *tape {
	t.Helper()
	tp := &tape{pods: pods, loads: map[string]Load{}}
	r, err := NewRecorder(RecorderOptions{
		Workloads: func() []Workload {
			if len(tp.pods) == 0 {
				return nil
			}
			return []Workload{{ID: bert, Pods: tp.pods}}
		},
		Load: func(namespace, pod, _ string, since, now time.Time) (Load, bool) {
			load, ok := tp.loads[namespace+"/"+pod]
			load.Settled = now.Sub(since) > time.Second
			return load, ok
		},
		Append: func(_ context.Context, id ID, at time.Time, busy, pods float64) error {
			tp.written = append(tp.written, fmt.Sprintf("%s %s %.2f %.2f", id.Name, at.Format("15:04:05"), busy, pods))
			return tp.refuse
		},
		Logger:     slog.New(slog.DiscardHandler),
		Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	tp.Recorder = r
	return tp
}

// play samples each ten seconds from one second mark after noon to another, a few milliseconds late as a ticker is.
func (tp *tape) play(from, to int) {
	for s := from; s <= to; s += 10 {
		tp.Sample(context.Background(), noon.Add(time.Duration(s)*time.Second+3*time.Millisecond))
	}
}

func (tp *tape) expect(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(tp.written, "\n")); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	tp.written = nil
}

func ready(name string) Pod { return Pod{Name: name, State: Ready, GPUs: 1} }

func TestAMinuteIsTheMeanOfItsSixSamplesAndStampedAtItsEnd(t *testing.T) {
	tp := newTape(t, ready("a"), ready("b"))
	tp.loads["default/a"] = Load{GPUs: 1, BusyGPUs: 0.9}
	tp.loads["default/b"] = Load{GPUs: 1, BusyGPUs: 0.3}
	tp.play(10, 30)
	tp.loads["default/b"] = Load{GPUs: 1, BusyGPUs: 0.9}
	tp.play(40, 50)
	tp.expect(t)
	tp.play(60, 60)
	tp.expect(t, "bert 12:01:00 1.50 2.00")
	tp.play(70, 120)
	tp.expect(t, "bert 12:02:00 1.80 2.00")
}

func TestIdleIsWrittenAsZero(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = Load{GPUs: 1, BusyGPUs: 0}
	tp.play(10, 60)
	tp.expect(t, "bert 12:01:00 0.00 1.00")
}

func TestAMinuteMostlyUnknownIsAbsent(t *testing.T) {
	tp := newTape(t, ready("a"), ready("b"))
	tp.loads["default/a"] = Load{GPUs: 1, BusyGPUs: 0.5}
	tp.play(10, 30) // b is not heard of
	tp.loads["default/b"] = Load{GPUs: 1, BusyGPUs: 0.5}
	tp.play(40, 60)
	tp.expect(t)
	tp.play(70, 80)
	delete(tp.loads, "default/b")
	tp.play(90, 90) // one sample less is bearable
	tp.loads["default/b"] = Load{GPUs: 1, BusyGPUs: 0.5}
	tp.play(100, 120)
	tp.expect(t, "bert 12:02:00 1.00 2.00")
}

func TestALostDeviceMakesTheDemandUnknown(t *testing.T) {
	tp := newTape(t, Pod{Name: "a", State: Ready, GPUs: 2})
	tp.loads["default/a"] = Load{GPUs: 1, BusyGPUs: 1}
	tp.play(10, 60)
	tp.expect(t)
	if got := tp.Demands(noon.Add(time.Minute)); len(got) != 0 {
		t.Errorf("demand now is %v, want none", got)
	}
}

func TestStartingPodsAreNotDemandAndLeavingOnesAre(t *testing.T) {
	tp := newTape(t, ready("a"),
		Pod{Name: "warming-up", State: Unready, GPUs: 1},
		Pod{Name: "draining", State: Gone, GPUs: 1},
		Pod{Name: "finished", State: Gone, GPUs: 1})
	tp.loads["default/a"] = Load{GPUs: 1, BusyGPUs: 0.5}
	tp.loads["default/warming-up"] = Load{GPUs: 1, BusyGPUs: 1}
	tp.loads["default/draining"] = Load{GPUs: 1, BusyGPUs: 0.25}
	tp.play(10, 60)
	tp.expect(t, "bert 12:01:00 0.75 1.00")
}

func TestWithoutReadyPodsTheDemandIsUnknown(t *testing.T) {
	tp := newTape(t, Pod{Name: "a", State: Unready, GPUs: 1})
	tp.loads["default/a"] = Load{GPUs: 1, BusyGPUs: 0.5}
	tp.play(10, 60)
	tp.pods = nil
	tp.play(70, 120)
	tp.expect(t)
}

func TestAMinuteThatWasSleptThroughIsNotMixedWithTheNext(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = Load{GPUs: 1, BusyGPUs: 0.5}
	tp.play(10, 50) // then the machine stood still
	tp.loads["default/a"] = Load{GPUs: 1, BusyGPUs: 1}
	tp.play(190, 240)
	tp.expect(t, "bert 12:01:00 0.50 1.00", "bert 12:04:00 1.00 1.00")
}

func TestARefusedMinuteIsCountedAndTheNextIsTried(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = Load{GPUs: 1, BusyGPUs: 0.5}
	tp.refuse = errors.New("disk full")
	tp.play(10, 60)
	tp.refuse = nil
	tp.play(70, 120)
	tp.expect(t, "bert 12:01:00 0.50 1.00", "bert 12:02:00 0.50 1.00")
}

func TestDemandNowIsForgottenWhenItIsOld(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = Load{GPUs: 1, BusyGPUs: 0.5}
	tp.play(10, 10)
	at := noon.Add(10*time.Second + 3*time.Millisecond)
	want := []Demand{{ID: bert, BusyGPUs: 0.5, Pods: 1, At: at}}
	if diff := cmp.Diff(want, tp.Demands(at.Add(freshDemand))); diff != "" {
		t.Errorf("demand now (-want +got):\n%s", diff)
	}
	if got := tp.Demands(at.Add(freshDemand + 1)); len(got) != 0 {
		t.Errorf("demand now is %v, want none", got)
	}
	delete(tp.loads, "default/a")
	tp.play(20, 60)
	if len(tp.latest) != 0 {
		t.Errorf("%d are remembered, want none", len(tp.latest))
	}
}

func TestOfAPodThatHasJustBecomeReadyOnlyThePartSinceThenCounts(t *testing.T) {
	now := noon.Add(time.Minute)
	since := func(name string, d time.Duration) Pod {
		pod := ready(name)
		pod.ReadySince = now.Add(-d)
		return pod
	}
	load := func(_, _, _ string, since, now time.Time) (Load, bool) {
		return Load{GPUs: 1, BusyGPUs: 0.8, Settled: now.Sub(since) > time.Second}, true
	}
	for name, c := range map[string]struct {
		pod  Pod
		busy float64
	}{
		"long ready":        {since("a", time.Hour), 0.8},
		"for four seconds":  {since("a", 4*time.Second), 0.32},
		"for half a second": {since("a", time.Second/2), 0},
	} {
		busy, pods, complete := demandOf(Workload{ID: bert, Pods: []Pod{c.pod}}, load, now)
		if math.Abs(busy-c.busy) > 1e-9 || pods != 1 || !complete {
			t.Errorf("%s: %v busy, %v pods, %v; want %v", name, busy, pods, complete, c.busy)
		}
	}
}

func TestALongReadyPodOfWhichNothingIsReadSinceIsUnknownAndNotIdle(t *testing.T) {
	pod := ready("a")
	pod.ReadySince = noon.Add(-20 * time.Second) // its node's clock is half a minute behind
	load := func(_, _, _ string, _, _ time.Time) (Load, bool) { return Load{GPUs: 1, BusyGPUs: 0.8}, true }
	if busy, _, complete := demandOf(Workload{ID: bert, Pods: []Pod{pod}}, load, noon); complete {
		t.Errorf("taken for a complete sample of %v busy GPUs", busy)
	}
}
