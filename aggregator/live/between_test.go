package live

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foretide/foretide/pkg/telemetry"
)

// tell puts seconds first to last of node a, each a frame, with what the function says of it.
func tell(v *View, first, last int, usages func(second int) []telemetry.Usage) {
	for i := first; i <= last; i++ {
		put(v, said("s", uint64(i), at(float64(i)), usages(i)...), at(float64(i)))
	}
}

func steady(usages ...telemetry.Usage) func(int) []telemetry.Usage {
	return func(int) []telemetry.Usage { return usages }
}

func expectBetween(t *testing.T, v *View, from, to float64, want Stretch) {
	t.Helper()
	got := v.PodBetween("default", "p", "a", at(from), at(to))
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Errorf("from %v to %v s (-want +got):\n%s", from, to, diff)
	}
}

func complete(gpus int, busy float64, held time.Duration) Stretch {
	return Stretch{Reports: ReportsComplete, Known: true, GPUs: gpus, BusyGPUs: busy, Held: held}
}

func TestAStretchIsTheMeanOfTheWindowsWeighedByTheirPartOfIt(t *testing.T) {
	v := view(t)
	long := said("s", 1, at(15), busy(1))
	long.Start = at(0)
	put(v, long, at(15))
	next := said("s", 2, at(30), busy(0.2))
	next.Start = at(15)
	put(v, next, at(30))
	expectBetween(t, v, 10, 20, complete(1, 0.6, 10*time.Second))
	expectBetween(t, v, 12, 16, complete(1, 0.8, 4*time.Second))
	expectBetween(t, v, 0, 30, complete(1, 0.6, 30*time.Second))
}

func TestAPodThatEndedIsToldOfForAsLongAsItWas(t *testing.T) {
	v := view(t)
	tell(v, 1, 13, steady(busy(0.8)))
	tell(v, 14, 25, steady(usage("other", "main", "GPU-0", 0.5)))
	expectAbsent(t, v, "p", at(25))
	expectBetween(t, v, 10, 20, complete(1, 0.8, 3*time.Second))
	expectBetween(t, v, 14, 24, Stretch{Reports: ReportsComplete})
}

func TestAStretchIsMissingUntilAllOfItHasArrived(t *testing.T) {
	v := view(t)
	tell(v, 1, 14, steady(busy(0.4)))
	expectBetween(t, v, 10, 20, Stretch{Reports: ReportsMissing}) // not reported so far
	tell(v, 18, 22, steady(busy(0.4)))
	expectBetween(t, v, 10, 20, Stretch{Reports: ReportsMissing}) // 15 to 17 are under way
	expectBetween(t, v, 4, 14, complete(1, 0.4, 10*time.Second))
	expectBetween(t, v, 17, 22, complete(1, 0.4, 5*time.Second))
	expectBetween(t, v, -5, 5, Stretch{Reports: ReportsMissing}) // before the first
	tell(v, 15, 17, steady(busy(0.8)))
	expectBetween(t, v, 10, 20, complete(1, 0.52, 10*time.Second))
}

func TestWhereNothingWasSampledNothingIsMissing(t *testing.T) {
	v := view(t)
	tell(v, 1, 13, steady(busy(0.4)))
	put(v, said("s", 14, at(16), busy(0.8)), at(16)) // the agent slept for two seconds: its next frame is the next
	put(v, said("s", 15, at(17), busy(0.8)), at(17))
	expectBetween(t, v, 7, 17, complete(1, (6*0.4+2*0.8)/8, 8*time.Second))
}

func TestAMomentThatCameTwiceCountsAsItWasTheSecondTime(t *testing.T) {
	v := view(t)
	tell(v, 1, 20, steady(busy(0.4)))
	for i := range 12 { // a new run of the agent, whose clock was set back by five seconds
		put(v, said("s", 1<<32+1+uint64(i), at(float64(16+i)), busy(0.8)), at(float64(21+i)))
	}
	expectBetween(t, v, 10, 20, complete(1, 0.6, 10*time.Second))
}

func TestAroundARestartOfTheAgentSomethingMayStillCome(t *testing.T) {
	for name, next := range map[string]telemetry.Batch{
		"a session that goes on": said("s", 1<<32+1, at(18), busy(0.8)),
		"another session":        said("t", 1, at(18), busy(0.8)),
	} {
		v := view(t)
		tell(v, 1, 13, steady(busy(0.4)))
		put(v, next, at(18))
		want := complete(1, (3*0.4+0.8)/4, 4*time.Second)
		want.Reports = ReportsRestarted
		t.Run(name, func(t *testing.T) { expectBetween(t, v, 10, 18, want) })
		put(v, said("s", 14, at(14), busy(0.4)), at(19)) // what the run before left
		want.BusyGPUs, want.Held = (4*0.4+0.8)/5, 5*time.Second
		t.Run(name, func(t *testing.T) { expectBetween(t, v, 10, 18, want) })
		next.Sequence += 2
		next.Start, next.End = at(20), at(21)
		put(v, next, at(21))
		t.Run(name, func(t *testing.T) { expectBetween(t, v, 11, 21, Stretch{Reports: ReportsMissing}) })
	}
}

func TestUtilizationThatIsNotKnownMakesTheStretchUnknown(t *testing.T) {
	v := view(t)
	lost := unattributed("p", "main")
	tell(v, 1, 12, steady(busy(0.4), usage("p", "main", "GPU-1", 0.2)))
	tell(v, 13, 40, steady(lost, usage("p", "main", "GPU-1", 0.2)))
	expectBetween(t, v, 10, 20, complete(2, 0.6, 10*time.Second)) // of GPU-0 two of ten seconds are known
	expectBetween(t, v, 20, 30, Stretch{Reports: ReportsComplete})
	unknown := said("s", 41, at(50))
	unknown.Start, unknown.OwnersKnown = at(40), false
	put(v, unknown, at(50))
	expectBetween(t, v, 40, 50, Stretch{Reports: ReportsComplete})
}

func TestADeviceLostWithinTheStretchDoesNotCountAsHeld(t *testing.T) {
	v := view(t)
	tell(v, 1, 15, steady(busy(0.4), usage("p", "main", "GPU-1", 0.2)))
	tell(v, 16, 20, steady(busy(0.4)))
	expectBetween(t, v, 10, 20, complete(1, 0.5, 10*time.Second))
}

func TestANodeThatFellSilentLongAgoIsNotWaitedFor(t *testing.T) {
	v := view(t)
	tell(v, 1, 10, steady(busy(0.4)))
	expectBetween(t, v, 130, 140, Stretch{Reports: ReportsMissing})
	expectBetween(t, v, 131, 141, Stretch{Reports: ReportsSilent})
	if got := v.PodBetween("default", "p", "unheard", at(0), at(10)); got.Reports != ReportsSilent {
		t.Errorf("a node nobody heard of is %+v", got)
	}
}

// TestTheOrderOfArrivalDoesNotChangeAStretch puts the same frames, of pods and devices that come and go, in many orders.
func TestTheOrderOfArrivalDoesNotChangeAStretch(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var framer telemetry.Framer
	var frames []telemetry.Frame
	var usages []telemetry.Usage
	end := start
	for i := range 100 {
		if i%6 == 0 {
			usages = nil
			for gpu := range 8 {
				if pod := random.IntN(4); pod > 0 {
					usages = append(usages, usage("pq"[pod%2:pod%2+1], fmt.Sprint("c", pod), fmt.Sprint("GPU-", (gpu*5+i)%8), 0))
				}
			}
		}
		b := said("s", uint64(i+1), end.Add(time.Duration(500+random.IntN(1000))*time.Millisecond))
		b.Start, end = end, b.End
		for _, u := range usages {
			u.Values = telemetry.Values{telemetry.UtilizationMean: random.Float64()}
			if random.IntN(20) == 0 {
				u.Values = nil
			}
			b.Usages = append(b.Usages, u)
		}
		frames = append(frames, framer.Frame(b))
	}
	stretches := func(order []int) []Stretch {
		v := view(t)
		for _, i := range order {
			v.Put(frames[i], end)
		}
		var out []Stretch
		for s := at(10); s.Before(end); s = s.Add(10 * time.Second) {
			for _, pod := range []string{"p", "q"} {
				out = append(out, v.PodBetween("default", pod, "a", s.Add(-10*time.Second), s))
			}
		}
		return out
	}
	ascending := make([]int, len(frames))
	for i := range ascending {
		ascending[i] = i
	}
	want := stretches(ascending)
	known := 0
	for _, s := range want {
		if s.Reports != ReportsComplete {
			t.Fatalf("a stretch is %+v though every frame arrived", s)
		}
		if s.Known {
			known++
		}
	}
	if known < len(want)/2 {
		t.Fatalf("only %d of %d stretches are known", known, len(want))
	}
	for range 50 {
		for i, got := range stretches(random.Perm(len(frames))) {
			if got != want[i] || math.Float64bits(got.BusyGPUs) != math.Float64bits(want[i].BusyGPUs) {
				t.Fatalf("stretch %d is %+v in one order, %+v in another", i, want[i], got)
			}
		}
	}
}
