package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// saveEvery bounds how often it is written down who has answered what. To lose that costs a few batches sent twice, which the
// aggregators notice.
const saveEvery = 5 * time.Second

// disk is the folder of a spool. One goroutine reads and writes it, and never under the spool's mutex: a disk that hangs must
// not stop the sampling.
//
// Files are not synced. What is written is in the kernel's hands and survives the end of the agent, also by SIGKILL; only a
// node that crashes loses the last seconds. A file whose batches are acknowledged is removed, most before the kernel wrote
// it out, so that a healthy agent hardly touches the device.
type disk struct {
	folder string
	logger *slog.Logger
	wake   chan struct{}
	end    chan struct{}
	ended  chan struct{}

	// The rest is guarded by the spool's mutex.

	// lock is held from when the folder is this process's; until then nothing of this run is in it. Only the goroutine sets it.
	lock *os.File
	// gone are segments whose files are to be removed.
	gone []*segment
	// unsaved means that receivers have changed since they were saved.
	unsaved bool
	saved   time.Time
	// failing means that the last attempt failed, and that this was said.
	failing bool
}

func newDisk(folder string, logger *slog.Logger) *disk {
	return &disk{folder: folder, logger: logger, wake: make(chan struct{}, 1), end: make(chan struct{}), ended: make(chan struct{})}
}

// work is what is to be done in the folder.
type work struct {
	gone   []*segment
	writes []write
	state  []byte // nil when nothing is to be saved
}

// write is records that a file does not have.
type write struct {
	segment *segment
	at      int
	data    []byte
}

// poke has the folder looked after.
func (s *Spool) poke() {
	if s.disk == nil {
		return
	}
	select {
	case s.disk.wake <- struct{}{}:
	default:
	}
}

// touch notes that receivers have changed.
func (s *Spool) touch() {
	if s.disk != nil {
		s.disk.unsaved = true
		s.poke()
	}
}

// keep brings the folder up to date whenever something changed, until the spool is closed.
func (s *Spool) keep() {
	defer close(s.disk.ended)
	timer := time.NewTimer(saveEvery)
	defer timer.Stop()
	for {
		select {
		case <-s.disk.end:
			return
		case <-s.disk.wake:
		case <-timer.C:
		}
		_ = s.store(false) // said there
		s.mu.Lock()
		if s.disk.unsaved {
			timer.Reset(saveEvery - min(time.Since(s.disk.saved), saveEvery-time.Millisecond))
		}
		s.mu.Unlock()
	}
}

// attach makes the folder this process's where it is not yet, and takes over what an earlier run left.
func (s *Spool) attach() error {
	if s.disk.lock != nil {
		return nil
	}
	now := time.Now()
	found, err := s.disk.open(now, cmp.Or(s.floor, math.MaxUint64))
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.takeOver(found, now)
	session := s.sessionJSON()
	s.mu.Unlock()
	return errors.Join(found.failed, writeFile(s.disk.path(sessionFile), session))
}

// store writes down what is not written yet. What fails is tried again the next time: until then it is in memory, within the
// bounds of memory.
func (s *Spool) store(all bool) error {
	err := s.attach()
	if s.disk.lock != nil {
		err = errors.Join(err, s.flush(all))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.disk.lock == nil {
		s.disk.saved = time.Now() // that was the attempt
	}
	s.tell(err)
	return err
}

// flush removes and writes what there is to remove and to write.
func (s *Spool) flush(all bool) error {
	s.mu.Lock()
	w := s.workLeft(all)
	s.mu.Unlock()
	left, notRemoved := s.disk.remove(w.gone)
	written, err := 0, error(nil)
	for err == nil && written < len(w.writes) {
		if err = s.disk.write(w.writes[written]); err == nil {
			written++
		}
	}
	if err == nil && w.state != nil {
		err = writeFile(s.disk.path(receiversFile), w.state)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, done := range w.writes[:written] {
		done.segment.written = done.at + len(done.data)
	}
	s.disk.gone = append(left, s.disk.gone...)
	s.disk.unsaved = s.disk.unsaved || err != nil && w.state != nil
	s.trimCache()
	return errors.Join(notRemoved, err)
}

// tell logs when the disk fails, and when it works again for everything there is to write.
func (s *Spool) tell(err error) {
	switch {
	case err != nil && !s.disk.failing:
		s.o.Logger.Warn("the spool's folder cannot be written, batches are kept in memory only; free space on its disk or let the agent write to it",
			"path", s.o.Path, "error", err)
	case err == nil && s.disk.failing && s.disk.unsaved:
		return
	case err == nil && s.disk.failing:
		s.o.Logger.Info("the spool's folder can be written again", "path", s.o.Path)
	}
	s.disk.failing = err != nil
}

// workLeft takes over what is to be done.
func (s *Spool) workLeft(all bool) work {
	w := work{gone: s.disk.gone}
	s.disk.gone = nil
	for _, g := range s.segments {
		if g.written < g.size {
			w.writes = append(w.writes, write{g, g.written, g.data[g.written:]})
		}
	}
	if now := time.Now(); s.disk.unsaved && (all || now.Sub(s.disk.saved) >= saveEvery) {
		w.state = s.receiversJSON(now)
		s.disk.unsaved, s.disk.saved = false, now
	}
	return w
}

func (d *disk) path(name string) string { return filepath.Join(d.folder, name) }

// segmentSuffix is preceded by the sequence of the first batch.
const segmentSuffix = ".segment"

func nameOf(first uint64) string { return fmt.Sprintf("%020d%s", first, segmentSuffix) }

// firstOf is the sequence in the name of a segment's file; 0 when it is the name of another.
func firstOf(name string) uint64 {
	first, _ := strconv.ParseUint(strings.TrimSuffix(name, segmentSuffix), 10, 64)
	if name != nameOf(first) {
		return 0
	}
	return first
}

func (d *disk) file(g *segment) string { return d.path(nameOf(g.first)) }

// fileOf names where a segment is.
func (s *Spool) fileOf(g *segment) string {
	if s.disk == nil {
		return "memory"
	}
	return s.disk.file(g)
}

func (d *disk) read(g *segment) ([]byte, error) { return os.ReadFile(d.file(g)) }

// write writes at a place rather than at the end: what a failed write left is written over.
func (d *disk) write(w write) (err error) {
	f, err := os.OpenFile(d.file(w.segment), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.WriteAt(w.data, int64(w.at))
	return err
}

// remove returns the segments whose files are still there.
func (d *disk) remove(gone []*segment) (left []*segment, err error) {
	for _, g := range gone {
		if failed := os.Remove(d.file(g)); failed != nil && !errors.Is(failed, fs.ErrNotExist) {
			left, err = append(left, g), failed
		}
	}
	return left, err
}

// close does what is left to do and lets another process have the folder.
func (d *disk) close(s *Spool) error {
	close(d.end)
	<-d.ended
	err := s.store(true)
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
	}
	return err
}

// writeFile replaces a file as a whole.
func writeFile(path string, content []byte) error {
	next := path + ".new"
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// segmentFiles are the files of segments, the oldest first.
func (d *disk) segmentFiles() ([]string, error) {
	entries, err := os.ReadDir(d.folder)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if firstOf(e.Name()) > 0 && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
