package stream

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// flight is what was sent on one stream and not answered yet. It bounds how much that is, and notices when no answer comes.
type flight struct {
	slots   chan struct{}
	silence time.Duration
	expired func()

	mu     sync.Mutex
	sent   []uint64 // ascending
	newest uint64
	timer  *time.Timer // runs while anything waits for its answer
}

// newFlight allows limit batches at once and calls expired when there are some and nothing was heard for silence.
func newFlight(limit int, silence time.Duration, expired func()) *flight {
	return &flight{slots: make(chan struct{}, limit), silence: silence, expired: expired}
}

// add notes a batch that is about to be sent; a slot must have been taken for it.
func (f *flight) add(sequence uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, sequence)
	f.newest = sequence
	if len(f.sent) == 1 {
		f.rearm()
	}
}

// answered gives back the slots of everything up to the sequence.
func (f *flight) answered(sequence uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if sequence > f.newest {
		return fmt.Errorf("the aggregator acknowledged batch %d, but only %d were sent", sequence, f.newest)
	}
	n := 0
	for n < len(f.sent) && f.sent[n] <= sequence {
		n++
	}
	f.release(0, n)
	return nil
}

// refused gives back the slot of one batch, and reports whether it had one.
func (f *flight) refused(sequence uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, found := slices.BinarySearch(f.sent, sequence)
	if found {
		f.release(i, i+1)
	}
	return found
}

func (f *flight) release(from, to int) {
	f.sent = slices.Delete(f.sent, from, to)
	for range to - from {
		<-f.slots
	}
	f.rearm()
}

func (f *flight) rearm() {
	if f.timer != nil {
		f.timer.Stop()
	}
	if len(f.sent) > 0 {
		f.timer = time.AfterFunc(f.silence, f.expired)
	}
}

func (f *flight) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = nil
	f.rearm()
}
