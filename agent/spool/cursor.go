package spool

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

const (
	// maxGiven is how many batches may be on their way to one aggregator.
	maxGiven = 64
	// maxBacklogGiven is how many of them may be old ones: a new batch must not wait behind more than these when ten thousand
	// agents come back at once and every answer takes seconds.
	maxBacklogGiven = 8
	// fewWaiting is how many waiting batches go in order, the new ones last.
	fewWaiting = 16
	// readTries is how often a file is read that cannot be, and readAgain the pause between two times.
	readTries, readAgain = 4, 10 * time.Second
)

// Cursor gives out what one aggregator has not answered, for the time of one stream.
//
// As long as few batches wait they go in order. When there are more, the newest goes first, and the oldest in the room that is
// left, so that the present is never behind the past.
type Cursor struct {
	spool    *Spool
	receiver *receiver
	reader   reader // of Next alone

	// The rest is guarded by the spool's mutex.

	// given are on their way; true are those of the backlog, of which there are backlog.
	given   map[uint64]bool
	backlog int
	// newest is the largest sequence given.
	newest uint64
	// paused is until when only new batches are given.
	paused time.Time
	closed bool
}

// choice is a batch that is to be sent: the frame, or where it is.
type choice struct {
	sequence uint64
	frame    *telemetry.Frame
	segment  *segment
	data     []byte // nil when it is in the file only
	size     int
}

// Next returns the batch to send next, waiting for one, and for room, until ctx ends. It must be called by one goroutine.
func (c *Cursor) Next(ctx context.Context) (telemetry.Frame, error) {
	for {
		next, wait, change := c.choose(time.Now())
		if next != nil {
			if frame, ok := c.read(next); ok {
				return frame, nil
			}
			continue
		}
		c.reader.release()
		if err := sleep(ctx, wait, change); err != nil {
			return telemetry.Frame{}, err
		}
	}
}

// sleep waits for a change or, when wait is not zero, that long.
func sleep(ctx context.Context, wait time.Duration, change <-chan struct{}) error {
	var after <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		after = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-change:
	case <-after:
	}
	return nil
}

// choose takes the batch to send next. When there is none now it says what to wait for.
func (c *Cursor) choose(now time.Time) (*choice, time.Duration, <-chan struct{}) {
	s := c.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(c.given) >= maxGiven {
		return nil, 0, s.change
	}
	wait := c.paused.Sub(now)
	few, newest := c.waiting() <= fewWaiting, s.lastKept()
	switch oldest := c.oldest(now); {
	case few && wait <= 0 && oldest != 0:
		return c.give(oldest, false), 0, nil
	case newest > c.newest && !c.receiver.answered.has(newest):
		return c.give(newest, false), 0, nil
	case wait > 0:
		return nil, wait, s.change
	case oldest != 0 && c.backlog < maxBacklogGiven:
		return c.give(oldest, true), 0, nil
	}
	return nil, 0, s.change
}

func (c *Cursor) give(sequence uint64, backlog bool) *choice {
	c.given[sequence] = backlog
	if backlog {
		c.backlog++
	}
	c.newest = max(c.newest, sequence)
	if newest := c.spool.newest; newest.Sequence == sequence {
		return &choice{sequence: sequence, frame: &newest}
	}
	g := c.spool.segments[c.spool.indexOf(sequence)]
	return &choice{sequence: sequence, segment: g, data: g.data, size: g.size}
}

// oldest is the first batch that is neither answered nor on its way, and can be read for all that is known; 0 when there is none.
func (c *Cursor) oldest(now time.Time) uint64 {
	for _, g := range c.spool.segments {
		if now.Before(g.again) {
			continue
		}
		n := c.receiver.answered.missing(g.first)
		for n <= g.last && c.has(n) {
			n = c.receiver.answered.missing(n + 1)
		}
		if n <= g.last {
			return n
		}
	}
	return 0
}

func (c *Cursor) has(sequence uint64) bool {
	_, given := c.given[sequence]
	return given
}

// waiting is how many batches are neither answered nor on their way; it stops counting when they are not few.
func (c *Cursor) waiting() int {
	n := -len(c.given)
	for _, g := range c.spool.segments {
		n += g.len() - c.receiver.answered.count(g.first, g.last)
		if n > fewWaiting {
			break
		}
	}
	return n
}

// read reads the chosen batch. One that cannot be read now is given again later, one that never can be is dropped; then there
// is none.
func (c *Cursor) read(next *choice) (telemetry.Frame, bool) {
	if next.frame != nil {
		c.reader.release()
		return *next.frame, true
	}
	if next.data == nil && c.reader.segment == next.segment && len(c.reader.data) == next.size {
		next.data = c.reader.data
	}
	if next.data == nil {
		var err error
		if next.data, err = c.spool.disk.read(next.segment); err != nil {
			c.unreadable(next, next.segment.first, err, errors.Is(err, fs.ErrNotExist))
			return telemetry.Frame{}, false
		}
	}
	frame, err := c.reader.frame(next.segment, next.data, next.sequence)
	if err != nil {
		c.unreadable(next, next.sequence, err, true) // those after it are told as the difference to it
	}
	return frame, err == nil
}

// unreadable keeps the batches of a file that cannot be read for another time. When that was tried often enough, or is in vain,
// those from a sequence on are dropped, and what comes after the file goes on.
func (c *Cursor) unreadable(next *choice, from uint64, err error, inVain bool) {
	s, g, now := c.spool, next.segment, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	c.take(next.sequence)
	i := s.indexOf(next.sequence)
	switch {
	case i < 0: // it has just been dropped for its age, and its file with it
	case inVain || g.tries == readTries-1:
		s.o.Logger.Warn("a file of the spool cannot be read, its batches are dropped and those after it go on; look after the disk it is on",
			"file", s.fileOf(g), "batches", s.giveUp(i, from), "error", err)
	case !now.Before(g.again): // else another cursor has just noted it
		g.tries++
		g.again = now.Add(readAgain)
		time.AfterFunc(readAgain, s.lookAgain)
	}
}

// take takes a batch back from those that are on their way, and reports whether it was one.
func (c *Cursor) take(sequence uint64) bool {
	backlog, given := c.given[sequence]
	if backlog {
		c.backlog--
	}
	delete(c.given, sequence)
	return given
}

// Ack notes that the batch is durable there.
func (c *Cursor) Ack(sequence uint64) { c.answer(sequence, false) }

// Refuse notes that the aggregator will never take the batch.
func (c *Cursor) Refuse(sequence uint64) { c.answer(sequence, true) }

func (c *Cursor) answer(sequence uint64, refused bool) {
	s := c.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	c.take(sequence)
	s.announce()
	i := s.indexOf(sequence)
	if i < 0 || c.receiver.answered.has(sequence) {
		return
	}
	switch {
	case refused:
		s.stats.Refused++
	case !s.answered(sequence):
		s.stats.Acknowledged++
	}
	c.receiver.answered.add(sequence, sequence)
	s.touch()
	if s.settle(sequence) {
		s.leaveIfDone(i)
	}
}

// Defer notes that the aggregator cannot take the batch now. It is given again after the pause; new ones are given meanwhile.
func (c *Cursor) Defer(sequence uint64, pause time.Duration) {
	s := c.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.take(sequence) {
		s.stats.Deferred++
	}
	if until := time.Now().Add(pause); until.After(c.paused) {
		c.paused = until
	}
	s.announce()
}

// Close says that the stream ended: what it did not answer is given again on the next.
func (c *Cursor) Close() {
	s := c.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	c.receiver.cursors--
	c.receiver.seen = time.Now()
	s.touch()
	s.announce()
}
