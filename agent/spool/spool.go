// Package spool keeps the batches that the aggregator has not acknowledged.
//
//	batch → sequence → bounded queue → next, again after a reconnect → acknowledged: forgotten
//
// It is bounded in batches and in bytes: when it is full the oldest batch is dropped and counted. Batches are kept in their wire form, a few hundred
// bytes per device, so that a long outage costs little memory.
package spool

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

// DefaultMaxBatches is an hour at one batch a second.
const DefaultMaxBatches = 3600

// MaxBytes bounds what the kept batches are on the wire together. An hour of 8 GPUs, each held by a pod, is half of it (2.3 kB
// a second); many more devices, or long problems in every batch, are more, and the agent's memory is limited.
const MaxBytes = 16 << 20

// Spool may be used by several goroutines at once.
type Spool struct {
	session  string
	max      int
	maxBytes int

	mu     sync.Mutex
	last   uint64 // sequence of the newest batch put in
	queue  []entry
	change chan struct{} // closed and replaced whenever the queue changes
	stats  Stats
}

type entry struct {
	sequence uint64
	wire     []byte
}

// Stats counts what became of the batches.
type Stats struct {
	// Batches are in the spool now.
	Batches int
	// Bytes is their size on the wire.
	Bytes int
	// Dropped were pushed out by newer ones, or could not be kept at all.
	Dropped uint64
	// Refused were not taken by the aggregator and never will be.
	Refused uint64
	// Acknowledged are durable at the aggregator.
	Acknowledged uint64
}

// New returns an empty spool of at most maxBatches batches (at least 1) and [MaxBytes] with a session of its own.
func New(maxBatches int) *Spool {
	return &Spool{session: rand.Text(), max: max(maxBatches, 1), maxBytes: MaxBytes, change: make(chan struct{})}
}

// Session is the random word that tells this spool's sequences from those of any other.
func (s *Spool) Session() string { return s.session }

// Put gives the batch the next sequence and keeps it.
func (s *Spool) Put(b telemetry.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	b.Sequence = s.last
	// The one thing that cannot be put on the wire is text that is not UTF-8.
	wire, err := proto.Marshal(telemetry.ToProto(b))
	if err != nil || len(wire) > s.maxBytes {
		s.stats.Dropped++
		return
	}
	for len(s.queue) == s.max || s.stats.Bytes+len(wire) > s.maxBytes {
		s.stats.Dropped++
		s.removeAt(0)
	}
	s.queue = append(s.queue, entry{s.last, wire})
	s.stats.Bytes += len(wire)
	s.announce()
}

// Next returns the oldest batch with a sequence above after, waiting for one until ctx ends. Going on from the sequence it
// returned gives the following one; going on from 0 begins again with everything that is not acknowledged.
func (s *Spool) Next(ctx context.Context, after uint64) (*telemetrypb.Batch, error) {
	for {
		wire, change := s.find(after)
		if wire != nil {
			var b telemetrypb.Batch
			if err := proto.Unmarshal(wire, &b); err != nil {
				return nil, fmt.Errorf("batch after %d in the spool: %w", after, err)
			}
			return &b, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-change:
		}
	}
}

func (s *Spool) find(after uint64) ([]byte, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.indexAbove(after); i < len(s.queue) {
		return s.queue[i].wire, nil
	}
	return nil, s.change
}

// Ack forgets every batch up to and including the sequence.
func (s *Spool) Ack(sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.indexAbove(sequence)
	if n == 0 {
		return
	}
	for _, e := range s.queue[:n] {
		s.stats.Bytes -= len(e.wire)
	}
	s.queue = slices.Delete(s.queue, 0, n)
	s.stats.Acknowledged += uint64(n)
	s.announce()
}

// Refuse forgets one batch that the aggregator will never take.
func (s *Spool) Refuse(sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.indexAbove(sequence - 1)
	if sequence == 0 || i == len(s.queue) || s.queue[i].sequence != sequence {
		return
	}
	s.removeAt(i)
	s.stats.Refused++
	s.announce()
}

// WaitEmpty returns when there is nothing left to send, or when ctx ends.
func (s *Spool) WaitEmpty(ctx context.Context) error {
	for {
		s.mu.Lock()
		left, change := len(s.queue), s.change
		s.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d batches are left: %w", left, ctx.Err())
		case <-change:
		}
	}
}

// Stats returns the counts.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.Batches = len(s.queue)
	return out
}

// indexAbove returns where the first entry above the sequence is, which is the length when there is none.
func (s *Spool) indexAbove(sequence uint64) int {
	i, found := slices.BinarySearchFunc(s.queue, sequence, func(e entry, sequence uint64) int {
		switch {
		case e.sequence < sequence:
			return -1
		case e.sequence > sequence:
			return 1
		}
		return 0
	})
	if found {
		i++
	}
	return i
}

func (s *Spool) removeAt(i int) {
	s.stats.Bytes -= len(s.queue[i].wire)
	s.queue = slices.Delete(s.queue, i, i+1)
}

func (s *Spool) announce() {
	close(s.change)
	s.change = make(chan struct{})
}
