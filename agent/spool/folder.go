package spool

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
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

// takeOver makes the folder this process's and takes what an earlier run left.
func (s *Spool) takeOver() error {
	if err := os.MkdirAll(s.o.Path, 0o700); err != nil {
		return err
	}
	d := &disk{folder: s.o.Path, wake: make(chan struct{}, 1), end: make(chan struct{}), ended: make(chan struct{})}
	var err error
	if d.lock, err = lock(d.path(lockFile)); err != nil {
		return err
	}
	s.disk = d
	now := time.Now()
	if err := s.takeSegments(now); err != nil {
		return errors.Join(err, d.lock.Close())
	}
	if err := s.takeReceivers(); err != nil {
		return errors.Join(err, d.lock.Close())
	}
	if err := s.beginRun(now); err != nil {
		return errors.Join(err, d.lock.Close())
	}
	s.settleAll()
	s.bound(now)
	s.stats.settled = 0 // that was counted by the run before
	return nil
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
			return nil, errors.New("another agent uses it: each needs a folder of its own")
		}
		return nil, fmt.Errorf("lock %q: %w", path, err)
	}
	return f, nil
}

// beginRun reads the session, or draws one, and takes sequences that were never used.
func (s *Spool) beginRun(now time.Time) error {
	var saved savedSession
	found, err := s.readJSON(sessionFile, &saved)
	if err != nil {
		return err
	}
	if !found || saved.Session == "" {
		saved = savedSession{Session: newSession()}
		clear(s.receivers) // what they have answered is of a session that is lost, and its sequences may come again
	} else {
		// The time is for the run before that could not write its number down.
		saved.Run = max(saved.Run+1, uint64(max(0, now.Unix())))
	}
	s.session, s.last = saved.Session, max(saved.Run*runSequences, s.lastKept())
	content, err := json.Marshal(saved)
	if err == nil {
		err = writeFile(s.disk.path(sessionFile), content)
	}
	s.tell(err)
	return nil
}

// takeSegments takes every file for as far as it is whole.
func (s *Spool) takeSegments(now time.Time) error {
	names, err := s.disk.segmentFiles()
	if err != nil {
		return err
	}
	for _, name := range names {
		path := s.disk.path(name)
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		g, err := scanSegment(data, now)
		if g != nil && (s.disk.file(g) != path || g.first <= s.lastKept()) {
			g, err = nil, fmt.Errorf("it begins with batch %d", g.first)
		}
		switch {
		case err != nil:
			s.o.Logger.Warn("a file of the spool is damaged, it is removed", "file", path, "error", err)
		case g == nil:
			s.o.Logger.Warn("a file of the spool has no whole batch, it is removed", "file", path, "bytes", len(data))
		default:
			if g.size < len(data) {
				s.o.Logger.Warn("the end of a file of the spool is torn, it is cut off", "file", path, "batches", g.len(), "cut_bytes", len(data)-g.size)
				err = os.Truncate(path, int64(g.size))
			}
			s.segments = append(s.segments, g)
		}
		if g == nil {
			err = os.Remove(path)
		}
		s.tell(err)
	}
	return nil
}

// lastKept is the last batch there is; 0 when there is none.
func (s *Spool) lastKept() uint64 {
	if n := len(s.segments); n > 0 {
		return s.segments[n-1].last
	}
	return 0
}

// takeReceivers reads who has answered what. Without it everything is sent again.
func (s *Spool) takeReceivers() error {
	saved := map[string]savedReceiver{}
	if found, err := s.readJSON(receiversFile, &saved); err != nil || !found {
		return err
	}
	for store, r := range saved {
		var answered spans
		for _, a := range r.Answered {
			if a.First <= a.Last {
				answered.add(a.First, a.Last)
			}
		}
		s.receivers[store] = &receiver{answered: answered, seen: r.Seen}
	}
	return nil
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

// readJSON reads one of the small files and reports whether it was there. A damaged one counts as absent.
func (s *Spool) readJSON(name string, into any) (bool, error) {
	content, err := os.ReadFile(s.disk.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(content, into); err != nil {
		s.o.Logger.Warn("a file of the spool is damaged, it is made anew", "file", s.disk.path(name), "error", err)
		return false, nil
	}
	return true, nil
}
