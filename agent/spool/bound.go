package spool

import (
	"slices"
	"time"
)

// bound drops what is too old or too much, and lets go of what is in memory and in a file. The current segment always stays.
func (s *Spool) bound(now time.Time) {
	s.forgetAbsent(now)
	memoryOnly, all := 0, 0
	for _, g := range s.segments {
		all += g.size
		if g.written < g.size {
			memoryOnly += g.size
		}
	}
	for i := 0; i < len(s.segments) && s.segments[i].sealed; {
		g := s.segments[i]
		old, large := now.Sub(g.put) > s.o.MaxAge+settling, s.disk != nil && all > s.o.MaxDiskBytes
		full := memoryOnly > s.o.MaxMemoryBytes && g.written < g.size
		if !old && !large && !full {
			i++ // what is in its file makes no room in memory
			continue
		}
		all -= g.size
		if g.written < g.size {
			memoryOnly -= g.size
		}
		s.stats.Dropped += uint64(g.len() - s.done.count(g.first, g.last))
		s.remove(i)
	}
	s.trimCache()
}

// trimCache keeps the newest in memory.
func (s *Spool) trimCache() {
	kept := 0
	for _, g := range slices.Backward(s.segments) {
		if kept += len(g.data); kept > cacheBytes && g.sealed && g.written == g.size {
			kept -= len(g.data)
			g.data = nil
		}
	}
}

// leaveIfDone removes a segment that nothing is to be added to and nobody waits for.
func (s *Spool) leaveIfDone(i int) {
	if g := s.segments[i]; g.sealed && s.done.count(g.first, g.last) == g.len() {
		s.remove(i)
	}
}

// remove takes a segment out, and notes that nobody needs to answer it: in a set of answers there shall be no holes for it.
func (s *Spool) remove(i int) {
	g := s.segments[i]
	from := g.first
	if i == 0 {
		from = s.floor
	}
	s.done.add(from, g.last)
	for _, r := range s.receivers {
		r.answered.add(from, g.last)
	}
	s.segments = slices.Delete(s.segments, i, i+1)
	if s.disk != nil && s.disk.lock != nil {
		g.data = nil // it may be long until its file can be removed
		s.disk.gone = append(s.disk.gone, g)
		s.poke()
	}
}

// giveUp drops the batches of a segment from a sequence on, and returns how many that nobody needs to answer any more.
func (s *Spool) giveUp(i int, from uint64) int {
	g := s.segments[i]
	n := int(g.last-from+1) - s.done.count(from, g.last)
	for _, r := range s.receivers {
		r.answered.add(from, g.last)
	}
	s.done.add(from, g.last)
	s.stats.Dropped += uint64(n)
	s.leaveIfDone(i)
	s.touch()
	s.announce()
	return n
}
