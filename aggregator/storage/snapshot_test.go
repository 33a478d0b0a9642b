package storage

import (
	"context"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// all returns everything both tiers hold, by label set.
func all(t *testing.T, s *Store) map[string][]Point {
	t.Helper()
	q, err := s.Queryable().Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	out := map[string][]Point{}
	set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".+"))
	for set.Next() {
		key := set.At().Labels().String()
		for it := set.At().Iterator(nil); it.Next() == chunkenc.ValFloat; {
			ms, v := it.At()
			out[key] = append(out[key], Point{time.UnixMilli(ms).UTC(), v})
		}
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return out
}

func TestSnapshotOfAStoreThatIsWrittenHasAllThatWasAcknowledgedBefore(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	snapshot, restored := filepath.Join(parent, "snapshot"), filepath.Join(parent, "restored")
	now := start.Add(time.Hour)
	s := open(t, filepath.Join(parent, "store"), now)
	if n, err := s.AppendDemandHistory(t.Context(), bert, history(start, 3, 1)); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	var r sender
	for range 200 {
		r.send(t, s)
	}
	before := maps.Clone(r.acknowledged)
	wantDemand, err := s.Demand(t.Context(), bert, start.Add(-72*time.Hour), start, time.Minute)
	if err != nil {
		t.Fatal(err)
	}

	finished := make(chan error)
	go func() { finished <- s.Snapshot(context.WithoutCancel(t.Context()), snapshot) }()
	var failed error
	for going := true; going; {
		select {
		case failed = <-finished:
			going = false
		default:
			r.send(t, s)
		}
	}
	if failed != nil {
		t.Fatal(failed)
	}
	if len(r.acknowledged) == len(before) || len(r.kept) > 0 {
		t.Errorf("%d frames were taken meanwhile, %d not", len(r.acknowledged)-len(before), len(r.kept))
	}

	if err := Restore(snapshot, restored); err != nil {
		t.Fatal(err)
	}
	again := open(t, restored, now)
	old := sender{acknowledged: before}
	old.check(t, "restored", again)
	gotDemand, err := again.Demand(t.Context(), bert, start.Add(-72*time.Hour), start, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for i := range wantDemand {
		if gotDemand[i] != wantDemand[i] && !(math.IsNaN(gotDemand[i]) && math.IsNaN(wantDemand[i])) {
			t.Fatalf("demand of minute %d is %v, was %v", i, gotDemand[i], wantDemand[i])
		}
	}
	if s.ID() == again.ID() {
		t.Error("the restored store passes for the old one")
	}
	r.send(t, again)
	if len(r.kept) > 0 {
		t.Error("the restored store takes nothing")
	}
}

func TestRestoredStoreGivesTheSameAnswers(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	snapshot := filepath.Join(parent, "snapshot")
	now := start
	s := openWith(t, Options{Dir: filepath.Join(parent, "store"), Now: func() time.Time { return now }})
	for i := range 30 { // blocks, head, and late samples
		now = now.Add(20 * time.Minute)
		appendBatch(t, s, full(uint64(i), now))
		appendBatch(t, s, full(uint64(i), now.Add(-30*time.Minute)))
		if err := s.AppendDemand(t.Context(), bert, now, float64(i), 1); err != nil {
			t.Fatal(err)
		}
		if i == 20 {
			if err := s.raw.db.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := all(t, s)
	if err := s.Snapshot(t.Context(), snapshot); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, all(t, s)); diff != "" {
		t.Errorf("the snapshot changed the store (-before +after):\n%s", diff)
	}
	if err := Restore(snapshot, filepath.Join(parent, "restored")); err != nil {
		t.Fatal(err)
	}
	again := openWith(t, Options{Dir: filepath.Join(parent, "restored"), Now: func() time.Time { return now }})
	if diff := cmp.Diff(want, all(t, again)); diff != "" {
		t.Errorf("answers (-before +after):\n%s", diff)
	}
}

func TestEmptyStoreCanBeSnapshotAndRestored(t *testing.T) {
	parent := t.TempDir()
	snapshot := filepath.Join(parent, "snapshot")
	if err := open(t, filepath.Join(parent, "store"), start).Snapshot(t.Context(), snapshot); err != nil {
		t.Fatal(err)
	}
	if err := Restore(snapshot, filepath.Join(parent, "restored")); err != nil {
		t.Fatal(err)
	}
	appendBatch(t, open(t, filepath.Join(parent, "restored"), start), batch(1, start))
}

func TestSnapshotAndRestoreOverwriteNothing(t *testing.T) {
	parent := t.TempDir()
	snapshot, there := filepath.Join(parent, "snapshot"), filepath.Join(parent, "store")
	s := open(t, there, start)
	appendBatch(t, s, batch(1, start))
	if err := s.Snapshot(t.Context(), snapshot); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(parent, "broken")
	if err := errors.Join(copyTree(snapshot, broken), os.RemoveAll(filepath.Join(broken, "raw"))); err != nil {
		t.Fatal(err)
	}
	interrupted := filepath.Join(parent, "interrupted")
	if err := errors.Join(os.Mkdir(interrupted, 0o777), writeFile(filepath.Join(interrupted, restoring), nil)); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for want, err := range map[string]error{
		"must not be there yet":                           s.Snapshot(t.Context(), snapshot),
		"context canceled":                                s.Snapshot(ended, filepath.Join(parent, "other")),
		`the directory is not empty, it has "id"`:         Restore(snapshot, there),
		"it has no snapshot.json":                         Restore(there, filepath.Join(parent, "new")),
		`tier "raw" has 0 of 1 blocks`:                    Restore(broken, filepath.Join(parent, "new")),
		"a restore into it was interrupted: empty it and": second(Open(Options{Dir: interrupted})),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v: want …%s…", err, want)
		}
	}
	for _, name := range []string{"other", "other.tmp", "new"} {
		if _, err := os.Stat(filepath.Join(parent, name)); err == nil {
			t.Errorf("a failed try left %s behind", name)
		}
	}
}
