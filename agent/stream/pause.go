package stream

import (
	"context"
	"math/rand/v2"
	"time"
)

// untilNext is the time to the next look-up when no stream breaks: about unknown while nothing is known at some address, and when
// the streams that are leaving may end if there are any.
func untilNext(unknown time.Duration, leaving bool) time.Duration {
	switch {
	case unknown > 0:
		return between(unknown, 2*unknown)
	case leaving:
		return between(vanishedFor, vanishedFor*6/5)
	}
	return between(lookUpEvery*4/5, lookUpEvery*6/5)
}

// between is a random pause of low to high: what happens to many agents at one moment they shall not answer at one moment.
func between(low, high time.Duration) time.Duration { return low + rand.N(high-low+1) }

// sleep returns after the pause, or when ctx ends, or earlier with true when it is woken.
func sleep(ctx context.Context, pause time.Duration, wake <-chan struct{}) (woken bool) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-wake:
		return true
	}
	return false
}
