package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// saveEvery bounds how often it is written down who has answered what. To lose that costs a few batches sent twice, which the
// aggregators notice.
const saveEvery = 5 * time.Second

// disk is the folder of a spool. One goroutine writes, and never under the spool's mutex: a disk that hangs must not stop the
// sampling.
//
// Files are not synced. What is written is in the kernel's hands and survives the end of the agent, also by SIGKILL; only a
// node that crashes loses the last seconds. A file whose batches are acknowledged is removed, most before the kernel wrote
// it out, so that a healthy agent hardly touches the device.
type disk struct {
	folder string
	lock   *os.File
	wake   chan struct{}
	end    chan struct{}
	ended  chan struct{}

	// The rest is guarded by the spool's mutex.

	// gone are segments whose files are to be removed.
	gone []*segment
	// unsaved means that receivers have changed since they were saved.
	unsaved bool
	saved   time.Time
	// failing means that the last attempt failed, and that this was said.
	failing bool
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

// store writes down what is not written yet. What fails is tried again the next time: until then it is in memory, within the
// bounds of memory.
func (s *Spool) store(all bool) error {
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
	err = errors.Join(notRemoved, err)
	s.trimCache()
	s.tell(err)
	return err
}

// tell logs when the disk fails, and when it works again for everything there is to write.
func (s *Spool) tell(err error) {
	switch {
	case err != nil && !s.disk.failing:
		s.o.Logger.Warn("the spool's folder cannot be written, batches are kept in memory only; free space on its disk or look after it",
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

func (d *disk) file(g *segment) string { return d.path(fmt.Sprintf("%020d%s", g.first, segmentSuffix)) }

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
	return errors.Join(s.store(true), d.lock.Close())
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
		if filepath.Ext(e.Name()) == segmentSuffix && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
