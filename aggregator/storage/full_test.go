package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/foretide/foretide/pkg/telemetry"
)

func TestReserveIsATwentiethOfASmallFileSystem(t *testing.T) {
	for total, want := range map[uint64]uint64{1 << 40: 256 << 20, 5 << 30: 256 << 20, 1 << 30: 1 << 30 / 20, 0: 0} {
		if got := (space{total: total}).reserve(); got != want {
			t.Errorf("of %d bytes %d are left free, want %d", total, got, want)
		}
	}
}

func TestNothingIsTakenWhileTheDiskIsFullAndReadingGoesOn(t *testing.T) {
	var log bytes.Buffer
	free := uint64(1 << 30)
	s := openWith(t, Options{Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return start },
		space: func() (space, error) { return space{free: free, total: 100 << 30}, nil }})
	appendBatch(t, s, batch(1, start.Add(-time.Hour)))
	for i, c := range []struct {
		free uint64
		full bool
	}{{257 << 20, false}, {255 << 20, true}, {100, true}, {300 << 20, true}, {321 << 20, false}, {257 << 20, false}, {0, true}, {1 << 40, false}} {
		free = c.free
		at := start.Add(time.Duration(i-60) * time.Second)
		for what, err := range map[string]error{
			"frame":   s.AppendFrames(t.Context(), []telemetry.Frame{frame(batch(1, at))})[0],
			"demand":  s.AppendDemand(t.Context(), bert, at, 1, 1),
			"history": second(s.AppendDemandHistory(t.Context(), bert, []Point{{at.Add(-time.Hour), 1}})),
			"remote":  s.RawAppender().AppenderV2(t.Context()).Commit(),
		} {
			if errors.Is(err, ErrDiskFull) != c.full || !c.full && err != nil || errors.Is(err, ErrRefused) {
				t.Errorf("%s with %d MiB free: %v, want full %v", what, c.free>>20, err, c.full)
			}
		}
		if got := testutil.ToFloat64(s.metrics.diskFull) == 1; got != c.full {
			t.Errorf("gauge with %d MiB free is %v", c.free>>20, got)
		}
		if len(raw(t, s, "foretide_pod_utilization_ratio")) != 1 {
			t.Errorf("nothing is read with %d MiB free", c.free>>20)
		}
	}
	if in, out := strings.Count(log.String(), "is full: nothing more is taken"), strings.Count(log.String(), "room on the file system again"); in != 2 || out != 2 {
		t.Errorf("%d lines on entering and %d on leaving, want 2 and 2:\n%s", in, out, log.String())
	}
}

func TestFileSystemThatDoesNotAnswerStopsNothing(t *testing.T) {
	var log bytes.Buffer
	s := openWith(t, Options{Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return start },
		space: func() (space, error) { return space{}, syscall.EIO }})
	for i := range 3 {
		appendBatch(t, s, batch(1, start.Add(time.Duration(i-9)*time.Second)))
	}
	if n := strings.Count(log.String(), "a full disk will be noticed late"); n != 1 {
		t.Errorf("%d lines, want 1:\n%s", n, log.String())
	}
}

// smallDisk makes the folder a file system in memory.
func smallDisk(t *testing.T, dir string, bytes int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("a test of a full disk needs the right to mount one: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// fillDisk makes a file so large that no page is free.
func fillDisk(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	for at, size := int64(0), int64(1<<20); size > 0; {
		switch err := syscall.Fallocate(int(f.Fd()), 0, at, size); {
		case err == nil:
			at += size
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		case !errors.Is(err, syscall.EINTR):
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// keptAtMost is how many frames a sender keeps before it makes no more until some are taken.
const keptAtMost = 20

// sender sends one frame after the other, the fifth of each late, keeps what was not taken and remembers what was acknowledged.
type sender struct {
	layout       *telemetry.Layout
	sent         int
	kept         []telemetry.Frame
	acknowledged map[time.Time]float64
}

func (r *sender) send(t *testing.T, s *Store) (refusals int) {
	t.Helper()
	if len(r.kept) < keptAtMost {
		r.kept = append(r.kept, r.next())
	}
	var again []telemetry.Frame
	for i, err := range s.AppendFrames(t.Context(), r.kept) {
		switch {
		case err == nil:
			if r.acknowledged == nil {
				r.acknowledged = map[time.Time]float64{}
			}
			r.acknowledged[r.kept[i].End.UTC()] = r.kept[i].Values[0]
		case errors.Is(err, ErrRefused):
			t.Fatalf("refused: %v", err)
		default:
			refusals++
			again = append(again, r.kept[i])
		}
	}
	r.kept = again
	return refusals
}

// next makes a frame of a crowd. All its values are the same, which tells it from those before and after.
func (r *sender) next() telemetry.Frame {
	if r.layout == nil {
		r.layout = frame(crowd("node-a")).Layout
	}
	at := start.Add(time.Duration(r.sent) * time.Second)
	if r.sent%5 == 4 {
		at = at.Add(-30*time.Minute + 500*time.Millisecond)
	}
	value := float64(r.sent%1000) / 1000
	r.sent++
	return telemetry.Frame{Node: "node-a", End: at, Layout: r.layout, Values: slices.Repeat([]float64{value}, r.layout.Len())}
}

// check reads whether all that was acknowledged is there.
func (r *sender) check(t *testing.T, when string, s *Store) {
	t.Helper()
	got := map[time.Time]float64{}
	for name, points := range raw(t, s, "foretide_pod_utilization_ratio") {
		if strings.Contains(name, "-00000") {
			for _, p := range points {
				got[p.Time] = p.Value
			}
		}
	}
	missing := 0
	for at, v := range r.acknowledged {
		if w, there := got[at]; !there || w != v {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%s: %d of %d acknowledged frames are missing or changed", when, missing, len(r.acknowledged))
	}
}

// checkCopy reads what a process would find after this one was killed now.
func (r *sender) checkCopy(t *testing.T, when, dir string) {
	t.Helper()
	after := copyOf(t, dir)
	s := open(t, after, start.Add(time.Hour))
	r.check(t, when, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// copyOf is what a folder holds at one moment.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	after := filepath.Join(t.TempDir(), "copy")
	for before := listing(t, dir); ; { // a tier may just be opened anew
		err := errors.Join(os.RemoveAll(after), os.CopyFS(after, os.DirFS(dir)))
		now := listing(t, dir)
		if err == nil && now == before {
			return after
		}
		before = now
	}
}

// listing tells whether a folder has changed.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			if info, err := d.Info(); err == nil {
				fmt.Fprintln(&out, path, info.Size(), info.ModTime())
			}
		}
		return nil
	})
	return out.String()
}

// until sends until the condition holds. Like an agent it waits a little before it sends again what was not taken: a tier stays
// closed for a second.
func (r *sender) until(t *testing.T, s *Store, what string, holds func(refusals int) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		refusals := r.send(t, s)
		if holds(refusals) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a minute has passed until %s", what)
		}
		if refusals > 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

func TestRealDiskThatFillsUpAndIsFreedLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	for name, lookAgain := range map[string]time.Duration{
		"noticed in time": 0,
		// Another process takes the last byte between two looks: the logs themselves fail, also in the middle of a record.
		"noticed by failed writes": time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := t.TempDir()
			smallDisk(t, disk, 64<<20)
			dir, ballast := filepath.Join(disk, "store"), filepath.Join(disk, "ballast")
			o := Options{Dir: dir, Now: func() time.Time { return start.Add(time.Hour) },
				space: func() (space, error) { return spaceOf(dir) }, spaceEvery: lookAgain}
			s := openWith(t, o)
			var r sender
			for range 3 {
				n := r.sent + 50
				r.until(t, s, "50 more are taken", func(int) bool { return r.sent > n && len(r.kept) == 0 })
				fillDisk(t, ballast)
				r.until(t, s, "ten are not taken", func(refusals int) bool { return refusals >= 10 })
				r.checkCopy(t, "killed on the full disk", dir)
				if err := os.Remove(ballast); err != nil {
					t.Fatal(err)
				}
				r.until(t, s, "all is taken again", func(int) bool { return len(r.kept) == 0 })
				r.check(t, "freed", s)
				r.checkCopy(t, "killed when freed", dir)
			}
			if got := testutil.ToFloat64(s.metrics.reopened.WithLabelValues("raw")); (lookAgain > 0) != (got > 0) {
				t.Errorf("the tier was opened anew %v times", got)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			s = openWith(t, o)
			r.check(t, "opened again", s)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			t.Logf("%d sent, %d acknowledged", r.sent, len(r.acknowledged))
		})
	}
}

func TestLateSamplesThatOnlyTheirOwnLogMissesAreNotAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	late := filepath.Join(dir, "raw", "wbl")
	smallDisk(t, late, 4<<20)
	s := open(t, dir, start.Add(time.Hour))
	var r sender
	r.until(t, s, "50 are taken", func(int) bool { return r.sent >= 50 && len(r.kept) == 0 })
	ballast := filepath.Join(late, "ballast")
	fillDisk(t, ballast)
	r.until(t, s, "something is not taken", func(refusals int) bool { return refusals > 0 })
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	r.checkCopy(t, "killed when the log of late samples had failed", dir)
	r.until(t, s, "all is taken again", func(int) bool { return len(r.kept) == 0 })
	r.checkCopy(t, "killed when it was opened anew", dir)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestLateSamplesThatCouldNotBeMadeABlockAreNotLost(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	smallDisk(t, disk, 64<<20)
	dir, ballast := filepath.Join(disk, "store"), filepath.Join(disk, "ballast")
	s := openWith(t, Options{Dir: dir, Now: func() time.Time { return start.Add(time.Hour) },
		space: func() (space, error) { return spaceOf(dir) }, spaceEvery: time.Hour})
	var r sender
	for range 50 {
		r.send(t, s)
	}
	fillDisk(t, ballast)
	if err := os.Truncate(ballast, 40<<20); err != nil { // there is room for the logs, and none for a block
		t.Fatal(err)
	}
	db, err := s.raw.use()
	if err != nil {
		t.Fatal(err)
	}
	err = db.CompactOOOHead(t.Context())
	db.release()
	if !errors.Is(err, ErrDiskFull) {
		t.Fatalf("compaction on a disk that is nearly full: %v", err)
	}
	r.until(t, s, "all is taken again", func(int) bool { return r.sent > 60 && len(r.kept) == 0 })
	r.check(t, "after the compaction has failed", s)
	r.checkCopy(t, "killed after the compaction has failed", dir)
}
