package trace

import (
	"math"
	"time"
)

// Grid puts the points on a regular grid of their usual step, the most frequent distance of two neighbours (the shorter of two as
// frequent ones). values[i] is recorded at or less than a step after the first point's time plus i steps; of several the newest
// counts, and where there is none it is NaN: missing, which is not zero. A single point has no step, which is then 0.
func (s Series) Grid() (values []float64, step time.Duration) {
	count := map[time.Duration]int{}
	for i := 1; i < len(s.Points); i++ {
		d := s.Points[i].Time.Sub(s.Points[i-1].Time)
		if count[d]++; count[d] > count[step] || count[d] == count[step] && d < step {
			step = d
		}
	}
	if step == 0 {
		return nil, 0
	}
	first, last := s.Points[0].Time, s.Points[len(s.Points)-1].Time
	values = make([]float64, last.Sub(first)/step+1)
	for i := range values {
		values[i] = math.NaN()
	}
	for _, p := range s.Points {
		values[p.Time.Sub(first)/step] = p.Value
	}
	return values, step
}
