// Package spool keeps the batches that the aggregators have not acknowledged.
//
//	batch → sequence → frame → segment ─┬→ memory (the newest) ─┬→ one cursor per aggregator → answered by all: forgotten
//	                                    └→ file   (all)     ────┘
//
// Frames are kept as they travel, each as the difference to the one before, a few kB per batch of eight busy GPUs. With a
// folder they survive a restart of the agent. Everything is bounded: what is oldest is dropped first, and counted.
package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// The defaults of [Options]. An aggregator takes batches of the last two hours.
const (
	DefaultMaxMemoryBytes = 16 << 20
	DefaultMaxDiskBytes   = 256 << 20
	DefaultMaxAge         = 90 * time.Minute
)

const (
	// cacheBytes is how much of what the files have is kept in memory as well: an aggregator that answers never has one read.
	cacheBytes = 1 << 20
	// settling is how much longer than a receiver a batch is remembered, so that what was on its way to a replica that never
	// came back is not called dropped.
	settling = 2 * time.Minute
	// aMoment is how long a broken stream takes to be made anew, at most.
	aMoment = time.Minute
)

// Options configures a [Spool]. What is zero takes its default.
type Options struct {
	// Path is the folder for the files, which is made; empty keeps everything in memory. While it cannot be used everything is
	// in memory, too.
	Path string
	// MaxMemoryBytes bounds what is in memory only. It has to do for everything where there is no folder, or the disk fails.
	MaxMemoryBytes int
	// MaxDiskBytes bounds what is in files.
	MaxDiskBytes int
	// MaxAge is how long a batch is kept, and how long a receiver is waited for.
	MaxAge time.Duration
	Logger *slog.Logger
}

// Spool may be used by several goroutines at once.
type Spool struct {
	o       Options
	session string
	disk    *disk // nil without a folder

	mu      sync.Mutex
	framer  telemetry.Framer
	encoder telemetry.Encoder
	last    uint64 // the sequence given last
	// floor is below the sequences of this run as long as there may be others in a folder that cannot be used; then it is 0.
	floor     uint64
	newest    telemetry.Frame // what most cursors want next
	segments  []*segment      // ascending; never an empty one
	receivers map[string]*receiver
	// done are the batches that every receiver there was has answered.
	done   spans
	stats  Stats
	unfit  bool          // the last batch could not be kept
	change chan struct{} // closed and replaced whenever something is to be looked at again
}

// Stats counts what became of the batches.
type Stats struct {
	// Batches are those in the spool that some receiver has not answered; without any receiver all.
	Batches int
	// Bytes is the size of the segments they are in, MemoryBytes what is in memory of all there are, and DiskBytes in files:
	// less than Bytes while the disk fails.
	Bytes, MemoryBytes, DiskBytes int
	// OldestAge is how long ago the oldest of them came; zero when there is none.
	OldestAge time.Duration
	// Dropped were pushed out by newer ones or too old before every receiver had answered, or could not be kept or read back at all.
	Dropped uint64
	// Refused counts the refusals: an aggregator did not take a batch and never will.
	Refused uint64
	// Acknowledged are durable at one receiver at least, settled are answered by all.
	Acknowledged, settled uint64
	// Deferred counts how often an aggregator could not take a batch yet.
	Deferred uint64
}

// Open takes over what is in the folder. An error means that another process uses it, or that the path is no folder's; a disk
// that fails is said, and used once it works.
func Open(o Options) (*Spool, error) {
	if o.MaxMemoryBytes == 0 {
		o.MaxMemoryBytes = DefaultMaxMemoryBytes
	}
	if o.MaxDiskBytes == 0 {
		o.MaxDiskBytes = DefaultMaxDiskBytes
	}
	if o.MaxAge == 0 {
		o.MaxAge = DefaultMaxAge
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Spool{o: o, receivers: map[string]*receiver{}, change: make(chan struct{})}
	if o.Path == "" {
		s.session = newSession()
		return s, nil
	}
	s.disk = newDisk(o.Path, o.Logger)
	err := s.attach()
	if errors.Is(err, errInUse) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("spool in %q: %w", o.Path, err)
	}
	if s.session == "" {
		s.session, s.floor = newSession(), runAt(time.Now())
		s.last = s.floor
	}
	s.tell(err)
	go s.keep()
	return s, nil
}

// Session is the random word that tells this spool's sequences from those of any other. It stays as long as the folder does.
func (s *Spool) Session() string { return s.session }

// Put gives the batch the next sequence and keeps it. It does not wait for the disk.
func (s *Spool) Put(b telemetry.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	b.Sequence = s.last + 1
	if frame := s.framer.Frame(b); s.add(frame, now) {
		s.last, s.newest = b.Sequence, frame
	}
	s.bound(now)
	s.announce()
	s.poke()
}

// add writes the frame to the current segment. One that cannot be written is dropped alone.
func (s *Spool) add(frame telemetry.Frame, now time.Time) bool {
	g := s.current()
	if g == nil || g.full() {
		s.seal()
		s.encoder.Reset()
		g = &segment{first: frame.Sequence, began: now}
	}
	data, err := appendRecord(g.data, s.encoder.Encode(frame))
	if n := len(data) - len(g.data); err == nil && n > min(s.o.MaxMemoryBytes, maxRecord) {
		err = fmt.Errorf("it has %d bytes", n)
	}
	if err != nil {
		s.encoder.Reset() // it went on without the segment
		s.stats.Dropped++
		if !s.unfit {
			s.o.Logger.Warn("a batch cannot be kept, it is dropped; the next that can be ends this", "error", err)
		}
		s.unfit = true
		return false
	}
	s.unfit = false
	g.data, g.size, g.last, g.put = data, len(data), frame.Sequence, now
	if g.len() == 1 {
		s.segments = append(s.segments, g)
	}
	return true
}

// current is the segment that is added to; nil when there is none.
func (s *Spool) current() *segment {
	if n := len(s.segments); n > 0 && !s.segments[n-1].sealed {
		return s.segments[n-1]
	}
	return nil
}

// seal ends the current segment.
func (s *Spool) seal() {
	if g := s.current(); g != nil {
		g.sealed, g.data = true, bytes.Clone(g.data) // without the room to grow
		s.leaveIfDone(len(s.segments) - 1)
	}
}

// WaitEmpty returns when every receiver that is connected, or was a moment ago, has answered everything, or when ctx ends. While
// there is none it waits for one, unless nothing is left.
func (s *Spool) WaitEmpty(ctx context.Context) error {
	for {
		s.mu.Lock()
		left, change := s.left(time.Now()), s.change
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

// left is how many batches the receiver that is furthest behind has not answered; without one, all that wait.
func (s *Spool) left(now time.Time) int {
	left, found := 0, false
	for _, r := range s.receivers {
		if r.cursors > 0 || now.Sub(r.seen) < aMoment {
			found = true
			left = max(left, s.missingOf(r.answered))
		}
	}
	if !found {
		return s.missingOf(s.done)
	}
	return left
}

// missingOf is how many batches there are that are not in a set.
func (s *Spool) missingOf(of spans) int {
	n := 0
	for _, g := range s.segments {
		n += g.len() - of.count(g.first, g.last)
	}
	return n
}

// Stats returns the counts.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	for _, g := range s.segments {
		out.MemoryBytes += len(g.data)
		out.DiskBytes += g.written
		waiting := g.len() - s.done.count(g.first, g.last)
		if waiting == 0 {
			continue
		}
		if out.Batches == 0 {
			out.OldestAge = time.Since(g.cameAt(s.done.missing(g.first)))
		}
		out.Batches += waiting
		out.Bytes += g.size
	}
	return out
}

// Close writes down what is not written yet and gives the folder back. The spool must not be used any more.
func (s *Spool) Close() error {
	s.mu.Lock()
	s.seal()
	s.mu.Unlock()
	if s.disk == nil {
		return nil
	}
	return s.disk.close(s)
}

// lookAgain has the cursors look for what they may give.
func (s *Spool) lookAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.announce()
}

func (s *Spool) announce() {
	close(s.change)
	s.change = make(chan struct{})
}
