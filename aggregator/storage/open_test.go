package storage

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/foretide/foretide/pkg/telemetry"
)

// openSlowly opens a store whose raw tier opens when it is told to.
func openSlowly(t *testing.T, o Options) (s *Store, goOn func()) {
	t.Helper()
	held := make(chan struct{})
	// Before it opens, the raw tier asks for room.
	o.space = func() (space, error) {
		<-held
		return space{free: 1 << 40, total: 1 << 40}, nil
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	// The guard of appends has asked already.
	s.raw.guard.asked, s.raw.guard.every = time.Now(), time.Hour
	goOn = sync.OnceFunc(func() { close(held) })
	t.Cleanup(func() {
		goOn()
		_ = s.Close()
	})
	return s, goOn
}

func TestWorkloadTierServesWhileTheRawTierOpens(t *testing.T) {
	dir := t.TempDir()
	before := open(t, dir, start)
	appendBatch(t, before, batch(1, start.Add(-time.Minute)))
	if err := errors.Join(before.AppendDemand(t.Context(), bert, start.Add(-time.Minute), 2, 1), before.Close()); err != nil {
		t.Fatal(err)
	}

	s, goOn := openSlowly(t, Options{Dir: dir, Now: func() time.Time { return start }})
	if s.ID() != before.ID() {
		t.Errorf("identity %s, want %s", s.ID(), before.ID())
	}
	if err := s.AppendDemand(t.Context(), bert, start, 3, 1); err != nil {
		t.Error(err)
	}
	if got, err := s.Demand(t.Context(), bert, start.Add(-2*time.Minute), start, time.Minute); err != nil || got[0] != 2 || got[1] != 3 {
		t.Errorf("demand %v, %v", got, err)
	}
	for what, err := range map[string]error{
		"frame":  s.AppendFrames(t.Context(), []telemetry.Frame{frame(batch(1, start))})[0],
		"remote": s.RawAppender().AppenderV2(t.Context()).Commit(),
		"stats":  second(s.Stats("job", 1)),
		"query":  second(ask(t, s, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "foretide_pod_utilization_ratio"))),
		"regexp": second(ask(t, s, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, "foretide_workload.*"))),
	} {
		if !errors.Is(err, ErrOpening) || !errors.Is(err, tsdb.ErrNotReady) || errors.Is(err, ErrRefused) ||
			!strings.Contains(err.Error(), "raw history is still being read, try again in a moment") {
			t.Errorf("%s: %v, want that the raw history is being read", what, err)
		}
	}
	own := labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, demandSeries)
	if got, err := ask(t, s, own); err != nil || got != 1 {
		t.Errorf("%d series of the demand, %v; want 1", got, err)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.WaitRaw(done); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting without patience: %v", err)
	}
	if got := testutil.ToFloat64(s.metrics.open.WithLabelValues("raw")); got != 0 {
		t.Errorf("gauge of the raw tier is %v, want 0", got)
	}

	goOn()
	if err := s.WaitRaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := testutil.ToFloat64(s.metrics.open.WithLabelValues("raw")); got != 1 {
		t.Errorf("gauge of the raw tier is %v, want 1", got)
	}
	appendBatch(t, s, batch(1, start))
	for series, points := range raw(t, s, "foretide_pod_utilization_ratio") {
		if len(points) != 2 {
			t.Errorf("%s has %d points", series, len(points))
		}
	}
}

func TestCloseDuringTheOpeningWaitsForItsEnd(t *testing.T) {
	dir := t.TempDir()
	s, goOn := openSlowly(t, Options{Dir: dir})
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	for {
		if err := s.raw.wait(t.Context()); errors.Is(err, ErrClosed) {
			break
		}
	}
	select {
	case err := <-closed:
		t.Fatalf("closed while the raw tier opens: %v", err)
	default:
	}
	goOn()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	open(t, dir, start) // everything was let go of
}

func TestRawTierThatDoesNotOpenIsReported(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "raw"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Dir: dir, Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	failed := <-s.Failed()
	for what, err := range map[string]error{
		"failed": failed, "wait": s.WaitRaw(t.Context()),
		"frame": s.AppendFrames(t.Context(), []telemetry.Frame{frame(batch(1, start))})[0],
	} {
		if err == nil || errors.Is(err, ErrOpening) || !strings.Contains(err.Error(), filepath.Join(dir, "raw")) {
			t.Errorf("%s: %v, want an error that names the folder", what, err)
		}
	}
	if err := s.AppendDemand(t.Context(), bert, start, 1, 1); err != nil {
		t.Errorf("demand: %v", err)
	}
}

type counter struct{ n atomic.Int64 }

func (c *counter) Notify() { c.n.Add(1) }

func TestFollowersOfTheLogLearnOfTiersAndWrites(t *testing.T) {
	t.Parallel()
	s, goOn := openSlowly(t, Options{Dir: t.TempDir(), Now: func() time.Time { return start }})
	opened := make(chan Tier, 3)
	writes := map[string]*counter{"raw": {}, "workload": {}}
	s.OnOpen(func(tier Tier) {
		tier.SetWriteNotified(writes[tier.Name])
		opened <- tier
	})
	if len(opened) != 1 {
		t.Errorf("before the raw tier is open there are %d tiers, want 1", len(opened))
	}
	seen := map[string]string{}
	see := func() {
		tier := <-opened
		seen[tier.Name] = tier.Dir
	}
	see()
	goOn()
	see()
	// The raw tier is opened anew as after a failed write.
	db, err := s.raw.use()
	if err != nil {
		t.Fatal(err)
	}
	db.release()
	s.raw.reopen(db)
	see()
	appendBatch(t, s, batch(1, start))
	if err := s.AppendDemand(t.Context(), bert, start, 1, 1); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"raw": s.raw.dir, "workload": s.workload.dir} {
		if seen[name] != dir || writes[name].n.Load() != 1 {
			t.Errorf("%s is in %q, %d writes; want %q and 1", name, seen[name], writes[name].n.Load(), dir)
		}
	}
}

func TestDamagedBlocksAreSetAsideAndTheRestIsServed(t *testing.T) {
	t.Parallel()
	whole, now := t.TempDir(), start
	clock := func() time.Time { return now }
	s := openWith(t, Options{Dir: whole, Now: clock})
	for range 20 {
		now = now.Add(20 * time.Minute)
		appendBatch(t, s, batch(1, now))
	}
	if err := errors.Join(s.raw.db.Compact(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	blocks, err := blocksIn(filepath.Join(whole, "raw"))
	if err != nil || len(blocks) < 2 {
		t.Fatalf("blocks %v, %v; want two", blocks, err)
	}
	for name, damage := range map[string]func(block string) error{
		"index":      func(block string) error { return os.Truncate(filepath.Join(block, "index"), 40) },
		"no index":   func(block string) error { return os.Remove(filepath.Join(block, "index")) },
		"meta.json":  func(block string) error { return os.WriteFile(filepath.Join(block, "meta.json"), []byte("{"), 0o600) },
		"no chunks":  func(block string) error { return os.RemoveAll(filepath.Join(block, "chunks")) },
		"bad chunks": func(block string) error { return os.Truncate(filepath.Join(block, "chunks", "000001"), 3) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := copyOf(t, whole)
			if err := damage(filepath.Join(dir, "raw", blocks[0])); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			for range 2 { // and it is so at the next start
				s := openWith(t, Options{Dir: dir, Now: clock, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				for series, points := range raw(t, s, "foretide_pod_utilization_ratio") {
					if len(points) < 10 || len(points) > 18 {
						t.Errorf("%s has %d points of 20", series, len(points))
					}
				}
				if got := testutil.ToFloat64(s.metrics.damaged.WithLabelValues("raw")); got != 1 {
					t.Errorf("gauge of damaged blocks is %v, want 1", got)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "raw", "damaged", blocks[0])); err != nil {
				t.Error(err)
			}
			if n := strings.Count(log.String(), "its hours are missing"); n != 1 || !strings.Contains(log.String(), blocks[0]) {
				t.Errorf("%d lines about it:\n%s", n, log.String())
			}
		})
	}
}
