package simulate

import (
	"math"
	"time"
)

// Minutes is the load by the minute, as a history keeps it: what was known before a simulation, and what was seen in it, each in the minute
// that it is of.
type Minutes struct {
	// Begin is when the first minute does.
	Begin time.Time
	// Busy is the busy GPUs and Ready the pods that served, each the mean of a minute that is over; NaN is not known, as of a minute of which
	// half or less was seen. Busy may be a minute or more behind.
	Busy, Ready []float64

	busy, ready minute
}

// minute is one that goes on.
type minute struct {
	index      int
	known, all int // steps
	sum        float64
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
	m.Busy = m.busy.add(m.Busy, m.index(v.Seen), v.Busy)
	m.Ready = m.ready.add(m.Ready, m.index(v.Now), float64(v.Ready))
}

// add takes in a step of a minute, and returns those that are over.
func (m *minute) add(over []float64, index int, value float64) []float64 {
	if index < len(over) {
		return over
	}
	if index != m.index && m.all > 0 {
		for len(over) < m.index { // steps longer than a minute leave some out
			over = append(over, math.NaN())
		}
		mean := math.NaN()
		if 2*m.known > m.all {
			mean = m.sum / float64(m.known)
		}
		over, *m = append(over, mean), minute{}
	}
	m.index = index
	m.all++
	if !math.IsNaN(value) {
		m.sum, m.known = m.sum+value, m.known+1
	}
	return over
}

// index is which minute a time belongs to; below 0 are those before the first.
func (m *Minutes) index(t time.Time) int { return int(math.Floor(t.Sub(m.Begin).Minutes())) }

// at is the busy GPUs of a minute; NaN is not known.
func (m *Minutes) at(i int) float64 {
	if i < 0 || i >= len(m.Busy) {
		return math.NaN()
	}
	return m.Busy[i]
}
