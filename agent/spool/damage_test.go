package spool

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// damage turns a bit in the middle of a file.
func damage(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedBatchIsDroppedWithThoseToldAsTheDifferenceToItAndTheOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := open(t, Options{Path: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		put(s, 40)
		s = restarted(t, s)
		defer closed(t, s)
		b := s.Receiver("b")
		files := segmentsIn(t, s.o.Path)
		damage(t, files[1])
		if err := os.Remove(files[0]); err != nil {
			t.Fatal(err)
		}
		got := drain(t, s.Receiver("a"))
		slices.Sort(got)
		if len(got) < 9 || got[0] != 17 || !slices.Equal(got[len(got)-8:], fromTo(33, 40)) || s.Stats().Dropped != uint64(40-len(got)) {
			t.Errorf("given %v, stats %+v", got, s.Stats())
		}
		others := drain(t, b)
		slices.Sort(others)
		if stats := s.Stats(); !slices.Equal(others, got) || stats.Batches != 0 || stats.Dropped != uint64(40-len(got)) {
			t.Errorf("b is given %v, stats %+v; want what a was given", others, stats)
		}
		for _, file := range files[:2] {
			if strings.Count(log.String(), "level=WARN") != 2 || strings.Count(log.String(), "file="+file) != 1 {
				t.Errorf("%s: want one line about each:\n%s", file, log.String())
			}
		}
	})
}

func TestBatchesOfAFileThatWasDamagedMeanwhileAreCountedUnlessTheyWereAnswered(t *testing.T) {
	s := open(t, Options{Path: t.TempDir()})
	put(s, 20)
	c := s.Receiver("a")
	for _, n := range given(t, c) {
		if n == 1 || n == 16 || n == 17 {
			c.Ack(n)
		}
	}
	closed(t, s)
	damage(t, segmentsIn(t, s.o.Path)[0])
	s = open(t, s.o)
	defer closed(t, s)
	got, lost := drain(t, s.Receiver("a")), s.Stats().Dropped
	if len(got) < 4 || len(got) > 15 || int(lost) != 17-len(got) {
		t.Errorf("given %v, %d count as dropped; want the sum to be the 17 that were not answered", got, lost)
	}
}

// away puts a folder in the place of a file, which no user can read, and returns what puts the file back.
func away(t *testing.T, file string) (back func()) {
	t.Helper()
	failIf := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	failIf(os.Rename(file, file+".away"))
	failIf(os.Mkdir(file, 0o700))
	return func() {
		failIf(os.Remove(file))
		failIf(os.Rename(file+".away", file))
	}
}

func TestFileThatCannotBeReadIsGivenUpAndTheBacklogGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := open(t, Options{Path: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		put(s, 64)
		s = restarted(t, s)
		file := segmentsIn(t, s.o.Path)[1]
		away(t, file)
		a, b := s.Receiver("a"), s.Receiver("b")
		for _, c := range []*Cursor{a, b} {
			got := drain(t, c)
			slices.Sort(got)
			if want := append(fromTo(1, 16), fromTo(33, 64)...); !slices.Equal(got, want) {
				t.Errorf("given %v; want what is in the other files", got)
			}
		}
		for range readTries - 1 {
			if got := s.Stats(); got.Dropped != 0 || got.Batches != 16 || log.Len() > 0 {
				t.Errorf("stats %+v, log:\n%s", got, log.String())
			}
			time.Sleep(readAgain)
			for _, c := range []*Cursor{a, b} {
				if got := drain(t, c); got != nil {
					t.Errorf("given %v", got)
				}
			}
		}
		if got := s.Stats(); got.Dropped != 16 || got.Batches != 0 || strings.Count(log.String(), "level=WARN") != 1 || !strings.Contains(log.String(), "file="+file) {
			t.Errorf("stats %+v, log:\n%s", got, log.String())
		}
		put(s, 1)
		if got := drain(t, a); len(got) != 1 {
			t.Errorf("given %v after it", got)
		}
		closed(t, s)
		if files := segmentsIn(t, s.o.Path); slices.Contains(files, file) {
			t.Errorf("%s is left", file)
		}
	})
}

func TestFileThatTwoStreamsCannotReadAtOnceWasTriedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Path: t.TempDir()})
		put(s, 16)
		s = restarted(t, s)
		defer closed(t, s)
		defer away(t, segmentsIn(t, s.o.Path)[0])()
		a, b := s.Receiver("a"), s.Receiver("b")
		ofA, _, _ := a.choose(time.Now())
		ofB, _, _ := b.choose(time.Now())
		a.read(ofA)
		b.read(ofB)
		if got := s.segments[0].tries; got != 1 {
			t.Errorf("%d tries", got)
		}
	})
}

func TestFileThatCannotBeRemovedTakesNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Path: t.TempDir()})
		defer closed(t, s)
		put(s, 16)
		synctest.Wait()
		file := segmentsIn(t, s.o.Path)[0]
		back := away(t, file)
		inside := filepath.Join(file, "inside")
		if err := os.Mkdir(inside, 0o700); err != nil {
			t.Fatal(err)
		}
		put(s, 1)
		drain(t, s.Receiver("a"))
		synctest.Wait()
		s.mu.Lock()
		gone := slices.Clone(s.disk.gone)
		s.mu.Unlock()
		if len(gone) != 1 || gone[0].data != nil {
			t.Errorf("%d files are to be removed; want one, and nothing of it in memory", len(gone))
		}
		if err := os.Remove(inside); err != nil {
			t.Fatal(err)
		}
		back()
	})
}

func TestFileThatCanBeReadAgainIsGivenWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Path: t.TempDir()})
		put(s, 64)
		s = restarted(t, s)
		defer closed(t, s)
		back := away(t, segmentsIn(t, s.o.Path)[1])
		c := s.Receiver("a")
		drain(t, c)
		back()
		began := time.Now()
		f, err := c.Next(t.Context())
		if err != nil || f.Sequence != 17 || time.Since(began) != readAgain {
			t.Errorf("batch %d after %v, error %v; want it to be tried again", f.Sequence, time.Since(began), err)
		}
		c.Ack(17)
		if got := drain(t, c); !slices.Equal(got, fromTo(18, 32)) || s.Stats().Dropped != 0 {
			t.Errorf("given %v, stats %+v", got, s.Stats())
		}
	})
}

// asNobody does something as a user whom nothing belongs to, where the tests are root's.
func asNobody(t *testing.T, do func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	me := os.Geteuid()
	if me != 0 {
		do()
		return
	}
	if err := syscall.Setfsuid(65534); err != nil {
		t.Fatal(err)
	}
	do()
	if err := syscall.Setfsuid(me); err != nil {
		t.Fatal(err)
	}
}

func TestFileThatCannotBeReadAtTheStartIsTriedAgainAsAnyOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Path: t.TempDir()})
		put(s, 40)
		closed(t, s)
		for name, mode := range map[string]os.FileMode{"..": 0o755, "": 0o777, lockFile: 0o666, sessionFile: 0o644, receiversFile: 0o644} {
			if err := os.Chmod(filepath.Join(s.o.Path, name), mode); err != nil {
				t.Fatal(err)
			}
		}
		files := segmentsIn(t, s.o.Path)
		for i, mode := range []os.FileMode{0o644, 0, 0} {
			if err := os.Chmod(files[i], mode); err != nil {
				t.Fatal(err)
			}
		}
		var c *Cursor
		asNobody(t, func() {
			s = open(t, s.o)
			c = s.Receiver("a")
			if got := drain(t, c); !slices.Equal(got, fromTo(1, 16)) {
				t.Errorf("given %v", got)
			}
		})
		defer closed(t, s)
		if got := s.Stats(); got.Batches != 2*segmentBatches || got.Dropped != 0 {
			t.Errorf("stats %+v; want what two files may have to wait", got)
		}
		for _, file := range files[1:] {
			if err := os.Chmod(file, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(readAgain)
		got := drain(t, c)
		slices.Sort(got)
		if stats := s.Stats(); !slices.Equal(got, fromTo(17, 40)) || stats.Batches != 0 || stats.Dropped != 2*segmentBatches-24 {
			t.Errorf("given %v, stats %+v; want all there is, and what one had not to count as dropped", got, stats)
		}
	})
}
