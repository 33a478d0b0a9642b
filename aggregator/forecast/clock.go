package forecast

import (
	"math"
	"time"
)

// clock is where UTC offsets change. It lays a history on the wall clock, on which habits stay where they are, and takes what was
// forecast there back. Both count from the end of the history, where they agree. An empty clock never changes.
type clock []stretch

// stretch is a time of one UTC offset.
type stretch struct {
	from, to time.Duration // real time since the end of the history
	ahead    time.Duration // of the wall clock, by what it is at the end of the history
}

// newClock finds the stretches of a series and of so many steps after it; none where no offset changes there.
func newClock(s Series, steps int) clock {
	location := s.Calendar.Location
	if location == nil {
		return nil
	}
	offset := func(t time.Time) time.Duration {
		_, seconds := t.In(location).Zone()
		return time.Duration(seconds) * time.Second
	}
	var c clock
	last, now := s.End.Add(time.Duration(steps)*s.Step), offset(s.End)
	for t := s.End.Add(-time.Duration(len(s.Values)) * s.Step); t.Before(last); {
		_, until := t.In(location).ZoneBounds()
		if until.IsZero() || until.After(last) {
			until = last
		}
		next := stretch{t.Sub(s.End), until.Sub(s.End), offset(t) - now}
		if k := len(c) - 1; k >= 0 && c[k].ahead == next.ahead { // only the name of the zone changed
			c[k].to = next.to
		} else {
			c = append(c, next)
		}
		t = until
	}
	if len(c) < 2 {
		return nil
	}
	c.spare(s.Step, -time.Duration(silent(s.Values))*s.Step)
	return c
}

// spare moves changes back so far that what was known last, up to known, ends where it does: else an hour that is skipped would part
// it from the present, and of one that comes twice the newest half would be hidden behind the first.
func (c clock) spare(step, known time.Duration) {
	for k := len(c) - 1; k > 0; k-- {
		if c[k].from > 0 {
			continue
		}
		jump := max(step, (c[k].ahead - c[k-1].ahead).Abs())
		c[k].from = max(c[0].from, min(c[k].from, known-jump, c[k].to))
		c[k-1].to = c[k].from
	}
}

// silent is the number of missing values at the end.
func silent(values []float64) int {
	n := 0
	for n < len(values) && math.IsNaN(values[len(values)-1-n]) {
		n++
	}
	return n
}

// wall lays values on the wall clock. What is skipped is missing, what comes twice is the mean of both.
func (c clock) wall(values []float64, step time.Duration) []float64 {
	if c == nil {
		return values
	}
	start, longest := time.Duration(len(values))*step, time.Duration(0)
	for _, s := range c {
		if s.from < min(s.to, 0) {
			longest = max(longest, -s.from-s.ahead)
		}
	}
	out := make([]float64, (longest+step-1)/step)
	for i := range out {
		from := time.Duration(i-len(out)) * step
		sum, share := 0.0, 0.0
		for _, s := range c {
			add, known := area(values, step, start+max(s.from, from-s.ahead), start+min(s.to, 0, from+step-s.ahead))
			sum, share = sum+add, share+known
		}
		if out[i] = math.NaN(); share >= 0.5 {
			out[i] = sum / share
		}
	}
	return out
}

// saturated is wall for what saturates: a step does where a part of it did.
func (c clock) saturated(steps []bool, step time.Duration) []bool {
	if c == nil || steps == nil {
		return steps
	}
	shares := make([]float64, len(steps))
	for i, is := range steps {
		if is {
			shares[i] = 1
		}
	}
	out := make([]bool, 0, len(steps))
	for _, share := range c.wall(shares, step) {
		out = append(out, share > 0)
	}
	return out
}

// until is how many of the next n steps end before an offset changes; at least one.
func (c clock) until(n int, step time.Duration) int {
	for _, s := range c {
		if s.from > 0 {
			n = min(n, int(s.from/step))
		}
	}
	return max(1, n)
}

// steps is how many steps by the wall clock it takes to forecast n.
func (c clock) steps(n int, step time.Duration) int {
	end := time.Duration(n) * step
	longest := end
	for _, s := range c {
		if s.from < end {
			longest = max(longest, min(s.to, end)+s.ahead)
		}
	}
	return int((longest + step - 1) / step)
}

// real takes n steps of a path back from the wall clock. Its first step is the first-th after the end of the history.
func (c clock) real(path []float64, first, n int, step time.Duration) []float64 {
	out := make([]float64, n)
	start := time.Duration(first) * step
	for i := range out {
		begin := start + time.Duration(i)*step
		sum, share := 0.0, 0.0
		for _, s := range c {
			from, to := max(s.from, begin)-start, min(s.to, begin+step)-start
			if from+s.ahead >= 0 { // an hour that comes twice, and of which the first is over, is like what would follow it
				from, to = from+s.ahead, to+s.ahead
			}
			add, known := area(path, step, from, to)
			sum, share = sum+add, share+known
		}
		out[i] = sum / share
	}
	return out
}

// area adds up what is known of a path over [from, to), which count from its first step: each value times the share of its step
// that lies within, and these shares.
func area(path []float64, step, from, to time.Duration) (sum, share float64) {
	for i := max(0, int(from/step)); i < len(path) && time.Duration(i)*step < to; i++ {
		begin := time.Duration(i) * step
		within := float64(min(to, begin+step)-max(from, begin)) / float64(step)
		if within > 0 && !math.IsNaN(path[i]) {
			sum += within * path[i]
			share += within
		}
	}
	return sum, share
}
