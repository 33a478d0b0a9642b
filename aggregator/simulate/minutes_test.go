package simulate

import (
	"math"
	"testing"
	"time"
)

func TestAMinuteIsTheMeanOfWhatWasSeenOfIt(t *testing.T) {
	before := []float64{5, 6, 0}
	m := NewMinutes(before[:2], start)
	for i, busy := range []float64{math.NaN(), 8, 1, 2, 3, math.NaN(), 1, math.NaN(), math.NaN(), 3, 9} { // two steps of before, two minutes of four, and one
		now := start.Add(time.Duration(i) * step)
		m.Watch(View{Now: now, Seen: now.Add(-2 * step), Busy: busy, Ready: int32(i / 4)})
	}
	if len(m.Busy) != 4 || m.Busy[1] != 6 || m.Busy[2] != 2 || !math.IsNaN(m.Busy[3]) {
		t.Errorf("%v", m.Busy)
	}
	if len(m.Ready) != 4 || !math.IsNaN(m.Ready[1]) || m.Ready[2] != 0 || m.Ready[3] != 1 {
		t.Errorf("%v", m.Ready)
	}
	if before[2] != 0 {
		t.Error("what was given is written on")
	}
	if m.index(start) != 2 || m.at(1) != 6 || !math.IsNaN(m.at(-1)) || !math.IsNaN(m.at(4)) {
		t.Error("a minute is not where it belongs")
	}
}

func TestStepsLongerThanAMinuteLeaveSomeUnknown(t *testing.T) {
	m := NewMinutes(nil, start)
	for i := range 3 {
		now := start.Add(time.Duration(i) * 2 * time.Minute)
		m.Watch(View{Now: now, Seen: now, Busy: float64(i)})
	}
	if len(m.Busy) != 3 || m.Busy[0] != 0 || !math.IsNaN(m.Busy[1]) || m.Busy[2] != 1 {
		t.Errorf("%v", m.Busy)
	}
}

func TestWhatIsSeenOfBeforeTheFirstMinuteIsNotOfIt(t *testing.T) {
	m := NewMinutes(nil, start)
	for i, busy := range []float64{math.NaN(), math.NaN(), 2, 2, 2, math.NaN(), 9} {
		now := start.Add(time.Duration(i) * step)
		m.Watch(View{Now: now, Seen: now.Add(-2 * step), Busy: busy})
	}
	if len(m.Busy) != 1 || m.Busy[0] != 2 {
		t.Errorf("%v", m.Busy)
	}
}
