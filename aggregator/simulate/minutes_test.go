package simulate

import (
	"math"
	"testing"
	"time"
)

func TestAMinuteIsTheMeanOfWhatWasSeenOfIt(t *testing.T) {
	before := []float64{5, 6, 0}
	m := NewMinutes(before[:2], start)
	for i, busy := range []float64{1, 2, 3, math.NaN(), 1, math.NaN(), math.NaN(), 3, 9} { // two minutes of four steps, and a step
		m.Watch(View{Now: start.Add(time.Duration(i) * step), Busy: busy, Ready: 2})
	}
	if len(m.Busy) != 4 || m.Busy[1] != 6 || m.Busy[2] != 2 || !math.IsNaN(m.Busy[3]) || m.Ready[2] != 2 || !math.IsNaN(m.Ready[1]) {
		t.Errorf("%v, %v ready", m.Busy, m.Ready)
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
		m.Watch(View{Now: start.Add(time.Duration(i) * 2 * time.Minute), Busy: float64(i)})
	}
	if len(m.Busy) != 3 || m.Busy[0] != 0 || !math.IsNaN(m.Busy[1]) || m.Busy[2] != 1 {
		t.Errorf("%v", m.Busy)
	}
}
