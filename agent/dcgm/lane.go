package dcgm

import (
	"context"
	"time"
)

// lane runs one job at a time on a goroutine of its own: a call of the library that hangs cannot be interrupted, only left
// behind. What the job works with is the job's until it has ended.
type lane struct {
	result chan outcome // of the running job; nil when there is none
	began  time.Time
}

// start begins the job, and reports whether it could: not while the one before is still running. The result of a job that
// nobody waited for to its end is dropped.
func (l *lane) start(now time.Time, job func() outcome) bool {
	if l.busy() {
		return false
	}
	result := make(chan outcome, 1)
	l.result, l.began = result, now
	go func() { result <- job() }()
	return true
}

func (l *lane) busy() bool {
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

// wait returns the result of the running job, or false when ctx ends first.
func (l *lane) wait(ctx context.Context) (outcome, bool) {
	select {
	case got := <-l.result:
		l.result = nil
		return got, true
	case <-ctx.Done():
		return outcome{}, false
	}
}
