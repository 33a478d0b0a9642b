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

// restarted closes the spool and opens its folder again.
func restarted(t *testing.T, s *Spool) *Spool {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, s.o)
}

func closed(t *testing.T, s *Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func segmentsIn(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestBatchesSessionAndAnswersSurviveARestart(t *testing.T) {
	s := open(t, Options{Path: t.TempDir()})
	put(s, 40)
	a, b := s.Receiver("a"), s.Receiver("b")
	for n := range uint64(30) {
		a.Ack(n + 1)
	}
	b.Ack(1)
	b.Refuse(20)
	session := s.Session()
	s = restarted(t, s)
	if s.Session() != session {
		t.Errorf("session %q, before %q", s.Session(), session)
	}
	if got := s.Stats(); got.Batches != 38 || got.Acknowledged != 0 {
		t.Errorf("stats = %+v; want all but the two both have answered", got)
	}
	if got := drain(t, s.Receiver("a")); !slices.Equal(got, fromTo(31, 40)) {
		t.Errorf("a is given %v", got)
	}
	got := drain(t, s.Receiver("b"))
	slices.Sort(got)
	if want := append(fromTo(2, 19), fromTo(21, 40)...); !slices.Equal(got, want) {
		t.Errorf("b is given %v; want %v", got, want)
	}
	closed(t, s)
	if files := segmentsIn(t, s.o.Path); len(files) != 0 {
		t.Errorf("files %v are left with nobody to send them to", files)
	}
}

func TestNoSequenceIsEverGivenTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Path: t.TempDir()}
		seen := map[uint64]bool{}
		var early []byte
		for run := range 6 {
			s := open(t, o)
			put(s, 3)
			for _, n := range drain(t, s.Receiver("a")) {
				if seen[n] {
					t.Errorf("run %d: sequence %d was given before", run, n)
				}
				seen[n] = true
			}
			closed(t, s)
			file := filepath.Join(o.Path, sessionFile)
			switch run {
			case 1:
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				early = content
			case 3: // as if neither this run nor the one before could write its number down
				if err := os.WriteFile(file, early, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
		}
		if len(seen) != 18 {
			t.Errorf("%d batches came; want 18", len(seen))
		}
	})
}

func TestOlderBatchesAreReadBackFromTheirFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Path: t.TempDir()})
		defer closed(t, s)
		const n = 2000
		for range n {
			b := batch("GPU-1")
			b.Problems = []string{strings.Repeat("x", 1000)}
			s.Put(b)
		}
		synctest.Wait() // the files are written
		if got := s.Stats(); got.MemoryBytes > cacheBytes || got.DiskBytes <= cacheBytes || got.DiskBytes != got.Bytes || got.Batches != n {
			t.Errorf("stats = %+v; want all in files and 1 MiB in memory", got)
		}
		got := drain(t, s.Receiver("a"))
		slices.Sort(got)
		if !slices.Equal(got, fromTo(1, n)) {
			t.Errorf("%d batches came back", len(got))
		}
		synctest.Wait()
		if files := segmentsIn(t, s.o.Path); len(files) > 1 {
			t.Errorf("%d files are left", len(files))
		}
	})
}

func TestDiskIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Path: t.TempDir(), MaxDiskBytes: 20_000})
		defer closed(t, s)
		put(s, 2000)
		synctest.Wait()
		size := 0
		for _, f := range segmentsIn(t, s.o.Path) {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			size += int(info.Size())
		}
		got := s.Stats()
		if size > 20_000 || size < 15_000 || got.DiskBytes != size || got.Batches+int(got.Dropped) != 2000 {
			t.Errorf("%d bytes in files, stats %+v", size, got)
		}
	})
}

func TestTornEndIsCutOffAndEverythingBeforeItIsKept(t *testing.T) {
	for what, tear := range map[string]func(whole []byte) []byte{
		"cut within a record": func(whole []byte) []byte { return whole[:len(whole)-3] },
		"garbage after it":    func(whole []byte) []byte { return append(whole, "\x05\x00\x00\x00garba"...) },
		"zeros after it":      func(whole []byte) []byte { return append(whole, make([]byte, 100)...) },
		"a byte turned":       func(whole []byte) []byte { whole[len(whole)-1] ^= 1; return whole },
	} {
		t.Run(what, func(t *testing.T) {
			var log strings.Builder
			s := open(t, Options{Path: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
			put(s, 10)
			closed(t, s)
			file := segmentsIn(t, s.o.Path)[0]
			whole, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, tear(whole), 0o600); err != nil {
				t.Fatal(err)
			}
			s = open(t, s.o)
			defer closed(t, s)
			put(s, 1)
			got := drain(t, s.Receiver("a"))
			if len(got) < 10 || !slices.Equal(got[:9], fromTo(1, 9)) || got[len(got)-1] <= runSequences || !strings.Contains(log.String(), "is torn") {
				t.Errorf("given %v\n%s", got, log.String())
			}
			if n := s.Stats().Dropped; n != 1 {
				t.Errorf("%d batches count as dropped; want one", n)
			}
		})
	}
}

func TestFileThatIsNoSegmentIsRemovedAndSaid(t *testing.T) {
	var log strings.Builder
	o := Options{Path: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil))}
	for name, content := range map[string]string{"00000000000000000001.segment": "", "00000000000000000007.segment": "nonsense",
		receiversFile: "{", sessionFile: "nonsense"} {
		if err := os.WriteFile(filepath.Join(o.Path, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, o)
	put(s, 3)
	if got := drain(t, s.Receiver("a")); !slices.Equal(got, fromTo(1, 3)) {
		t.Errorf("given %v", got)
	}
	closed(t, s)
	if strings.Count(log.String(), "level=WARN") != 4 {
		t.Errorf("want a line for each of the four:\n%s", log.String())
	}
}

func TestWhatWasAnsweredOfALostSessionSaysNothingOfTheNext(t *testing.T) {
	s := open(t, Options{Path: t.TempDir()})
	put(s, 5)
	drain(t, s.Receiver("a"))
	closed(t, s)
	if err := os.WriteFile(filepath.Join(s.o.Path, sessionFile), nil, 0o600); err != nil { // as a node that lost its power leaves it
		t.Fatal(err)
	}
	session := s.Session()
	s = open(t, s.o)
	defer closed(t, s)
	put(s, 3)
	if got := drain(t, s.Receiver("a")); s.Session() == session || !slices.Equal(got, fromTo(1, 3)) {
		t.Errorf("session %q after %q, given %v; want the batches of the new one", s.Session(), session, got)
	}
}

// A folder in the place of the next file is a disk that cannot be written, for every user.
func TestDiskThatFailsIsSaidOnceAndUsedAgainWhenItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := open(t, Options{Path: t.TempDir(), MaxMemoryBytes: 20_000, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		put(s, 16)
		synctest.Wait()
		obstacle := s.disk.file(&segment{first: 17})
		if err := os.Mkdir(obstacle, 0o700); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			put(s, 1)
			synctest.Wait()
		}
		if got := s.Stats(); got.Batches != 216 || got.Dropped != 0 || strings.Count(log.String(), "level=WARN") != 1 {
			t.Errorf("stats %+v, log:\n%s", got, log.String())
		}
		if err := os.Remove(obstacle); err != nil {
			t.Fatal(err)
		}
		put(s, 1)
		synctest.Wait()
		if got := s.Stats(); got.DiskBytes != got.Bytes || !strings.Contains(log.String(), "can be written again") {
			t.Errorf("stats %+v, log:\n%s", got, log.String())
		}
		s = restarted(t, s)
		defer closed(t, s)
		if got := s.Stats(); got.Batches != 217 {
			t.Errorf("after a restart: %+v", got)
		}
	})
}

func TestDiskThatFailsForLongLeavesTheBoundsOfMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Path: filepath.Join(t.TempDir(), "spool"), MaxMemoryBytes: 20_000})
		defer closed(t, s)
		put(s, 16)
		synctest.Wait()
		if err := os.Rename(s.o.Path, s.o.Path+".away"); err != nil {
			t.Fatal(err)
		}
		for range 2000 {
			put(s, 1)
			synctest.Wait()
		}
		got := s.Stats()
		if got.MemoryBytes > 25_000 || got.Dropped == 0 || got.Batches+int(got.Dropped) != 2016 {
			t.Errorf("stats = %+v", got)
		}
		if err := os.Rename(s.o.Path+".away", s.o.Path); err != nil {
			t.Fatal(err)
		}
		drained := drain(t, s.Receiver("a"))
		slices.Sort(drained)
		if len(drained) != got.Batches || !slices.Equal(drained[:16], fromTo(1, 16)) {
			t.Errorf("%d were given, the first %v; want what is in files to be kept", len(drained), drained[:16])
		}
	})
}

func TestAnswersAreSavedWithinSecondsAndFilesRemovedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Path: t.TempDir()})
		defer closed(t, s)
		c := s.Receiver("a")
		put(s, 20)
		drain(t, c)
		synctest.Wait()
		if files := segmentsIn(t, s.o.Path); len(files) != 1 {
			t.Errorf("files = %v; want the current one only", files)
		}
		time.Sleep(saveEvery)
		synctest.Wait()
		content, err := os.ReadFile(filepath.Join(s.o.Path, receiversFile))
		if err != nil || !strings.Contains(string(content), `"a":{"answered":[{"first":0,"last":20}]`) {
			t.Errorf("saved %s, error %v", content, err)
		}
	})
}

func TestOldBatchesOfAnEarlierRunAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Path: t.TempDir()})
		put(s, 20)
		time.Sleep(time.Hour)
		put(s, 20)
		closed(t, s)
		time.Sleep(40 * time.Minute)
		s = open(t, s.o)
		defer closed(t, s)
		if got := s.Stats(); got.Batches+int(got.Dropped) != 40 || got.Batches != 24 || got.OldestAge != 40*time.Minute {
			t.Errorf("stats = %+v; want the segment that is older than %v to be dropped", got, s.o.MaxAge)
		}
	})
}
