package workload

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// tape is a Recorder whose workloads and loads the test sets, and what it wrote. Without a load nobody lists a pod.
type tape struct {
	*Recorder
	unknown bool
	pods    []Pod
	loads   map[string]Load
	written []string
	fail    error // of the store
	log     strings.Builder
}

var bert = ID{"default", "Deployment", "bert"}

func newTape(t *testing.T, pods ...Pod) *tape {
	t.Helper()
	tp := &tape{pods: pods, loads: map[string]Load{}}
	r, err := NewRecorder(RecorderOptions{
		Workloads: func() []Workload {
			switch {
			case tp.unknown:
				return nil
			case len(tp.pods) == 0:
				return []Workload{}
			}
			return []Workload{{ID: bert, Pods: tp.pods}}
		},
		Load: func(namespace, pod, _ string, _, _ time.Time) Load {
			if load, ok := tp.loads[namespace+"/"+pod]; ok {
				return load
			}
			return Load{Reports: ReportsComplete}
		},
		Append: func(_ context.Context, id ID, at time.Time, busy, pods float64) error {
			if tp.fail == nil {
				tp.written = append(tp.written, fmt.Sprintf("%s %s %.2f %.2f", id.Name, at.Format("15:04:05"), busy, pods))
			}
			return tp.fail
		},
		Logger:     slog.New(slog.NewTextHandler(&tp.log, nil)),
		Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	tp.Recorder = r
	return tp
}

// play lets the clock go on, second by second and a few milliseconds late as a ticker is, so that the slices that end at the given
// seconds after noon and all between are looked at.
func (tp *tape) play(from, to int) {
	for s := from - 7; s <= to+2; s++ {
		tp.Record(context.Background(), noon.Add(time.Duration(s)*time.Second+3*time.Millisecond))
	}
}

func (tp *tape) expect(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(tp.written, "\n")); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	tp.written = nil
}

func (tp *tape) expectCounts(t *testing.T, written, unknown, failed float64) {
	t.Helper()
	for result, want := range map[string]float64{"written": written, "unknown": unknown, "failed": failed} {
		if got := testutil.ToFloat64(tp.results.WithLabelValues(result)); got != want {
			t.Errorf("%v minutes are %s, want %v", got, result, want)
		}
	}
}

// doing is the load of one device over the whole of a slice.
func doing(busy float64) Load {
	return Load{Reports: ReportsComplete, Known: true, GPUs: 1, BusyGPUs: busy, Held: slice}
}

func ready(name string) Pod { return Pod{Name: name, State: Ready, GPUs: 1} }

func TestAMinuteIsTheMeanOfItsSixSlicesAndStampedAtItsEnd(t *testing.T) {
	tp := newTape(t, ready("a"), ready("b"))
	tp.loads["default/a"] = doing(0.9)
	tp.loads["default/b"] = doing(0.3)
	tp.play(10, 30)
	tp.loads["default/b"] = doing(0.9)
	tp.play(40, 50)
	tp.expect(t)
	tp.play(60, 60)
	tp.expect(t, "bert 12:01:00 1.50 2.00")
	tp.play(70, 120)
	tp.expect(t, "bert 12:02:00 1.80 2.00")
}

func TestIdleIsWrittenAsZero(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = doing(0)
	tp.play(10, 60)
	tp.expect(t, "bert 12:01:00 0.00 1.00")
}

func TestAMinuteMostlyUnknownIsAbsent(t *testing.T) {
	tp := newTape(t, ready("a"), ready("b"))
	tp.loads["default/a"] = doing(0.5)
	tp.play(10, 30) // nobody lists b
	tp.loads["default/b"] = doing(0.5)
	tp.play(40, 60)
	tp.expect(t)
	tp.play(70, 80)
	delete(tp.loads, "default/b")
	tp.play(90, 90) // one slice less is bearable
	tp.loads["default/b"] = doing(0.5)
	tp.play(100, 120)
	tp.expect(t, "bert 12:02:00 1.00 2.00")
}

func TestALostDeviceMakesTheDemandUnknown(t *testing.T) {
	tp := newTape(t, Pod{Name: "a", State: Ready, GPUs: 2})
	tp.loads["default/a"] = doing(1)
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
	tp.loads["default/a"] = doing(0.5)
	tp.loads["default/warming-up"] = doing(1)
	tp.loads["default/draining"] = doing(0.25)
	tp.play(10, 60)
	tp.expect(t, "bert 12:01:00 0.75 1.00")
}

func TestWithoutReadyPodsTheDemandIsUnknown(t *testing.T) {
	tp := newTape(t, Pod{Name: "a", State: Unready, GPUs: 1})
	tp.loads["default/a"] = doing(0.5)
	tp.play(10, 60)
	tp.pods = nil
	tp.play(70, 120)
	tp.expect(t)
}

func TestAMinuteThatWasSleptThroughIsNotMixedWithTheNext(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = doing(0.5)
	tp.play(10, 50) // then the machine stood still
	tp.loads["default/a"] = doing(1)
	tp.play(190, 240)
	tp.expect(t, "bert 12:04:00 1.00 1.00")
	tp.expectCounts(t, 1, 1, 0)
}

func TestDemandNowIsToldWhileTheStoreIsSlow(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = doing(0.5)
	told := 0
	tp.opts.Append = func(context.Context, ID, time.Time, float64, float64) error {
		if tp.mu.TryLock() {
			tp.mu.Unlock()
			told = len(tp.Demands(noon.Add(time.Minute)))
		}
		return nil
	}
	tp.play(10, 60)
	if told != 1 {
		t.Errorf("%d demands are told while a minute is being stored, want 1", told)
	}
}

func TestDemandNowIsForgottenWhenItIsOld(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = doing(0.5)
	tp.play(10, 10)
	at := noon.Add(10 * time.Second)
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
	end := noon.Add(time.Minute)
	load := func(_, _, _ string, from, to time.Time) Load {
		return Load{Reports: ReportsComplete, Known: true, GPUs: 1, BusyGPUs: 0.8, Held: to.Sub(from)}
	}
	for name, c := range map[string]struct {
		since       time.Duration // before the end
		busy, ready float64
		state       sliceState
	}{
		"long ready":           {time.Hour, 0.8, 1, sliceKnown},
		"for four seconds":     {4 * time.Second, 0.32, 1, sliceKnown},
		"for half a second":    {time.Second / 2, 0.04, 1, sliceKnown},
		"since the end":        {0, 0, 0, sliceUnknown},
		"only after the slice": {-time.Second, 0, 0, sliceUnknown},
	} {
		pod := ready("a")
		pod.ReadySince = end.Add(-c.since)
		got := demandOf("default", []Pod{pod}, load, end, false)
		if math.Abs(got.busyGPUs-c.busy) > 1e-9 || got.ready != c.ready || got.state != c.state {
			t.Errorf("%s: %+v; want %v busy, %v pods", name, got, c.busy, c.ready)
		}
	}
}

func TestWhatAPodThatEndedDidIsDemandForAsLongAsItWas(t *testing.T) {
	tp := newTape(t, ready("a"), ready("ends"), Pod{Name: "never-ready", State: Unready, GPUs: 1})
	tp.loads["default/a"], tp.loads["default/ends"], tp.loads["default/never-ready"] = doing(0.5), doing(0.8), doing(1)
	tp.play(10, 30)
	tp.pods = []Pod{ready("a")} // four seconds into the next slice, and the API server knows it no more
	short := doing(0.8)
	short.Held = 4 * time.Second
	tp.loads["default/ends"] = short
	tp.play(40, 60)
	tp.expect(t, fmt.Sprintf("bert 12:01:00 %.2f %.2f", (3*1.3+0.5+0.32+2*0.5)/6, 9.0/6))
}

func TestAMinuteWaitsForWhatIsUnderWay(t *testing.T) {
	tp := newTape(t, ready("a"), ready("b"))
	tp.loads["default/a"], tp.loads["default/b"] = doing(0.5), Load{Reports: ReportsMissing}
	tp.play(10, 70)
	tp.expect(t)
	if got := tp.Demands(noon.Add(70 * time.Second)); len(got) != 0 {
		t.Errorf("demand now is %v, want none", got)
	}
	tp.loads["default/b"] = doing(0.5)
	tp.play(80, 80)
	tp.expect(t, "bert 12:01:00 1.00 2.00")
}

func TestAMinuteOfWhichSomethingNeverArrivesIsAbsentAndHoldsUpNoOther(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = doing(0.5)
	tp.play(10, 20)
	tp.loads["default/a"] = Load{Reports: ReportsMissing}
	tp.play(30, 30)
	missing := tp.opts.Load
	tp.opts.Load = func(namespace, pod, node string, from, to time.Time) Load {
		if to.Equal(noon.Add(30 * time.Second)) {
			return Load{Reports: ReportsMissing}
		}
		return missing(namespace, pod, node, from, to)
	}
	tp.loads["default/a"] = doing(0.5)
	tp.play(40, 110)
	tp.expectCounts(t, 0, 0, 0)
	tp.play(120, 120)
	tp.expectCounts(t, 1, 1, 0)
	tp.expect(t, "bert 12:02:00 0.50 1.00")
	if len(tp.minutes) != 0 {
		t.Errorf("%d minutes are kept, want none", len(tp.minutes))
	}
}

func TestWhatAnEndedAgentLeftIsWaitedForAndThenDoneWithout(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = doing(0.5)
	tp.play(10, 50)
	restarted := doing(0.3)
	restarted.Reports = ReportsRestarted
	tp.loads["default/a"] = restarted
	tp.play(60, 140)
	tp.expect(t)
	tp.play(150, 150)
	tp.expect(t, "bert 12:01:00 0.47 1.00")
}

func TestAPodOnItsWayOutIsNotWaitedForOnceItsNodeIsDead(t *testing.T) {
	tp := newTape(t, ready("a"), Pod{Name: "stuck", State: Gone, GPUs: 1})
	tp.loads["default/a"], tp.loads["default/stuck"] = doing(0.5), Load{Reports: ReportsSilent}
	tp.play(10, 60)
	tp.expect(t, "bert 12:01:00 0.50 1.00")
	tp.pods[1].State = Ready // the API server has not noticed: the demand of a ready pod is not nothing
	tp.play(70, 210)
	tp.expect(t)
	tp.expectCounts(t, 1, 1, 0)
}

func TestALookThatComesTooLateDoesNotCount(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = doing(0.5)
	tp.play(10, 40)
	tp.Record(t.Context(), noon.Add(59*time.Second)) // of the slice that ended at :50: who knows which pods there were
	tp.play(60, 120)
	tp.expect(t, "bert 12:02:00 0.50 1.00")
	tp.expectCounts(t, 1, 1, 0)
}

func TestNothingIsWrittenOfAMinuteInWhichThePodsWereNotKnown(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = doing(0.5)
	tp.unknown = true
	tp.play(10, 10)
	tp.unknown = false
	tp.play(20, 120)
	tp.expect(t, "bert 12:02:00 0.50 1.00")
	tp.expectCounts(t, 1, 1, 0)
}

func TestAClockThatIsSetBackALittleIsWaitedForAndElseFollowed(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = doing(0.5)
	tp.play(10, 50)
	tp.play(30, 60)
	tp.expect(t, "bert 12:01:00 0.50 1.00")
	tp.play(70, 100)
	tp.play(-3540, -3480) // an hour back, to the last slice of the minute before 11:01
	tp.expect(t, "bert 11:02:00 0.50 1.00")
	tp.expectCounts(t, 2, 2, 0) // 12:02, which comes again, and 11:01
}

func TestStartRecordsAtFullSecondsUntilItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tp := newTape(t, ready("a"))
		tp.loads["default/a"] = doing(0.25)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- tp.Start(ctx) }()
		time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(2*time.Minute + 3*time.Second)))
		synctest.Wait()
		if len(tp.written) == 0 || !strings.HasSuffix(tp.written[0], " 0.25 1.00") {
			t.Errorf("written %v, want a minute of 0.25", tp.written)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
