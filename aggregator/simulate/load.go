package simulate

import (
	"math"
	"time"
)

// load is the work that is offered, and what became of it: what came first is served first.
type load struct {
	trace Trace
	step  time.Duration

	waiting float64 // GPU seconds
	oldest  int     // the step in which the oldest of what waits was offered
	taken   float64 // what of that step is served, GPU seconds

	offered, served float64 // GPU seconds
	short           time.Duration
	waited          float64 // GPU seconds of work times the seconds that it waited
	longest         time.Duration
}

// at is what is offered in a step, in GPUs.
func (l *load) at(step int) float64 {
	if v := l.trace.Offered[step]; !math.IsNaN(v) {
		return v
	}
	return 0
}

// serve lets a step go by in which so many GPUs serve, and returns how many were busy. Within a step all rates are constant, so that what
// waits grows or shrinks along a line.
func (l *load) serve(step int, capacity float64) (busy float64) {
	seconds, offered, before := l.step.Seconds(), l.at(step), l.waiting
	done := min(before+offered*seconds, capacity*seconds)
	l.waiting = before + offered*seconds - done
	if l.waiting < 1e-9 {
		l.waiting = 0
	}
	l.offered, l.served = l.offered+offered*seconds, l.served+done
	switch {
	case l.waiting > 0:
		l.short += l.step
		l.waited += (before + l.waiting) / 2 * seconds
		l.take(done, step)
		l.longest = max(l.longest, l.age(step))
	case before > 0: // until nothing waits any more
		until := min(seconds, before/(capacity-offered))
		l.short += time.Duration(until * float64(time.Second))
		l.waited += before / 2 * until
		l.oldest, l.taken = step+1, 0
	default:
		l.oldest, l.taken = step+1, 0
	}
	return done / seconds
}

// take serves the oldest work, of the steps up to this one.
func (l *load) take(done float64, step int) {
	for l.oldest < step {
		left := l.at(l.oldest)*l.step.Seconds() - l.taken
		if done < left {
			break
		}
		done -= left
		l.oldest, l.taken = l.oldest+1, 0
	}
	l.taken += done
}

// age is how long the oldest work has waited at the end of a step.
func (l *load) age(step int) time.Duration {
	for l.oldest < step && l.at(l.oldest) == 0 {
		l.oldest++
	}
	age := time.Duration(step+1-l.oldest) * l.step
	if amount := l.at(l.oldest) * l.step.Seconds(); amount > 0 {
		age -= time.Duration(min(1, l.taken/amount) * float64(l.step))
	}
	return age
}

// result is what came of the load.
func (l *load) result() Result {
	const hour = 3600
	r := Result{Short: l.short, LongestWait: l.longest, Offered: l.offered / hour, Served: l.served / hour, Waiting: l.waiting / hour}
	if l.offered > 0 {
		r.Wait = time.Duration(l.waited / l.offered * float64(time.Second))
	}
	return r
}
