package live

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foretide/foretide/pkg/telemetry"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func view(t *testing.T) *View {
	t.Helper()
	v, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// at is so many seconds after the start.
func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// batch is one second of a node that ends at the given time, with owners known; its sequence grows with that.
func batch(node string, end time.Time, usages ...telemetry.Usage) telemetry.Batch {
	sequence := uint64(end.Sub(start)/time.Millisecond) + 1
	return telemetry.Batch{Node: node, Session: "s", Sequence: sequence, Start: end.Add(-time.Second), End: end, OwnersKnown: true,
		Usages: usages}
}

func usage(pod, container, uuid string, utilization float64) telemetry.Usage {
	return telemetry.Usage{
		Owner: telemetry.Owner{Namespace: "default", Pod: pod, Container: container}, DeviceUUID: uuid,
		Attribution: telemetry.AttributionExclusive,
		Values: telemetry.Values{
			telemetry.UtilizationMean: utilization, telemetry.MemoryUsed: 10, telemetry.MemoryTotal: 80,
		},
	}
}

// put frames a batch on its own, so that no two share a layout.
func put(v *View, b telemetry.Batch, now time.Time) {
	var framer telemetry.Framer
	v.Put(framer.Frame(b), now)
}

func expectBusy(t *testing.T, v *View, pod string, now time.Time, want float64) {
	t.Helper()
	got, ok := v.Pod("default", pod, now)
	if !ok {
		t.Errorf("%s at %v: absent, want %v busy", pod, now.Sub(start), want)
	} else if math.Abs(got.BusyGPUs-want) > 1e-9 {
		t.Errorf("%s at %v: %v busy, want %v", pod, now.Sub(start), got.BusyGPUs, want)
	}
}

func expectAbsent(t *testing.T, v *View, pod string, now time.Time) {
	t.Helper()
	if got, ok := v.Pod("default", pod, now); ok {
		t.Errorf("%s at %v: %+v, want absent", pod, now.Sub(start), got)
	}
}

func TestBusyGPUsIsTheSumOverDevicesOfTheWindowsMean(t *testing.T) {
	v := view(t)
	for i := 1; i <= 20; i++ { // GPU-0 is idle for 10 s, then 80 % busy; GPU-1 is always half busy
		u := 0.0
		if i > 10 {
			u = 0.8
		}
		put(v, batch("a", at(float64(i)), usage("p", "main", "GPU-0", u), usage("p", "main", "GPU-1", 0.5)), at(float64(i)))
		switch i {
		case 1, 10:
			expectBusy(t, v, "p", at(float64(i)), 0.5)
		case 15: // half of the last 10 s at 0.8
			expectBusy(t, v, "p", at(15), 0.9)
		case 20:
			expectBusy(t, v, "p", at(20), 1.3)
		}
	}
	got, _ := v.Pod("default", "p", at(20))
	want := PodLoad{GPUs: 2, BusyGPUs: 1.3, MemoryUsedBytes: 20, MemoryTotalBytes: 160, At: at(20)}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Errorf("load (-want +got):\n%s", diff)
	}
	whole, _, ok := v.PodSince("default", "p", "a", 20*time.Second, time.Time{}, at(20))
	if !ok || math.Abs(whole.BusyGPUs-0.9) > 1e-9 {
		t.Errorf("over 20 s: %v, %v; want 0.9", whole.BusyGPUs, ok)
	}
}

func TestAPointPartlyInTheWindowCountsForThatPart(t *testing.T) {
	v := view(t)
	long := batch("a", at(15), usage("p", "main", "GPU-0", 1))
	long.Start = at(0)
	put(v, long, at(15))
	expectBusy(t, v, "p", at(15), 1)
	put(v, batch("a", at(21), usage("p", "main", "GPU-0", 0)), at(21))
	expectBusy(t, v, "p", at(21), 4.0/5) // (11 s, 15 s] at 1, (20 s, 21 s] at 0, between them nothing known
}

func TestPartsThatContainersOfAPodHaveOfADeviceAddUp(t *testing.T) {
	v := view(t)
	put(v, batch("a", at(1), usage("p", "main", "GPU-0", 0.6), usage("p", "side", "GPU-0", 0.1), usage("p", "init", "GPU-0", 0)), at(1))
	got, ok := v.Pod("default", "p", at(1))
	want := PodLoad{GPUs: 1, BusyGPUs: 0.7, MemoryUsedBytes: 30, MemoryTotalBytes: 80, At: at(1)}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-9)); !ok || diff != "" {
		t.Errorf("load (-want +got):\n%s", diff)
	}
}

func TestContainersOfAPodSeeAsMuchMemoryAsAnyOfThem(t *testing.T) {
	small, none := usage("p", "side", "GPU-0", 0.1), usage("p", "third", "GPU-0", 0.1)
	small.Values[telemetry.MemoryTotal] = 20
	delete(none.Values, telemetry.MemoryTotal)
	v := view(t)
	put(v, batch("a", at(1), usage("p", "main", "GPU-0", 0.2), small, none), at(1))
	if got, ok := v.Pod("default", "p", at(1)); !ok || got.MemoryTotalBytes != 80 || got.MemoryUsedBytes != 30 {
		t.Errorf("load %+v, want 30 of 80 bytes", got)
	}
}

// unattributed is a usage of GPU-0, of which it is not known who used it.
func unattributed(pod, container string) telemetry.Usage {
	u := usage(pod, container, "GPU-0", 0)
	u.Attribution = telemetry.AttributionUnknown
	delete(u.Values, telemetry.UtilizationMean)
	delete(u.Values, telemetry.MemoryUsed)
	return u
}

func TestLoadIsUnknownWhileOneContainersPartIsUnknown(t *testing.T) {
	v := view(t)
	put(v, batch("a", at(1), usage("first", "main", "GPU-0", 0.6), unattributed("first", "side"),
		unattributed("last", "main"), usage("last", "side", "GPU-0", 0.6), usage("last", "third", "GPU-0", 0.6),
		unattributed("all", "main"), usage("other", "main", "GPU-1", 0.5)), at(1))
	for _, pod := range []string{"first", "last", "all"} {
		expectAbsent(t, v, pod, at(1))
	}
	expectBusy(t, v, "other", at(1), 0.5)
}

func TestLoadIsUnknownOnceUtilizationHasBeenSoForLong(t *testing.T) {
	v := view(t)
	put(v, batch("a", at(1), usage("p", "main", "GPU-0", 0.6)), at(1))
	for i := 2; i <= 60; i++ { // shared from now on, on a driver that does not tell whose the load is
		put(v, batch("a", at(float64(i)), unattributed("p", "main"), unattributed("q", "main")), at(float64(i)))
		if i <= 4 {
			expectBusy(t, v, "p", at(float64(i)), 0.6)
		} else {
			expectAbsent(t, v, "p", at(float64(i)))
		}
	}
	if got, _, ok := v.PodSince("default", "p", "a", 2*time.Minute, time.Time{}, at(60)); ok {
		t.Errorf("a minute after it was known last the load is %+v, want absent", got)
	}
}

func TestWhereReportsAreLongTwoMayLackUtilization(t *testing.T) {
	v := view(t)
	long := func(second float64, usages ...telemetry.Usage) {
		b := batch("a", at(second), usages...)
		b.Start = at(second - 15)
		put(v, b, at(second))
	}
	long(15, usage("p", "main", "GPU-0", 0.6))
	long(30, unattributed("p", "main"))
	if got, _, ok := v.PodSince("default", "p", "a", time.Minute, time.Time{}, at(30)); !ok || got.BusyGPUs != 0.6 {
		t.Errorf("after one: %+v, %v", got, ok)
	}
	long(45, unattributed("p", "main"))
	if got, _, ok := v.PodSince("default", "p", "a", time.Minute, time.Time{}, at(45)); !ok || got.BusyGPUs != 0.6 {
		t.Errorf("after two: %+v, %v", got, ok)
	}
	long(60, unattributed("p", "main"))
	if got, _, ok := v.PodSince("default", "p", "a", time.Minute, time.Time{}, at(60)); ok {
		t.Errorf("after three it is still %+v", got)
	}
}

func TestMIGInstanceIsADeviceOfItsOwn(t *testing.T) {
	v := view(t)
	put(v, batch("a", at(1), usage("p", "main", "MIG-1", 0.6), usage("p", "main", "MIG-2", 0.2), usage("q", "main", "MIG-3", 0.5)), at(1))
	expectBusy(t, v, "p", at(1), 0.8)
	expectBusy(t, v, "q", at(1), 0.5)
	if got, _ := v.Pod("default", "p", at(1)); got.GPUs != 2 {
		t.Errorf("%d devices, want 2", got.GPUs)
	}
}

func TestIdleIsZeroAndUnknownIsAbsent(t *testing.T) {
	v := view(t)
	lost := usage("half", "main", "GPU-2", 0)
	delete(lost.Values, telemetry.UtilizationMean)
	delete(lost.Values, telemetry.MemoryUsed)
	bare := usage("bare", "main", "GPU-3", 0.5)
	delete(bare.Values, telemetry.MemoryUsed)
	put(v, batch("a", at(1), usage("idle", "main", "GPU-0", 0), usage("half", "main", "GPU-1", 1), lost, bare), at(1))
	expectBusy(t, v, "idle", at(1), 0)
	expectAbsent(t, v, "half", at(1))
	expectAbsent(t, v, "never seen", at(1))
	got, ok := v.Pod("default", "bare", at(1))
	if !ok || !math.IsNaN(got.MemoryUsedBytes) || got.MemoryTotalBytes != 80 {
		t.Errorf("memory not measured: %+v, want NaN used, 80 total", got)
	}
}

func TestStaleDataIsAbsent(t *testing.T) {
	v := view(t)
	put(v, batch("a", at(0), usage("p", "main", "GPU-0", 0.5)), at(0))
	expectBusy(t, v, "p", at(30), 0.5)
	expectAbsent(t, v, "p", at(30.001))

	// A node whose clock is ahead does not stay young after it fell silent.
	put(v, batch("b", at(200), usage("ahead", "main", "GPU-0", 0.5)), at(0))
	expectBusy(t, v, "ahead", at(30), 0.5)
	expectAbsent(t, v, "ahead", at(31))

	// A backlog that drains now tells of the past.
	put(v, batch("c", at(0), usage("drained", "main", "GPU-0", 0.5)), at(100))
	expectAbsent(t, v, "drained", at(100))
}

func TestPodNoLongerListedIsGoneAtOnce(t *testing.T) {
	v := view(t)
	put(v, batch("a", at(1), usage("p", "main", "GPU-0", 0.5), usage("q", "main", "GPU-1", 0.5)), at(1))
	put(v, batch("b", at(2)), at(2))
	expectBusy(t, v, "p", at(2), 0.5) // another node's silence about p says nothing
	put(v, batch("a", at(2), usage("q", "main", "GPU-1", 0.5)), at(2))
	expectAbsent(t, v, "p", at(2))
	expectBusy(t, v, "q", at(2), 0.5)
}

func TestUnknownOwnersChangeTheNodeOnly(t *testing.T) {
	v := view(t)
	put(v, batch("a", at(1), usage("p", "main", "GPU-0", 0.5)), at(1))
	unknown := batch("a", at(20))
	unknown.OwnersKnown, unknown.Problems = false, []string{"kubelet: no socket"}
	unknown.Readings = []telemetry.Reading{{Device: telemetry.Device{UUID: "GPU-0"}, Values: telemetry.Values{telemetry.UtilizationMean: 0}}}
	put(v, unknown, at(20))
	expectBusy(t, v, "p", at(20), 0.5)
	expectAbsent(t, v, "p", at(32))
	want := []NodeState{{Node: "a", LastBatch: at(20), Received: at(20), Problems: unknown.Problems}}
	nodes := v.Nodes(at(32))
	if diff := cmp.Diff(want, nodes, cmpopts.IgnoreUnexported(NodeState{})); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(unknown.Readings, nodes[0].Readings()); diff != "" {
		t.Errorf("readings (-want +got):\n%s", diff)
	}
	if nodes := v.Nodes(at(51)); !nodes[0].Stale {
		t.Error("node is not stale 31 s after its last batch")
	}
}

func TestResentOldBatchesDoNotOverwrite(t *testing.T) {
	v := view(t)
	put(v, batch("a", at(10), usage("p", "main", "GPU-0", 0.9)), at(10))
	put(v, batch("a", at(9), usage("old", "main", "GPU-0", 0.1)), at(11))
	put(v, batch("a", at(10), usage("old", "main", "GPU-0", 0.1)), at(11))
	expectBusy(t, v, "p", at(11), 0.9)
	expectAbsent(t, v, "old", at(11))
	if nodes := v.Nodes(at(11)); !nodes[0].LastBatch.Equal(at(10)) || !nodes[0].Received.Equal(at(10)) {
		t.Errorf("node is of %v, received %v: want 10 s", nodes[0].LastBatch.Sub(start), nodes[0].Received.Sub(start))
	}
	if n := len(v.nodes["a"].windows); n != 2 {
		t.Errorf("%d windows are kept of two moments", n)
	}
}

func TestPodOfTheSameNameOnAnotherNodeIsTheNewOne(t *testing.T) {
	v := view(t)
	put(v, batch("a", at(1), usage("web-0", "main", "GPU-0", 0.9)), at(1))
	put(v, batch("b", at(5), usage("web-0", "main", "GPU-7", 0.2)), at(5))
	put(v, batch("a", at(6), usage("web-0", "main", "GPU-0", 0.9)), at(6)) // still terminating there
	expectBusy(t, v, "web-0", at(6), 0.2)
	if pods := v.Pods(at(0)); len(pods) != 1 || pods[0].Node != "b" {
		t.Errorf("pods %+v: want web-0 of node b only", pods)
	}
	put(v, batch("b", at(7)), at(7))
	expectBusy(t, v, "web-0", at(7), 0.9)
}

func TestPodsAreThoseOfNodesHeardOfSinceUntilTheirNodeReportsWithoutThem(t *testing.T) {
	v := view(t)
	unknown := usage("idle-0", "main", "GPU-1", 0)
	delete(unknown.Values, telemetry.UtilizationMean)
	put(v, batch("a", at(1), usage("web-0", "main", "GPU-0", 0.9), unknown), at(1))
	put(v, batch("b", at(100), usage("web-1", "main", "GPU-7", 0.2)), at(100))
	for since, want := range map[float64]string{
		0:   "[{default idle-0 a 1} {default web-0 a 1} {default web-1 b 1}]", // long silent or not, known or not
		1.5: "[{default web-1 b 1}]",
	} {
		if got := fmt.Sprint(v.Pods(at(since))); got != want {
			t.Errorf("pods of nodes heard of since %v: %s, want %s", since, got, want)
		}
	}
	put(v, batch("a", at(101), usage("web-0", "main", "GPU-0", 0.9)), at(101))
	if got, want := fmt.Sprint(v.Pods(at(0))), "[{default web-0 a 1} {default web-1 b 1}]"; got != want {
		t.Errorf("after its node reported without it: %s, want %s", got, want)
	}
}

func TestADeviceTakenAwayNoLongerCounts(t *testing.T) {
	v := view(t)
	put(v, batch("a", at(1), usage("p", "main", "GPU-0", 0.5), usage("p", "main", "GPU-1", 0.5)), at(1))
	put(v, batch("a", at(2), usage("p", "main", "GPU-0", 0.5)), at(2))
	if got, _ := v.Pod("default", "p", at(2)); got.GPUs != 1 || got.BusyGPUs != 0.5 {
		t.Errorf("load %+v, want one GPU", got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	v := view(t)
	now := start
	for i := range 4000 {
		now = now.Add(time.Second)
		put(v, batch("a", now, usage("long", "main", "GPU-0", 0.5)), now)
		if i < 1000 { // a node for each of a thousand pods, then silence
			put(v, batch(fmt.Sprintf("n%d", i), now, usage(fmt.Sprintf("p%d", i), "main", "GPU-0", 0.5)), now)
		}
		if i == 1700 && len(v.pods) != 1 {
			t.Errorf("%d pods in memory 11 minutes after the last but one spoke, want 1", len(v.pods))
		}
	}
	if n := len(v.nodes["a"].windows); n > 121 {
		t.Errorf("%d windows of one node, want two minutes of them", n)
	}
	put(v, batch("a", now.Add(2*time.Hour)), now.Add(2*time.Hour))
	if len(v.nodes) != 1 {
		t.Errorf("%d nodes in memory after two hours of silence, want 1", len(v.nodes))
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	for want, o := range map[string]Options{
		"averaging window is 3m0s": {Window: 3 * time.Minute},
		"stale after is 1ns":       {StaleAfter: 1},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v: want …%s…", err, want)
		}
	}
}

func TestReadersAndWritersMeet(t *testing.T) {
	v := view(t)
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for i := range 200 {
				put(v, batch(fmt.Sprint(n), at(float64(i+1)), usage("p", "main", "GPU-0", 0.5)), at(float64(i+1)))
			}
		})
		all.Go(func() {
			for i := range 200 {
				v.Pod("default", "p", at(float64(i)))
				v.Pods(at(float64(i - 30)))
				v.Nodes(at(float64(i)))
			}
		})
	}
	all.Wait()
}

func TestPodSinceLeavesOutWhatLiesBefore(t *testing.T) {
	v := view(t)
	for i := 1; i <= 12; i++ { // one pod bears everything until second 8, a fifth of it afterwards
		u := 1.0
		if i > 8 {
			u = 0.2
		}
		put(v, batch("a", at(float64(i)), usage("p", "main", "GPU-0", u)), at(float64(i)))
	}
	for _, c := range []struct {
		since   float64
		busy    float64
		settled bool
	}{
		{-100, 0.68, true}, // the view's own 10 s: six at 1, four at 0.2
		{8, 0.2, true},
		{11.5, 0.2, true},
		{12, 0.68, false},
		{15, 0.68, false},
	} {
		got, settled, ok := v.PodSince("default", "p", "a", 0, at(c.since), at(12))
		if !ok || settled != c.settled || math.Abs(got.BusyGPUs-c.busy) > 1e-9 {
			t.Errorf("since %v: %v busy, settled %v, %v; want %v, %v", c.since, got.BusyGPUs, settled, ok, c.busy, c.settled)
		}
	}
	if _, _, ok := v.PodSince("default", "p", "a", 0, at(0), at(60)); ok {
		t.Error("a stale pod has a load")
	}
	put(v, batch("b", at(13), usage("p", "main", "GPU-9", 0)), at(13))
	if got, _, ok := v.PodSince("default", "p", "a", 0, at(12), at(13)); !ok || got.BusyGPUs == 0 {
		t.Errorf("another node's word on the pod was taken: %+v, %v", got, ok)
	}
	if _, _, ok := v.PodSince("default", "p", "c", 0, at(0), at(12)); ok {
		t.Error("a node nobody heard of has the pod")
	}
}

func TestNodeTellsItsStateUntilItIsForgotten(t *testing.T) {
	v := view(t)
	b := batch("a", at(1))
	b.Problems = []string{"kubelet: no answer"}
	put(v, b, at(1))
	if n, ok := v.Node("a", at(2)); !ok || n.Stale || len(n.Problems) != 1 {
		t.Errorf("fresh node is %+v, %v", n, ok)
	}
	if n, ok := v.Node("a", at(120)); !ok || !n.Stale {
		t.Errorf("silent node is %+v, %v", n, ok)
	}
	if _, ok := v.Node("b", at(2)); ok {
		t.Error("a node nobody heard of is known")
	}
}

func TestAWindowEndsWithTheNewestBatchAndNotWithTheClock(t *testing.T) {
	v := view(t)
	put(v, batch("a", at(1), usage("p", "main", "GPU-0", 0.6)), at(1))
	// Silent for 20 s, which is not stale yet: the load is the last one known, not that of a window in which nothing lies.
	got, settled, ok := v.PodSince("default", "p", "a", 10*time.Second, at(-100), at(21))
	if !ok || !settled || math.Abs(got.BusyGPUs-0.6) > 1e-9 {
		t.Errorf("%v busy, settled %v, %v; want 0.6", got.BusyGPUs, settled, ok)
	}
}
