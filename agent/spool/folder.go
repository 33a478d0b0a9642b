package spool

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"syscall"
	"time"
)

// The files beside the segments.
const (
	lockFile      = "lock"
	sessionFile   = "session.json"
	receiversFile = "receivers.json"
)

// runSequences is how many sequences each run of the agent has for itself: none is ever given twice, whatever a run before
// has not written down.
const runSequences = 1 << 32

// savedSession is what must outlive every run.
type savedSession struct {
	Session string `json:"session"`
	// Run counts the runs of the agent.
	Run uint64 `json:"run"`
}

// savedReceiver is a [receiver].
type savedReceiver struct {
	Answered spans     `json:"answered"`
	Seen     time.Time `json:"seen"`
}

func newSession() string { return rand.Text() }

// left is what an earlier run left in the folder.
type left struct {
	lock      *os.File
	session   savedSession // zero when there is none
	receivers map[string]savedReceiver
	segments  []*segment
	// lost are the batches that files had before they were damaged.
	lost []span
	// failed is why such a file could not be removed or cut off.
	failed error
}

// errInUse says that the folder is another process's.
var errInUse = errors.New("another agent uses it: each needs a folder of its own")

// open makes the folder this process's and reads what an earlier run left there, as far as its sequences are smaller than those
// before the given one.
func (d *disk) open(now time.Time, before uint64) (found left, err error) {
	if err := os.MkdirAll(d.folder, 0o700); err != nil {
		return left{}, err
	}
	if found.lock, err = lock(d.path(lockFile)); err != nil {
		return left{}, err
	}
	for name, into := range map[string]any{sessionFile: &found.session, receiversFile: &found.receivers} {
		if err := d.readJSON(name, into); err != nil {
			return left{}, errors.Join(err, found.lock.Close())
		}
	}
	if err := d.readSegments(&found, now, before); err != nil {
		return left{}, errors.Join(err, found.lock.Close())
	}
	return found, nil
}

// lock holds a file until it is closed, or the process ends.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errInUse
		}
		return nil, fmt.Errorf("lock %q: %w", path, err)
	}
	return f, nil
}

// readSegments takes every file for as far as it is whole. What is damaged is removed.
func (d *disk) readSegments(found *left, now time.Time, before uint64) error {
	names, err := d.segmentFiles()
	if err != nil {
		return err
	}
	last := uint64(0)
	for i, name := range names {
		next := uint64(math.MaxUint64)
		if i+1 < len(names) {
			next = firstOf(names[i+1])
		}
		g, lost, err := d.readSegment(name, next, now)
		if g != nil && (g.first <= last || g.last >= before) {
			lost = span{max(g.first, last+1), g.last}
			g, err = nil, fmt.Errorf("it has batches %d to %d: they must come after %d and before %d", g.first, g.last, last, before)
		}
		switch path := d.path(name); {
		case g == nil:
			d.logger.Warn("a file of the spool is damaged, its batches are dropped and it is removed; look after the disk it is on",
				"file", path, "error", err)
			err = os.Remove(path)
		case lost.Last > 0:
			d.logger.Warn("the end of a file of the spool is torn, it is cut off", "file", path, "batches", g.len(), "dropped", lost.Last-g.last)
			err = os.Truncate(path, int64(g.size))
		}
		if g != nil {
			found.segments, last = append(found.segments, g), g.last
		}
		found.lost, found.failed = append(found.lost, lost), errors.Join(found.failed, err)
	}
	return nil
}

// readSegment takes a file for as far as it is whole, and says which batches it had beyond that. One that cannot be read now is
// taken for what it may have, up to the next file: the cursors try it again.
func (d *disk) readSegment(name string, next uint64, now time.Time) (g *segment, lost span, err error) {
	first, path := firstOf(name), d.path(name)
	data, err := os.ReadFile(path)
	if err != nil {
		g = &segment{first: first, last: min(first+segmentBatches, next) - 1, put: now, sealed: true}
		if info, err := os.Stat(path); err == nil {
			g.put = now.Add(-max(0, now.Sub(info.ModTime())))
			g.size, g.written = int(info.Size()), int(info.Size())
		}
		g.began = g.put
		return g, span{}, nil
	}
	g, err = scanSegment(data, now)
	if err == nil && g.first != first {
		err = fmt.Errorf("it begins with batch %d", g.first)
	}
	if err != nil {
		return nil, span{first, min(first+countRecords(data), next) - 1}, err
	}
	if n := countRecords(data[g.size:]); n > 0 {
		lost = span{g.last + 1, min(g.last+1+n, next) - 1}
	}
	return g, lost, nil
}

// takeOver has what an earlier run left stand before what came in this one, as far as anything did.
func (s *Spool) takeOver(found left, now time.Time) {
	s.disk.lock, s.floor = found.lock, 0
	if found.session.Session == "" {
		found.receivers = nil // what they have answered is of a session that is lost, and its sequences may come again
	}
	for store, saved := range found.receivers {
		if s.receivers[store] == nil {
			s.receivers[store] = &receiver{answered: slices.Clone(s.done), seen: saved.Seen}
		}
		for _, a := range saved.Answered {
			if a.First <= a.Last {
				s.receivers[store].answered.add(a.First, a.Last)
			}
		}
	}
	s.segments = append(found.segments, s.segments...)
	s.beginRun(found.session, now)
	settled := s.stats.settled // the rest was counted by the run before
	s.settleAll()
	s.stats.settled = settled
	for _, lost := range found.lost {
		for n := max(lost.First, 1); n <= lost.Last; n++ {
			if !s.answeredByAll(n) {
				s.stats.Dropped++
			}
		}
	}
	s.bound(now)
	s.touch()
	s.announce()
}

// beginRun takes the session there was, or draws one, and takes sequences that were never used, unless this run has both.
func (s *Spool) beginRun(saved savedSession, now time.Time) {
	switch {
	case s.session != "":
	case saved.Session == "":
		s.session, s.last = newSession(), s.lastKept()
	default:
		// The time is for the run before that could not write its number down.
		s.session, s.last = saved.Session, max((saved.Run+1)*runSequences, runAt(now), s.lastKept())
	}
}

// runAt is what is smaller than the sequences of a run that begins now without knowing of those before.
func runAt(now time.Time) uint64 { return uint64(max(0, now.Unix())) * runSequences }

// lastKept is the last batch there is; 0 when there is none.
func (s *Spool) lastKept() uint64 {
	if n := len(s.segments); n > 0 {
		return s.segments[n-1].last
	}
	return 0
}

func (s *Spool) receiversJSON(now time.Time) []byte {
	out := map[string]savedReceiver{}
	for store, r := range s.receivers {
		seen := r.seen
		if r.cursors > 0 {
			seen = now
		}
		out[store] = savedReceiver{Answered: r.answered, Seen: seen}
	}
	content, _ := json.Marshal(out) // numbers, names and times of this century
	return content
}

// sessionJSON is read by the next run, which takes greater sequences.
func (s *Spool) sessionJSON() []byte {
	content, _ := json.Marshal(savedSession{Session: s.session, Run: s.last / runSequences}) // a word and a number
	return content
}

// readJSON reads one of the small files. A damaged one counts as absent.
func (d *disk) readJSON(name string, into any) error {
	content, err := os.ReadFile(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		d.logger.Warn("a file of the spool is damaged, it is made anew", "file", d.path(name), "error", err)
	}
	return nil
}
