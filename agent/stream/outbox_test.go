package stream

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// outbox is a small spool: batches 1 to n, waiting for every store to acknowledge them.
type outbox struct {
	mu     sync.Mutex
	framer telemetry.Framer
	frames []telemetry.Frame
	stores map[string]*box
	change chan struct{}
}

// box is what one store has not answered, in the order in which it is given.
type box struct {
	*outbox
	waiting, given []uint64
	acked, refused []uint64
	pauses         []time.Duration
	streams        int
}

func newOutbox(n int) *outbox {
	o := &outbox{stores: map[string]*box{}, change: make(chan struct{})}
	o.put(n)
	return o
}

// put adds n more batches, each with its sequence as its value.
func (o *outbox) put(n int) {
	o.update(func() {
		for range n {
			sequence := uint64(len(o.frames) + 1)
			end := time.UnixMilli(1_767_312_000_000).Add(time.Duration(sequence) * time.Second)
			o.frames = append(o.frames, o.framer.Frame(telemetry.Batch{Sequence: sequence, Start: end.Add(-time.Second), End: end,
				Readings: []telemetry.Reading{{Device: telemetry.Device{UUID: "GPU-1"}, Values: telemetry.Values{telemetry.Energy: float64(sequence)}}}}))
			for _, b := range o.stores {
				b.waiting = append(b.waiting, sequence)
			}
		}
	})
}

// receiver implements Options.Receiver.
func (o *outbox) receiver(store string) Receiver {
	b := o.store(store)
	o.update(func() { b.streams++ })
	return b
}

func (o *outbox) store(store string) *box {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.stores[store]
	if b == nil {
		b = &box{outbox: o}
		for _, f := range o.frames {
			b.waiting = append(b.waiting, f.Sequence)
		}
		o.stores[store] = b
	}
	return b
}

func (b *box) Next(ctx context.Context) (telemetry.Frame, error) {
	var frame telemetry.Frame
	err := b.wait(ctx, func() bool {
		if len(b.waiting) == 0 || len(b.given) == 64 {
			return false
		}
		frame = b.frames[b.waiting[0]-1]
		b.given, b.waiting = append(b.given, b.waiting[0]), b.waiting[1:]
		return true
	})
	return frame, err
}

func (b *box) take(sequence uint64) {
	b.given = slices.DeleteFunc(b.given, func(n uint64) bool { return n == sequence })
}

func (b *box) Ack(sequence uint64) {
	b.update(func() { b.take(sequence); b.acked = append(b.acked, sequence) })
}

func (b *box) Refuse(sequence uint64) {
	b.update(func() { b.take(sequence); b.refused = append(b.refused, sequence) })
}

func (b *box) Defer(sequence uint64, pause time.Duration) {
	b.update(func() {
		b.take(sequence)
		b.waiting, b.pauses = append(b.waiting, sequence), append(b.pauses, pause)
	})
}

func (b *box) Close() {
	b.update(func() { b.waiting, b.given = append(b.given, b.waiting...), nil })
}

func (b *box) waitEmpty(ctx context.Context) error {
	return b.wait(ctx, func() bool { return len(b.waiting)+len(b.given) == 0 })
}

func (b *box) stats() (waiting, acked, refused int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting) + len(b.given), len(b.acked), len(b.refused)
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
