package simulate

import (
	"math"
	"time"
)

// Minutes is the load by the minute, as a history keeps it: what was known before a simulation, and what was seen in it. A minute of
// which half or less was seen is not known.
type Minutes struct {
	// Begin is when the first minute does.
	Begin time.Time
	// Busy is the busy GPUs and Ready the pods that served, each the mean of a minute that is over; NaN is not known.
	Busy, Ready []float64

	end         time.Time // of the present minute
	busy, ready float64
	known, all  int
}

// NewMinutes begins with the busy GPUs of the minutes before start, which it goes on with; what was ready then is not known.
func NewMinutes(before []float64, start time.Time) Minutes {
	m := Minutes{Begin: start.Truncate(time.Minute).Add(-time.Duration(len(before)) * time.Minute), Busy: before[:len(before):len(before)]}
	m.Ready = make([]float64, len(before))
	for i := range m.Ready {
		m.Ready[i] = math.NaN()
	}
	return m
}

// Watch takes a step in.
func (m *Minutes) Watch(v View) {
	if end := v.Now.Truncate(time.Minute).Add(time.Minute); !end.Equal(m.end) {
		m.close()
		m.end, m.busy, m.ready, m.known, m.all = end, 0, 0, 0, 0
	}
	m.all++
	if !math.IsNaN(v.Busy) {
		m.busy, m.ready, m.known = m.busy+v.Busy, m.ready+float64(v.Ready), m.known+1
	}
}

// close writes the minute that is over.
func (m *Minutes) close() {
	if m.all == 0 {
		return
	}
	for m.index(m.end) > len(m.Busy)+1 { // steps longer than a minute leave some out
		m.Busy, m.Ready = append(m.Busy, math.NaN()), append(m.Ready, math.NaN())
	}
	busy, ready := math.NaN(), math.NaN()
	if 2*m.known > m.all {
		busy, ready = m.busy/float64(m.known), m.ready/float64(m.known)
	}
	m.Busy, m.Ready = append(m.Busy, busy), append(m.Ready, ready)
}

// index is which minute a time belongs to.
func (m *Minutes) index(t time.Time) int { return int(t.Sub(m.Begin) / time.Minute) }

// at is the busy GPUs of a minute; NaN is not known.
func (m *Minutes) at(i int) float64 {
	if i < 0 || i >= len(m.Busy) {
		return math.NaN()
	}
	return m.Busy[i]
}
