package stream

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// flight is what was sent on one stream and not answered yet. It notices when an answer does not come, and remembers what the
// aggregator can read.
type flight struct {
	expired func()

	mu   sync.Mutex
	sent []sent      // in the order they were sent
	wait *time.Timer // runs while anything waits for its answer
	// generation counts the key frames that were asked for and sent; keyWanted is that the next frame must be one.
	generation int
	keyWanted  bool
}

// sent is one batch on its way.
type sent struct {
	sequence   uint64
	at         time.Time
	generation int
}

// newFlight calls expired when a batch has waited for its answer for [maxSilence].
func newFlight(expired func()) *flight { return &flight{expired: expired} }

// add notes a batch that is about to be sent, and reports whether it must be a key frame.
func (f *flight) add(sequence uint64) (key bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if key = f.keyWanted; key {
		f.generation++
		f.keyWanted = false
	}
	f.sent = append(f.sent, sent{sequence, time.Now(), f.generation})
	if len(f.sent) == 1 {
		f.rearm()
	}
	return key
}

// answered takes a batch out. When the answer says that a key frame is needed, the next is one, unless one was sent since.
func (f *flight) answered(sequence uint64, needsKey bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.sent, func(s sent) bool { return s.sequence == sequence })
	if i < 0 {
		return fmt.Errorf("the aggregator answered batch %d, which does not wait for an answer", sequence)
	}
	if needsKey && f.sent[i].generation == f.generation {
		f.keyWanted = true
	}
	f.sent = slices.Delete(f.sent, i, i+1)
	if i == 0 {
		f.rearm()
	}
	return nil
}

// rearm waits for the answer that has been due the longest.
func (f *flight) rearm() {
	if f.wait != nil {
		f.wait.Stop()
	}
	if len(f.sent) > 0 {
		f.wait = time.AfterFunc(maxSilence-time.Since(f.sent[0].at), f.expired)
	}
}

func (f *flight) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = nil
	f.rearm()
}
