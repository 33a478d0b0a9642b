package query

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// errBusy means: nobody more may wait.
var errBusy = errors.New("too many requests are waiting already: try again in a moment")

// gate lets a number of requests run at the same time and a number wait, first come, first served.
type gate struct {
	places     chan struct{}
	maxWaiting int64
	waiting    atomic.Int64
}

func newGate(places, maxWaiting int) *gate {
	return &gate{places: make(chan struct{}, places), maxWaiting: int64(maxWaiting)}
}

// enter takes a place until leave is called. Errors: errBusy at once when too many wait, and the context's when it ends while
// this one waits.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { <-g.places }
	select {
	case g.places <- struct{}{}:
		return leave, nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.maxWaiting {
		return nil, errBusy
	}
	select {
	case g.places <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for one of %d places: %w", cap(g.places), ctx.Err())
	}
}
