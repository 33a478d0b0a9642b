package simulate

import (
	"slices"
	"time"
)

// queue is moments in the order of time.
type queue struct{ at []time.Time }

func (q *queue) len() int { return len(q.at) }

// put adds a moment where it belongs; most belong at the end.
func (q *queue) put(t time.Time) {
	i := len(q.at)
	for i > 0 && q.at[i-1].After(t) {
		i--
	}
	q.at = slices.Insert(q.at, i, t)
}

// until takes out the moments up to now, and returns how many they were.
func (q *queue) until(now time.Time) int {
	n := 0
	for n < len(q.at) && !q.at[n].After(now) {
		n++
	}
	if n > 0 {
		q.at = append(q.at[:0], q.at[n:]...)
	}
	return n
}

// dropLast takes out the latest.
func (q *queue) dropLast() { q.at = q.at[:len(q.at)-1] }
