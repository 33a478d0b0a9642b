// Package lane keeps apart what may hang: a call into a driver or a library cannot be interrupted, only left behind. A [Lane] holds one such
// job at a time, a [Crew] runs the jobs of many lanes, a [Backoff] says when to try again.
package lane

import (
	"context"
	"time"
)

// patience is how long one job of a crew may keep the others waiting. Reading a GPU takes well below a millisecond, so that one goroutine
// reads all; one that takes longer is left to its goroutine, and another goes on with the rest.
const patience = 20 * time.Millisecond

// Lane holds one job at a time, which runs on a goroutine apart. Its methods are called from one goroutine at a time. What the job works with is the job's until it has ended.
type Lane[T any] struct {
	result chan T // of the running job; nil when there is none
	began  time.Time
}

// Job is what waits to be run in a lane.
type Job struct {
	run func()
	// abandon forgets a job that nobody has begun.
	abandon func()
}

// Start begins the work on a goroutine of its own, and reports whether it could: not while the one before is still running.
func (l *Lane[T]) Start(now time.Time, work func() T) bool {
	if l.Busy() {
		return false
	}
	go l.Prepare(now, work).run()
	return true
}

// Prepare returns the work as a job, which counts as running from now on. The lane must not be busy.
func (l *Lane[T]) Prepare(now time.Time, work func() T) Job {
	result := make(chan T, 1)
	l.result, l.began = result, now
	return Job{run: func() { result <- work() }, abandon: func() { l.result = nil }}
}

// Pending reports whether there is a job, running or with a result that nobody has taken.
func (l *Lane[T]) Pending() bool { return l.result != nil }

// Began is when the newest job was begun.
func (l *Lane[T]) Began() time.Time { return l.began }

// Busy reports whether a job is running. A result that nobody waited for to its end is kept until it is taken.
func (l *Lane[T]) Busy() bool { return l.result != nil && len(l.result) == 0 }

// Take returns the result that came after its time, if there is one.
func (l *Lane[T]) Take() (T, bool) {
	if len(l.result) == 0 {
		var none T
		return none, false
	}
	got := <-l.result
	l.result = nil
	return got, true
}

// Wait returns the result of the running job, or false when ctx ends first. It reinforces the crew, if there is one, each time that
// its patience has ended.
func (l *Lane[T]) Wait(ctx context.Context, c *Crew) (T, bool) {
	var impatient <-chan time.Time
	if c != nil {
		impatient = c.impatience.C
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
	return l.Take() // both may have come at once
}

// Crew runs jobs: one goroutine all of them, unless it is told that one takes long.
type Crew struct {
	jobs       chan Job
	impatience *time.Ticker
}

// NewCrew begins with the jobs.
func NewCrew(jobs []Job) *Crew {
	c := &Crew{make(chan Job, len(jobs)), time.NewTicker(patience)}
	for _, j := range jobs {
		c.jobs <- j
	}
	close(c.jobs)
	c.reinforce()
	return c
}

// reinforce adds a goroutine for the jobs that nobody has begun.
func (c *Crew) reinforce() {
	if len(c.jobs) == 0 {
		return
	}
	go func() {
		for j := range c.jobs {
			j.run()
		}
	}()
}

// Dismiss ends the crew's work: it abandons the jobs that nobody has begun, and returns how many they were.
func (c *Crew) Dismiss() int {
	c.impatience.Stop()
	n := 0
	for j := range c.jobs {
		j.abandon()
		n++
	}
	return n
}
