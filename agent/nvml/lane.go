package nvml

import (
	"context"
	"time"
)

// patience is how long one GPU may keep the others waiting. Reading takes well below a millisecond for most of them, so that one
// goroutine reads all; one that takes longer is left to its goroutine, and another goes on with the rest.
const patience = 20 * time.Millisecond

// lane holds one job at a time, which runs on a goroutine apart: a call that hangs in the driver cannot be interrupted, only left
// behind. What the job works with is the job's until it has ended.
type lane[T any] struct {
	result chan T // of the running job; nil when there is none
	began  time.Time
}

// job is what waits to be run in a lane.
type job struct {
	run func()
	// abandon forgets a job that nobody has begun.
	abandon func()
}

// start begins the work on a goroutine of its own, and reports whether it could: not while the one before is still running.
func (l *lane[T]) start(now time.Time, work func() T) bool {
	if l.busy() {
		return false
	}
	go l.prepare(now, work).run()
	return true
}

// prepare returns the work as a job, which counts as running from now on. The lane must not be busy.
func (l *lane[T]) prepare(now time.Time, work func() T) job {
	result := make(chan T, 1)
	l.result, l.began = result, now
	return job{run: func() { result <- work() }, abandon: func() { l.result = nil }}
}

// busy reports whether a job is running. A result that nobody waited for to its end is kept until it is taken.
func (l *lane[T]) busy() bool { return l.result != nil && len(l.result) == 0 }

// take returns the result that came after its time, if there is one.
func (l *lane[T]) take() (T, bool) {
	if l.result == nil || len(l.result) == 0 {
		var none T
		return none, false
	}
	got := <-l.result
	l.result = nil
	return got, true
}

// wait returns the result of the running job, or false when ctx ends first. It reinforces the crew, if there is one, each time that
// its patience has ended.
func (l *lane[T]) wait(ctx context.Context, c *crew) (T, bool) {
	var impatient <-chan time.Time
	if c != nil && len(c.jobs) > 0 {
		ticker := time.NewTicker(patience)
		defer ticker.Stop()
		impatient = ticker.C
	}
	for ctx.Err() == nil {
		select {
		case got := <-l.result:
			l.result = nil
			return got, true
		case <-impatient:
			c.reinforce()
		case <-ctx.Done():
		}
	}
	return l.take() // both may have come at once
}

// crew runs jobs: one goroutine all of them, unless it is told that one takes long.
type crew struct{ jobs chan job }

// newCrew begins with the jobs.
func newCrew(jobs []job) *crew {
	c := &crew{make(chan job, len(jobs))}
	for _, j := range jobs {
		c.jobs <- j
	}
	close(c.jobs)
	c.reinforce()
	return c
}

// reinforce adds a goroutine for the jobs that nobody has begun.
func (c *crew) reinforce() {
	if len(c.jobs) == 0 {
		return
	}
	go func() {
		for j := range c.jobs {
			j.run()
		}
	}()
}

// dismiss abandons the jobs that nobody has begun, and returns how many they were.
func (c *crew) dismiss() int {
	n := 0
	for j := range c.jobs {
		j.abandon()
		n++
	}
	return n
}
