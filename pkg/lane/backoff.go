package lane

import "time"

// Backoff says when to try again: after First, then after twice as long each time, up to Last.
type Backoff struct {
	First, Last time.Duration
	wait        time.Duration
	next        time.Time
}

// Idle reports whether nothing failed since the last success.
func (b *Backoff) Idle() bool { return b.wait == 0 }

// Due reports whether it is time to try.
func (b *Backoff) Due(now time.Time) bool { return b.Idle() || !now.Before(b.next) }

// Failed puts the next try off.
func (b *Backoff) Failed(now time.Time) {
	b.wait = min(max(2*b.wait, b.First), b.Last)
	b.next = now.Add(b.wait)
}

// Wait is the pause that began with the last failure; 0 when nothing failed.
func (b *Backoff) Wait() time.Duration { return b.wait }

// Succeeded begins anew.
func (b *Backoff) Succeeded() { b.wait, b.next = 0, time.Time{} }
