package live

import (
	"math"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// said is a batch of an agent's session: one second that ends at the given time.
func said(session string, sequence uint64, end time.Time, usages ...telemetry.Usage) telemetry.Batch {
	b := batch("a", end, usages...)
	b.Session, b.Sequence = session, sequence
	return b
}

func busy(utilization float64) telemetry.Usage { return usage("p", "main", "GPU-0", utilization) }

func TestAnAgentThatStartsAnewIsBelievedThoughTheClockWasSetBack(t *testing.T) {
	v := view(t)
	for i := range 20 { // four minutes ahead
		put(v, said("before", uint64(i+1), at(240+float64(i)), busy(0.9)), at(float64(i)))
	}
	put(v, said("after", 1, at(22), busy(0.1)), at(22))
	expectBusy(t, v, "p", at(22), 0.1)
	put(v, said("after", 2, at(23), busy(0.3)), at(23))
	expectBusy(t, v, "p", at(23), 0.2)
	if n, _ := v.Node("a", at(23)); !n.LastBatch.Equal(at(23)) || n.Stale {
		t.Errorf("node is of %v, stale %v; want 23s, fresh", n.LastBatch.Sub(start), n.Stale)
	}
}

func TestASessionThatGoesOnIsBelievedThoughTheClockWasSetBack(t *testing.T) {
	v := view(t)
	for i := range 20 {
		put(v, said("s", uint64(i+1), at(240+float64(i)), busy(0.9)), at(float64(i)))
	}
	put(v, said("s", 1<<20, at(22), busy(0.1)), at(22))
	expectBusy(t, v, "p", at(22), 0.1)
	put(v, said("s", 20, at(258), busy(0.9)), at(23)) // resent, from before
	expectBusy(t, v, "p", at(23), 0.1)
	if n := len(v.nodes["a"].windows); n != 1 {
		t.Errorf("%d windows are kept, want the one that lies not ahead of the clock", n)
	}
}

func TestABacklogChangesNothingOfNow(t *testing.T) {
	v := view(t)
	put(v, said("s", 60, at(60), busy(0.9)), at(60))
	for i := range 59 {
		put(v, said("s", uint64(i+1), at(float64(i+1)), usage("old", "main", "GPU-0", 0.1), usage("p", "main", "GPU-1", 0.1)), at(61))
	}
	expectAbsent(t, v, "old", at(61))
	if got, ok := v.Pod("default", "p", at(61)); !ok || got.GPUs != 1 || got.BusyGPUs != 0.9 || !got.At.Equal(at(60)) {
		t.Errorf("load %+v, %v; want one device 0.9 busy at 60 s", got, ok)
	}
	if n, _ := v.Node("a", at(61)); !n.Received.Equal(at(60)) {
		t.Errorf("newest batch was received at %v, want 60 s", n.Received.Sub(start))
	}
}

func TestAnAgentThatSaysTheSameTimeOverAndOverCostsNoMoreThanAFastOne(t *testing.T) {
	v := view(t)
	for i := range 2 * mostWindows {
		put(v, said("s", uint64(i+1), at(1), busy(0.9)), at(1))
	}
	put(v, said("s", 2*mostWindows+1, at(2), busy(0.1)), at(2))
	expectBusy(t, v, "p", at(2), 0.5)
	if n := len(v.nodes["a"].windows); n > mostWindows {
		t.Errorf("%d windows are kept of one node, want %d at most", n, mostWindows)
	}
}

func TestWhatIsLeftOfAnEndedSessionIsOld(t *testing.T) {
	v := view(t)
	put(v, said("before", 7, at(7), busy(0.9)), at(7))
	put(v, said("after", 1, at(20), busy(0.1)), at(20))
	put(v, said("before", 8, at(100), busy(0.9)), at(21))
	expectBusy(t, v, "p", at(21), 0.1)
	put(v, said("after", 2, at(22), busy(0.1)), at(22))
	expectBusy(t, v, "p", at(22), 0.1)
}

func TestOfTwoSessionsAtOnceTheOneThatStaysIsBelieved(t *testing.T) {
	v := view(t)
	put(v, said("stays", 1, at(-20), busy(0.9)), at(1))
	put(v, said("ends", 1, at(2), busy(0.1)), at(2))
	for i := 3; i <= 40; i++ {
		put(v, said("stays", uint64(i), at(float64(i)), busy(0.9)), at(float64(i)))
		switch i {
		case 30:
			expectBusy(t, v, "p", at(30), 0.1)
		case 40:
			expectBusy(t, v, "p", at(40), 0.9)
		}
	}
}

func TestAPodThatCameBackIsNotAveragedWithTheOneThatLeft(t *testing.T) {
	v := view(t)
	put(v, said("s", 1, at(1), busy(1)), at(1))
	put(v, said("s", 2, at(2)), at(2))
	put(v, said("s", 3, at(3), busy(0.2)), at(3))
	expectBusy(t, v, "p", at(3), 0.2)
}

func TestFramesThatShareALayoutSayTheSameAsFramesThatDoNot(t *testing.T) {
	shared, apart := view(t), view(t)
	var framer telemetry.Framer
	for i := 1; i <= 40; i++ {
		b := said("s", uint64(i), at(float64(i)), usage("p", "main", "GPU-0", float64(i%7)/10), usage("p", "side", "GPU-1", 0.5))
		if i/10%2 == 1 { // now and then another pod comes first, and the places of the others move
			b.Usages = append([]telemetry.Usage{usage("a", "main", "GPU-2", 0.5)}, b.Usages...)
		}
		shared.Put(framer.Frame(b), at(float64(i)))
		put(apart, b, at(float64(i)))
		x, _ := shared.Pod("default", "p", at(float64(i)))
		y, ok := apart.Pod("default", "p", at(float64(i)))
		if !ok || x != y || math.IsNaN(x.BusyGPUs) {
			t.Fatalf("second %d: %+v with a shared layout, %+v without", i, x, y)
		}
	}
	if n := len(shared.nodes["a"].windows); n != 40 {
		t.Fatalf("%d windows", n)
	}
	plans := map[*plan]bool{}
	for _, w := range shared.nodes["a"].windows {
		plans[w.plan] = true
	}
	if len(plans) != 5 {
		t.Errorf("%d plans for 5 layouts", len(plans))
	}
}
