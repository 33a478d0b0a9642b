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

// start begins the job on a goroutine of its own, and reports whether it could: not while the one before is still running.
func (l *lane[T]) start(now time.Time, job func() T) bool {
	run := l.prepare(now, job)
	if run == nil {
		return false
	}
	go run()
	return true
}

// prepare returns what runs the job, which counts as running from now on; nil while the one before is still running. The result of a
// job that nobody waited for to its end is dropped.
func (l *lane[T]) prepare(now time.Time, job func() T) (run func()) {
	if l.busy() {
		return nil
	}
	result := make(chan T, 1)
	l.result, l.began = result, now
	return func() { result <- job() }
}

// busy reports whether a job is running.
func (l *lane[T]) busy() bool {
	if l.result == nil {
		return false
	}
	select {
	case <-l.result:
		l.result = nil
		return false
	default:
		return true
	}
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
	select { // both may have come at once
	case got := <-l.result:
		l.result = nil
		return got, true
	default:
		var none T
		return none, false
	}
}

// crew runs jobs: one goroutine all of them, unless it is told that one takes long.
type crew struct{ jobs chan func() }

// newCrew begins with the jobs.
func newCrew(jobs []func()) *crew {
	c := &crew{make(chan func(), len(jobs))}
	for _, job := range jobs {
		c.jobs <- job
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
		for job := range c.jobs {
			job()
		}
	}()
}
