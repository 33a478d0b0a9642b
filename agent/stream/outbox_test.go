package stream

import (
	"context"
	"slices"
	"sync"

	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

// outbox is a small spool: batches 1 to n, waiting to be acknowledged.
type outbox struct {
	mu             sync.Mutex
	waiting        []uint64
	acked, refused int
	change         chan struct{}
}

func newOutbox(n int) *outbox {
	o := &outbox{change: make(chan struct{})}
	for i := range n {
		o.waiting = append(o.waiting, uint64(i+1))
	}
	return o
}

func (o *outbox) put(sequence uint64) {
	o.update(func() { o.waiting = append(o.waiting, sequence) })
}

func (o *outbox) Next(ctx context.Context, after uint64) (*telemetrypb.Batch, error) {
	var next uint64
	err := o.wait(ctx, func() bool {
		i := slices.IndexFunc(o.waiting, func(n uint64) bool { return n > after })
		if i >= 0 {
			next = o.waiting[i]
		}
		return i >= 0
	})
	return &telemetrypb.Batch{Sequence: next, StartUnixMilliseconds: 1, EndUnixMilliseconds: 2}, err
}

func (o *outbox) Ack(sequence uint64) {
	o.update(func() {
		o.acked += len(o.waiting)
		o.waiting = slices.DeleteFunc(o.waiting, func(n uint64) bool { return n <= sequence })
		o.acked -= len(o.waiting)
	})
}

func (o *outbox) Refuse(sequence uint64) {
	o.update(func() {
		o.refused += len(o.waiting)
		o.waiting = slices.DeleteFunc(o.waiting, func(n uint64) bool { return n == sequence })
		o.refused -= len(o.waiting)
	})
}

func (o *outbox) waitEmpty(ctx context.Context) error {
	return o.wait(ctx, func() bool { return len(o.waiting) == 0 })
}

func (o *outbox) stats() (waiting, acked, refused int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting), o.acked, o.refused
}

func (o *outbox) update(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
	close(o.change)
	o.change = make(chan struct{})
}

func (o *outbox) wait(ctx context.Context, holds func() bool) error {
	for {
		o.mu.Lock()
		done, change := holds(), o.change
		o.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-change:
		}
	}
}
