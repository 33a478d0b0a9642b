package spool

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFolderIsOfOneProcess(t *testing.T) {
	s := open(t, Options{Path: filepath.Join(t.TempDir(), "made", "by", "it")})
	if _, err := Open(s.o); err == nil || !strings.Contains(err.Error(), "another agent uses it") || !strings.Contains(err.Error(), s.o.Path) {
		t.Errorf("error = %v", err)
	}
	closed(t, restarted(t, s))
}

func TestFolderThatCannotBeMadeIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Path: file}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error = %v", err)
	}
}

func TestFolderOfAnotherUserLeavesTheAgentInMemory(t *testing.T) {
	parent, log := t.TempDir(), &strings.Builder{}
	if err := os.Chmod(parent, 0o500); err != nil {
		t.Fatal(err)
	}
	o := Options{Path: filepath.Join(parent, "spool"), Logger: slog.New(slog.NewTextHandler(log, nil))}
	var s *Spool
	asNobody(t, func() { s = open(t, o) })
	put(s, 20)
	if got := drain(t, s.Receiver("a")); len(got) != 20 {
		t.Errorf("given %v", got)
	}
	if err := os.Chmod(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	closed(t, s)
	if got := log.String(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, "path="+o.Path) || !strings.Contains(got, "permission denied") {
		t.Errorf("log:\n%s", got)
	}
}

// obstructed opens the spool while a folder is in the place of its lock, which keeps every user from using it.
func obstructed(t *testing.T, o Options) (s *Spool, clear func()) {
	t.Helper()
	obstacle := filepath.Join(o.Path, lockFile)
	if err := os.RemoveAll(obstacle); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(obstacle, 0o700); err != nil {
		t.Fatal(err)
	}
	return open(t, o), func() {
		if err := os.Remove(obstacle); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFolderThatCannotBeUsedIsSaidOnceAndUsedWhenItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s, clearWay := obstructed(t, Options{Path: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		session := s.Session()
		c := s.Receiver("a")
		for range 100 {
			put(s, 1)
			time.Sleep(time.Second)
		}
		if got := s.Stats(); got.Batches != 100 || got.Dropped != 0 || got.DiskBytes != 0 || got.MemoryBytes != got.Bytes || strings.Count(log.String(), "level=WARN") != 1 {
			t.Errorf("stats %+v, log:\n%s", got, log.String())
		}
		given := given(t, c)
		for _, n := range given {
			c.Ack(n)
		}
		synctest.Wait()
		clearWay()
		time.Sleep(saveEvery / 2)
		synctest.Wait()
		if got := s.Stats(); got.DiskBytes != 0 {
			t.Errorf("stats %+v; want the disk to be tried now and then, not all the time", got)
		}
		time.Sleep(saveEvery) // also without a new batch
		synctest.Wait()
		if got := s.Stats(); got.DiskBytes != got.Bytes || got.Batches != 100-len(given) || got.Dropped != 0 || !strings.Contains(log.String(), "can be written again") {
			t.Errorf("stats %+v, log:\n%s", got, log.String())
		}
		s = restarted(t, s)
		defer closed(t, s)
		if got := s.Stats(); got.Batches != 100-len(given) || s.Session() != session {
			t.Errorf("after a restart: %+v, session %q after %q", got, s.Session(), session)
		}
	})
}

func TestFolderThatCanBeUsedLaterIsTakenOverWithWhatAnEarlierRunLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Path: t.TempDir()})
		put(s, 40)
		for _, c := range []*Cursor{s.Receiver("a"), s.Receiver("absent")} {
			for n := range uint64(8) {
				c.Ack(n + 1)
			}
		}
		s.Receiver("a").Ack(40)
		closed(t, s)
		time.Sleep(time.Minute)
		s, clearWay := obstructed(t, s.o)
		first := s.last + 1
		a, b := s.Receiver("a"), s.Receiver("b")
		put(s, 50)
		if got := drain(t, a); len(got) != 50 || slices.Min(got) != first || first <= runSequences {
			t.Errorf("a is given %v", got)
		}
		drain(t, b)
		clearWay()
		put(s, 1)
		synctest.Wait()
		if got := drain(t, a); slices.Contains(got, 1) || slices.Max(got) != first+50 || len(got) != 32 {
			t.Errorf("a is given %v; want the new one and what it has not answered of the earlier run", got)
		}
		if got := drain(t, b); len(got) != 41 || !slices.Contains(got, 40) || slices.Max(got) != first+50 {
			t.Errorf("b is given %v; want the new one and all of the earlier run", got)
		}
		if got := drain(t, s.Receiver("absent")); slices.Contains(got, 1) || !slices.Contains(got, 40) || !slices.Contains(got, first+50) {
			t.Errorf("the one that comes back is given %v", got)
		}
		if got := s.Stats(); got.Batches != 0 || got.Dropped != 0 {
			t.Errorf("stats %+v", got)
		}
		put(s, 1)
		s = restarted(t, s)
		defer closed(t, s)
		put(s, 1)
		if got := s.Stats(); got.Batches != 2 || s.last <= first+runSequences/2 {
			t.Errorf("after a restart: %+v, sequence %d after %d", got, s.last, first)
		}
	})
}

func TestFolderThatCannotBeUsedLeavesTheBoundsOfMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, clearWay := obstructed(t, Options{Path: t.TempDir(), MaxMemoryBytes: 20_000})
		put(s, 2000)
		got := s.Stats()
		if got.MemoryBytes > 25_000 || got.Dropped == 0 || got.Batches+int(got.Dropped) != 2000 {
			t.Errorf("stats = %+v", got)
		}
		if left := drain(t, s.Receiver("a")); len(left) != got.Batches {
			t.Errorf("%d were given", len(left))
		}
		clearWay()
		closed(t, s)
	})
}
