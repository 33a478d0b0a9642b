package spool

import (
	"slices"
	"sort"
	"time"
)

// receiver is what is known of one aggregator's store, over all streams to it.
type receiver struct {
	// answered are the batches it has acknowledged or refused.
	answered spans
	// cursors is how many streams to it are up, and seen when the last one ended.
	cursors int
	seen    time.Time
}

// Receiver begins a stream to an aggregator, which is known by the name of its store. A store that is new has answered
// nothing: its stream begins with the oldest batch there is. The cursor must be closed.
func (s *Spool) Receiver(store string) *Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.receivers[store]
	if r == nil {
		r = &receiver{answered: slices.Clone(s.done)}
		s.receivers[store] = r
	}
	r.cursors++
	s.touch()
	return &Cursor{spool: s, receiver: r, given: map[uint64]bool{}, reader: reader{session: s.session}}
}

// forgetAbsent forgets the receivers that have not been there for too long, so that nothing is kept for them any more.
func (s *Spool) forgetAbsent(now time.Time) {
	for store, r := range s.receivers {
		if r.cursors > 0 || now.Sub(r.seen) <= s.o.MaxAge {
			continue
		}
		s.o.Logger.Warn("an aggregator has not been there for too long, nothing is kept for it any more", "store", store,
			"since", r.seen.Format(time.RFC3339))
		delete(s.receivers, store)
		s.settleAll()
		s.touch()
	}
}

// settleAll looks at every batch again.
func (s *Spool) settleAll() {
	for i, g := range slices.Backward(s.segments) {
		for n := s.done.missing(g.first); n <= g.last; n = s.done.missing(n + 1) {
			s.settle(n)
		}
		s.leaveIfDone(i)
	}
}

// answered reports whether any receiver has answered a batch.
func (s *Spool) answered(sequence uint64) bool {
	for _, r := range s.receivers {
		if r.answered.has(sequence) {
			return true
		}
	}
	return false
}

// answeredByAll reports whether every receiver has answered a batch; not when there is none.
func (s *Spool) answeredByAll(sequence uint64) bool {
	for _, r := range s.receivers {
		if !r.answered.has(sequence) {
			return false
		}
	}
	return len(s.receivers) > 0
}

// settle notes a batch as done when every receiver has answered it, and reports whether this made it so.
func (s *Spool) settle(sequence uint64) bool {
	if s.done.has(sequence) || !s.answeredByAll(sequence) {
		return false
	}
	s.done.add(sequence, sequence)
	s.stats.settled++
	return true
}

// indexOf finds the segment with a batch; -1 when there is none any more.
func (s *Spool) indexOf(sequence uint64) int {
	i := sort.Search(len(s.segments), func(i int) bool { return s.segments[i].last >= sequence })
	if i == len(s.segments) || s.segments[i].first > sequence {
		return -1
	}
	return i
}
