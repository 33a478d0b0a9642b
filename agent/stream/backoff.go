package stream

import "time"

const (
	waitFirst = 500 * time.Millisecond
	waitLast  = 30 * time.Second
)

// backoff is the pause before the next attempt: twice the one before, within [waitFirst, waitLast].
type backoff struct{ wait time.Duration }

// next returns the pause, of which the random number in [0, 1) takes up to half away: agents that lost the aggregator at the
// same moment shall not come back at the same moment.
func (b *backoff) next(random float64) time.Duration {
	b.wait = min(max(2*b.wait, waitFirst), waitLast)
	return b.wait - time.Duration(random*float64(b.wait/2))
}

func (b *backoff) reset() { b.wait = 0 }
