package dcgm

import "time"

// backoff says when to try again: after first, then after twice as long each time, up to last.
type backoff struct {
	first, last time.Duration
	wait        time.Duration
	next        time.Time
}

func (b *backoff) due(now time.Time) bool { return b.wait == 0 || !now.Before(b.next) }

func (b *backoff) failed(now time.Time) {
	b.wait = min(max(2*b.wait, b.first), b.last)
	b.next = now.Add(b.wait)
}

func (b *backoff) succeeded() { b.wait, b.next = 0, time.Time{} }
