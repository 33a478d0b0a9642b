package storage

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/foretide/foretide/pkg/telemetry"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// small is for the few series of a test: with the stripes that are shipped most of its time would go into opening and closing.
func small(o *tsdb.Options) { o.StripeSize = 1 << 6 }

// openWith opens a small store and waits until it is open as a whole.
func openWith(t *testing.T, o Options) *Store {
	t.Helper()
	if o.tune == nil {
		o.tune = small
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.WaitRaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T, dir string, now time.Time) *Store {
	t.Helper()
	return openWith(t, Options{Dir: dir, Now: func() time.Time { return now }})
}

func batch(sequence uint64, end time.Time) telemetry.Batch {
	utilization := float64(sequence%100) / 100
	return telemetry.Batch{
		Node: "node-a", Session: "s", Sequence: sequence, Start: end.Add(-time.Second), End: end, OwnersKnown: true,
		Readings: []telemetry.Reading{{
			Device: telemetry.Device{UUID: "GPU-0", Index: 3, Model: "H100"},
			Values: telemetry.Values{telemetry.UtilizationMean: utilization, telemetry.MemoryUsed: 1 << 30},
		}},
		Usages: []telemetry.Usage{{
			Owner:      telemetry.Owner{Namespace: "default", Pod: "bert-0", Container: "main"},
			DeviceUUID: "GPU-0", Attribution: telemetry.AttributionExclusive,
			Values: telemetry.Values{telemetry.UtilizationMean: utilization},
		}},
	}
}

// frame is a batch as the first of its stream.
func frame(b telemetry.Batch) telemetry.Frame {
	var framer telemetry.Framer
	return framer.Frame(b)
}

func mustAppend(t *testing.T, s *Store, frames ...telemetry.Frame) {
	t.Helper()
	if err := errors.Join(s.AppendFrames(t.Context(), frames)...); err != nil {
		t.Fatal(err)
	}
}

func appendBatch(t *testing.T, s *Store, b telemetry.Batch) {
	t.Helper()
	mustAppend(t, s, frame(b))
}

// raw returns everything the raw tier holds of one metric, by label set.
func raw(t *testing.T, s *Store, metric string) map[string][]Point {
	t.Helper()
	db, err := s.raw.use()
	if err != nil {
		t.Fatal(err)
	}
	defer db.release()
	q, err := db.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	out := map[string][]Point{}
	set := q.Select(context.Background(), false, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, metric))
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

func TestDirectoryIsHeldByOneStore(t *testing.T) {
	dir := t.TempDir()
	registry := prometheus.NewRegistry()
	first := openWith(t, Options{Dir: dir, Registerer: registry})
	_, err := Open(Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "another process holds") || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second open: %v", err)
	}
	if err := errors.Join(first.Close(), first.Close()); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"frames": first.AppendFrames(t.Context(), []telemetry.Frame{frame(batch(1, start))})[0],
		"demand": first.AppendDemand(t.Context(), bert, time.Now(), 1, 1),
		"read":   second(first.Demand(t.Context(), bert, start, start.Add(time.Hour), time.Minute)),
		"wait":   first.WaitRaw(t.Context()),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after close: %v, want ErrClosed", what, err)
		}
	}
	again := openWith(t, Options{Dir: dir, Registerer: registry})
	if again.ID() != first.ID() {
		t.Errorf("the store is named %s, and before %s", again.ID(), first.ID())
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	tiers := map[string]bool{}
	for _, f := range families {
		if f.GetName() == "prometheus_tsdb_head_series" {
			for _, m := range f.GetMetric() {
				tiers[m.GetLabel()[0].GetValue()] = true
			}
		}
	}
	if diff := cmp.Diff(map[string]bool{"raw": true, "workload": true}, tiers); diff != "" {
		t.Errorf("tiers in the metrics (-want +got):\n%s", diff)
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	for _, c := range []struct {
		options Options
		want    string
	}{
		{Options{}, "directory is empty"},
		{Options{Dir: "x", RawRetention: time.Hour}, "raw retention is 1h0m0s: it must be at least 24h0m0s"},
		{Options{Dir: "x", WorkloadRetention: -1}, "workload retention is -1ns"},
		{Options{Dir: "x", RawOutOfOrderWindow: 8 * 24 * time.Hour}, "raw out-of-order window is 192h0m0s"},
		{Options{Dir: "x", RawOutOfOrderWindow: time.Minute}, "raw out-of-order window is 1m0s: it must be at least 1h0m0s"},
		{Options{Dir: "x", RawMaxBytes: -1}, "raw max bytes is -1"},
		{Options{Dir: "x", RawMaxPercentage: 101}, "raw max percentage is 101"},
		{Options{Dir: "x", RawMaxPercentage: math.NaN()}, "raw max percentage is NaN"},
		{Options{Dir: "x", RawMaxBytes: 1, RawMaxPercentage: 1}, "give one of them"},
	} {
		if _, err := Open(c.options); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v: want …%s…", err, c.want)
		}
	}
}

func TestIdentityIsKeptAndEachStoreHasItsOwn(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, start)
	if other := open(t, t.TempDir(), start); first.ID() == other.ID() || len(first.ID()) < 20 {
		t.Errorf("two stores are named %q and %q", first.ID(), other.ID())
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "id"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "delete the file to get a new one") {
		t.Errorf("open with a broken identity: %v", err)
	}
}

func TestOldestBlocksGoWhenThereAreTooManyBytes(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), start
	clock := func() time.Time { return now }
	s := openWith(t, Options{Dir: dir, Now: clock})
	for range 30 {
		now = now.Add(20 * time.Minute)
		mustAppend(t, s, frame(withEnd(crowd("node-a"), now)))
	}
	if err := errors.Join(s.raw.db.Compact(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	count := func(maxBytes int64) (blocks, points int) {
		s := openWith(t, Options{Dir: dir, Now: clock, RawMaxBytes: maxBytes})
		blocks = len(s.raw.db.Blocks())
		for _, p := range raw(t, s, "foretide_device_power_watts") {
			points += len(p)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return blocks, points
	}
	blocks, points := count(0)
	left, fewer := count(1)
	if blocks < 2 || left != 0 || fewer == 0 || fewer >= points {
		t.Errorf("%d blocks and %d points became %d and %d: want no block, and the newest points", blocks, points, left, fewer)
	}
}

func withEnd(b telemetry.Batch, end time.Time) telemetry.Batch {
	b.Start, b.End = end.Add(-time.Second), end
	return b
}
