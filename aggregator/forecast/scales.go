package forecast

import (
	"slices"
	"time"
)

// dates tell the day of each step by the wall clock. Steps count from the end of the history.
type dates struct {
	step  time.Duration
	today int           // number of the day at the end of the history, from 1970-01-01
	gone  time.Duration // of that day
}

func newDates(s Series) dates {
	at := s.End.UTC()
	if s.Calendar.Location != nil {
		at = s.End.In(s.Calendar.Location)
	}
	year, month, day := at.Date()
	hours, minutes, seconds := at.Clock()
	gone := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute + time.Duration(seconds)*time.Second
	d := dates{step: s.Step, gone: gone + time.Duration(at.Nanosecond())}
	d.today, _ = Date{year, month, day}.number()
	return d
}

// number is that of the day in which the middle of a step lies.
func (d dates) number(i int) int {
	const day = 24 * time.Hour
	at := d.gone + time.Duration(i)*d.step + d.step/2
	n := int(at / day)
	if at%day < 0 {
		n--
	}
	return d.today + n
}

// scales are how many times the demand of some days is what it would be else. What is known of such a day is divided by it and what
// is forecast of one multiplied, so that a day that was scaled teaches the others nothing.
type scales struct {
	dates
	times map[int]float64 // by the number of the day
}

// newScales is nil when none of a history's steps, nor of those to come, is on a day that is scaled.
func newScales(s Series, steps int) *scales {
	out := &scales{dates: newDates(s), times: map[int]float64{}}
	first, last := out.number(-len(s.Values)), out.number(steps)
	for date, times := range s.Calendar.Scales {
		if n, _ := date.number(); n >= first && n <= last && times != 1 {
			out.times[n] = times
		}
	}
	if len(out.times) == 0 {
		return nil
	}
	return out
}

// of is by how much the day of a step is scaled.
func (s *scales) of(i int) float64 {
	if times, ok := s.times[s.number(i)]; ok {
		return times
	}
	return 1
}

// unscaled is the history as it would have been else.
func (s *scales) unscaled(values []float64) []float64 {
	out := slices.Clone(values)
	for k := range out {
		out[k] = min(maxValue, out[k]/s.of(k-len(out)))
	}
	return out
}

// put scales a forecast, from the first-th step on; bands are [level][step].
func (s *scales) put(first int, mean []float64, bands [][]float64) {
	for i := range mean {
		times := s.of(first + i)
		mean[i] *= times
		for l := range bands {
			bands[l][i] *= times
		}
	}
}
