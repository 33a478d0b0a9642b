package replay

import (
	"math"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/trace"
)

// recorded is a recording of so many days in steps of ten minutes: 100 at first, and twice that from a day on.
func recorded(days, change int) trace.Series {
	s := trace.Series{Name: "x"}
	for i := range days * 144 {
		v := 100.0
		if i >= change*144 {
			v = 200
		}
		s.Points = append(s.Points, trace.Point{Time: time.Unix(int64(600*i), 0).UTC(), Value: v})
	}
	return s
}

func TestAFlightIsAWeekAfterUpToFourAndKeepsEightGPUsBusy(t *testing.T) {
	for days, before := range map[int]int{14: 7, 20: 13, 35: 28, 90: 28} {
		f, ok := flight(recorded(days, before))
		if !ok || len(f.Before) != before*1440 || len(f.Trace.Offered) != 7*24*240 || !f.Trace.Start.Equal(time.Unix(int64(before)*86400, 0)) {
			t.Fatalf("%d days: %v, %d minutes before, %d steps from %v", days, ok, len(f.Before), len(f.Trace.Offered), f.Trace.Start)
		}
		sum := 0.0
		for _, v := range f.Trace.Offered {
			sum += v
		}
		if mean := sum / float64(len(f.Trace.Offered)); math.Abs(mean-MeanGPUs) > 0.01 {
			t.Errorf("%d days: %g GPUs are busy on average", days, mean)
		}
		if first, last := f.Before[0], f.Before[len(f.Before)-10]; math.Abs(first-4) > 0.01 || math.Abs(last-4) > 0.01 {
			t.Errorf("%d days: before, %g and %g were", days, first, last)
		}
	}
}

func TestWhatIsTooShortOrHasTooManyGapsIsNotFlown(t *testing.T) {
	if _, ok := flight(recorded(13, 0)); ok {
		t.Error("13 days were flown")
	}
	for hours, want := range map[int]bool{30: true, 40: false} {
		s := recorded(14, 0)
		s.Points = append(s.Points[:8*144], s.Points[8*144+6*hours:]...)
		f, ok := flight(s)
		if ok != want {
			t.Errorf("a gap of %d h is flown: %v", hours, ok)
		}
		for i, v := range f.Trace.Offered {
			if math.Abs(v-MeanGPUs) > 1e-9 {
				t.Fatalf("a gap of %d h: step %d has %g", hours, i, v)
			}
		}
	}
}

func TestAGapBeforeIsUnknownAndOneInFlightIsBridged(t *testing.T) {
	s := recorded(14, 0)
	s.Points = append(s.Points[:144], s.Points[2*144:]...)
	f, ok := flight(s)
	if !ok || !math.IsNaN(f.Before[1440+720]) || math.IsNaN(f.Before[720]) {
		t.Errorf("flown %v, within the gap there were %g", ok, f.Before[1440+720])
	}
	for i, v := range f.Trace.Offered {
		if math.IsNaN(v) {
			t.Fatalf("step %d of the flight is not known", i)
		}
	}
}
