package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/foretide/foretide/pkg/telemetry"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func open(t *testing.T, dir string, now time.Time) *Store {
	t.Helper()
	s, err := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
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

// raw returns everything the raw tier holds of one metric, by label set.
func raw(t *testing.T, s *Store, metric string) map[string][]Point {
	t.Helper()
	q, err := s.raw.db.Querier(math.MinInt64, math.MaxInt64)
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

func TestBatchBecomesSeriesNamedAsTheCatalogueSays(t *testing.T) {
	s := open(t, t.TempDir(), start)
	if err := s.AppendBatch(t.Context(), batch(7, start)); err != nil {
		t.Fatal(err)
	}
	got := map[string]map[string][]Point{}
	for _, metric := range []string{"foretide_device_utilization_ratio", "foretide_device_memory_used_bytes",
		"foretide_pod_utilization_ratio", "foretide_pod_memory_used_bytes"} {
		if series := raw(t, s, metric); len(series) > 0 {
			got[metric] = series
		}
	}
	want := map[string]map[string][]Point{
		"foretide_device_utilization_ratio": {
			`{__name__="foretide_device_utilization_ratio", gpu="3", model="H100", node="node-a", uuid="GPU-0"}`: {{start, 0.07}},
		},
		"foretide_device_memory_used_bytes": {
			`{__name__="foretide_device_memory_used_bytes", gpu="3", model="H100", node="node-a", uuid="GPU-0"}`: {{start, 1 << 30}},
		},
		"foretide_pod_utilization_ratio": {
			`{__name__="foretide_pod_utilization_ratio", container="main", namespace="default", node="node-a", pod="bert-0", uuid="GPU-0"}`: {{start, 0.07}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}

func TestEveryPartOfABatchHasItsOwnSeries(t *testing.T) {
	s := open(t, t.TempDir(), start)
	b := batch(7, start)
	b.Readings[0].Unattributed = telemetry.Values{telemetry.UtilizationMean: 0.01, telemetry.Temperature: 40}
	b.Readings[0].Values[telemetry.Temperature] = 40
	b.Readings = append(b.Readings, telemetry.Reading{
		Device: telemetry.Device{UUID: "MIG-1", Index: 3, Model: "H100",
			MIG: telemetry.MIG{ParentUUID: "GPU-0", GPUInstance: 9, Profile: "1g.10gb"}},
		Values: telemetry.Values{telemetry.UtilizationMean: 0.5},
	})
	b.Usages[0].Values[telemetry.Energy] = 12
	b.Usages[0].Values[telemetry.Temperature] = 40 // no owner has one
	b.Workload = []telemetry.WorkloadValue{{Namespace: "default", Pod: "bert-0", Name: "vllm:num_requests_waiting", Value: 3}}
	if err := s.AppendBatch(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for metric, want := range map[string]map[string][]Point{
		"foretide_device_utilization_ratio": {
			`{__name__="foretide_device_utilization_ratio", gpu="3", model="H100", node="node-a", uuid="GPU-0"}`:                                                      {{start, 0.07}},
			`{__name__="foretide_device_utilization_ratio", gpu="3", gpu_instance="9", model="H100", node="node-a", parent="GPU-0", profile="1g.10gb", uuid="MIG-1"}`: {{start, 0.5}},
		},
		"foretide_unattributed_utilization_ratio": {
			`{__name__="foretide_unattributed_utilization_ratio", node="node-a", uuid="GPU-0"}`: {{start, 0.01}},
		},
		"foretide_pod_energy_joules_total": {
			`{__name__="foretide_pod_energy_joules_total", container="main", namespace="default", node="node-a", pod="bert-0", uuid="GPU-0"}`: {{start, 12}},
		},
		"vllm:num_requests_waiting": {
			`{__name__="vllm:num_requests_waiting", namespace="default", node="node-a", pod="bert-0"}`: {{start, 3}},
		},
		"foretide_pod_temperature_celsius":          {},
		"foretide_unattributed_temperature_celsius": {},
	} {
		if diff := cmp.Diff(want, raw(t, s, metric)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", metric, diff)
		}
	}
}

func TestWordOfAServerThatCouldBeTakenForOursIsRefusedAndLeavesNothing(t *testing.T) {
	s := open(t, t.TempDir(), start)
	for want, v := range map[string]telemetry.WorkloadValue{
		`"foretide_pod_utilization_ratio": names that begin with foretide_`: {Namespace: "a", Pod: "p", Name: "foretide_pod_utilization_ratio"},
		`"": a metric's name is letters`:                                    {Namespace: "a", Pod: "p"},
		`"1up": a metric's name is letters`:                                 {Namespace: "a", Pod: "p", Name: "1up"},
		`"queue length": a metric's name is letters`:                        {Namespace: "a", Pod: "p", Name: "queue length"},
		`"\xff": a metric's name is letters`:                                {Namespace: "a", Pod: "p", Name: "\xff"},
		`pod "\xff": both must be UTF-8`:                                    {Namespace: "a", Pod: "\xff", Name: "up"},
	} {
		b := batch(1, start)
		b.Workload = []telemetry.WorkloadValue{{Namespace: "a", Pod: "p", Name: "good"}, v}
		err := s.AppendBatch(t.Context(), b)
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Class != ClassInvalid || !strings.Contains(refused.Reason, want) || !strings.Contains(refused.Reason, "workload[1]") {
			t.Errorf("error %v: want a refusal that says …%s…", err, want)
		}
	}
	for _, metric := range []string{"good", "foretide_device_utilization_ratio", "foretide_pod_utilization_ratio"} {
		if got := raw(t, s, metric); len(got) > 0 {
			t.Errorf("%s was stored: %v", metric, got)
		}
	}
}

func BenchmarkAppendBatch(b *testing.B) {
	for _, pods := range []int{8, 64} {
		b.Run(fmt.Sprintf("gpus=8/pods=%d", pods), func(b *testing.B) {
			end := start
			s, err := Open(Options{Dir: b.TempDir(), Now: func() time.Time { return end }})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			full := crowd(pods)
			b.ReportAllocs()
			for b.Loop() {
				end = end.Add(time.Second)
				full.Start, full.End = end.Add(-time.Second), end
				if err := s.AppendBatch(b.Context(), full); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// crowd is a batch of eight GPUs that some pods share, with every value of the catalogue.
func crowd(pods int) telemetry.Batch {
	out := telemetry.Batch{Node: "node-a", Session: "s", Sequence: 1, OwnersKnown: true}
	values := func(has func(telemetry.Definition) bool) telemetry.Values {
		v := telemetry.Values{}
		for _, d := range telemetry.Catalogue() {
			if has(d) {
				v[d.Metric] = 0.5
			}
		}
		return v
	}
	for i := range 8 {
		out.Readings = append(out.Readings, telemetry.Reading{
			Device: telemetry.Device{UUID: fmt.Sprintf("GPU-5fd4f087-86f3-7a43-b711-4771313afc5%d", i), Index: i, Model: "NVIDIA H100 80GB HBM3"},
			Values: values(func(telemetry.Definition) bool { return true }), Unattributed: values(func(d telemetry.Definition) bool { return d.Split.Sums() }),
		})
	}
	for i := range pods {
		out.Usages = append(out.Usages, telemetry.Usage{
			Owner:      telemetry.Owner{Namespace: "default", Pod: fmt.Sprintf("bert-intent-detection-7d9fd9df9b-%05d", i), Container: "main"},
			DeviceUUID: out.Readings[i%8].Device.UUID, Attribution: telemetry.AttributionProcess,
			Values: values(func(d telemetry.Definition) bool {
				return d.UsageName() != "" && (pods <= 8 || d.Split != telemetry.SplitSole)
			}),
		})
	}
	return out
}

func TestResentAndLateBatchesAreStoredOnce(t *testing.T) {
	s := open(t, t.TempDir(), start.Add(time.Hour))
	var want []Point
	at := func(i uint64) time.Time { return start.Add(time.Duration(i) * time.Second) }
	for i := uint64(1); i <= 20; i++ {
		want = append(want, Point{at(i), float64(i) / 100})
	}
	for _, i := range []uint64{1, 2, 3, 10, 11, 3, 2, 1, 11, 4, 5, 6, 7, 8, 9, 20, 12, 13, 14, 15, 16, 17, 18, 19, 20, 1} {
		if err := s.AppendBatch(t.Context(), batch(i, at(i))); err != nil {
			t.Fatalf("batch %d: %v", i, err)
		}
	}
	other := batch(50, at(20)) // the same moment with another value: what came first stands
	if err := s.AppendBatch(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	for series, got := range raw(t, s, "foretide_pod_utilization_ratio") {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", series, diff)
		}
	}
}

func TestBatchOutsideTheBoundsIsRefusedAndLeavesNothing(t *testing.T) {
	now := start.Add(8 * 24 * time.Hour)
	s := open(t, t.TempDir(), now)
	if err := s.AppendBatch(t.Context(), batch(1, now)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		end   time.Time
		class string
		text  string
	}{
		{"older than the out-of-order window", now.Add(-time.Hour - time.Second), ClassTooOld, "1h0m1s older than the newest stored sample: at most 1h0m0s is taken"},
		{"older than the retention", start, ClassTooOld, "older than the retention of 168h0m0s"},
		{"a clock of 1970", time.Unix(1, 0), ClassTooOld, "1970-01-01T00:00:01Z"},
		{"ahead of the clock", now.Add(11 * time.Minute), ClassFuture, "11m0s ahead of the clock here: at most 10m0s is taken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := s.AppendBatch(t.Context(), batch(9, c.end))
			var refused *RefusedError
			if !errors.Is(err, ErrRefused) || !errors.As(err, &refused) {
				t.Fatalf("error %v: want a refusal", err)
			}
			if class, reason := refused.Refusal(); class != c.class || !strings.Contains(reason, c.text) {
				t.Errorf("refused as %q: %s; want %q: …%s…", class, reason, c.class, c.text)
			}
		})
	}
	for series, points := range raw(t, s, "foretide_pod_utilization_ratio") {
		if len(points) != 1 {
			t.Errorf("%s has %d samples, want the first one only", series, len(points))
		}
	}
	if err := s.AppendBatch(t.Context(), batch(2, now.Add(-59*time.Minute))); err != nil {
		t.Errorf("within the window: %v", err)
	}
}

func TestDirectoryIsHeldByOneStore(t *testing.T) {
	dir := t.TempDir()
	registry := prometheus.NewRegistry()
	first, err := Open(Options{Dir: dir, Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "another process holds") || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second open: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.AppendBatch(t.Context(), batch(1, start)); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v, want ErrClosed", err)
	}
	again, err := Open(Options{Dir: dir, Registerer: registry})
	if err != nil {
		t.Fatalf("open after close, same registerer: %v", err)
	}
	defer func() { _ = again.Close() }()
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
	} {
		if _, err := Open(c.options); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v: want …%s…", err, c.want)
		}
	}
}

var bert = Workload{"default", "Deployment", "bert-intent-detection"}

func TestDemandIsReadOnAGridWhereUnknownIsNotZero(t *testing.T) {
	s := open(t, t.TempDir(), start.Add(time.Hour))
	for minute, busy := range map[int]float64{1: 0.5, 2: 0, 4: 2, 6: 3} {
		if err := s.AppendDemand(t.Context(), bert, start.Add(time.Duration(minute)*time.Minute), busy, 2); err != nil {
			t.Fatal(err)
		}
	}
	nan := math.NaN()
	for _, c := range []struct {
		name     string
		from, to time.Time
		step     time.Duration
		want     []float64
	}{
		{"a sample belongs to the step that ends at it", start, start.Add(6 * time.Minute), time.Minute, []float64{0.5, 0, nan, 2, nan, 3}},
		{"bounds are rounded down", start.Add(59 * time.Second), start.Add(2*time.Minute + 59*time.Second), time.Minute, []float64{0.5, 0}},
		{"wide steps hold the mean of what is known", start, start.Add(6 * time.Minute), 2 * time.Minute, []float64{0.25, 2, 3}},
		{"nothing known", start.Add(-2 * time.Minute), start, time.Minute, []float64{nan, nan}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := s.Demand(t.Context(), bert, c.from, c.to, c.step)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("demand (-want +got):\n%s", diff)
			}
		})
	}
	other, err := s.Demand(t.Context(), Workload{"default", "Deployment", "other"}, start, start.Add(time.Minute), time.Minute)
	if err != nil || !math.IsNaN(other[0]) {
		t.Errorf("another workload: %v, %v; want unknown", other, err)
	}
}

func TestWrongDemandIsRefusedByName(t *testing.T) {
	s := open(t, t.TempDir(), start)
	for want, err := range map[string]error{
		"busy GPUs is NaN":    s.AppendDemand(t.Context(), bert, start, math.NaN(), 1),
		"pods is -1":          s.AppendDemand(t.Context(), bert, start, 1, -1),
		`kind ""`:             s.AppendDemand(t.Context(), Workload{"a", "", "b"}, start, 1, 1),
		"ahead of the clock":  s.AppendDemand(t.Context(), bert, start.Add(time.Hour), 1, 1),
		"points[1].value is ": second(s.AppendDemandHistory(t.Context(), bert, []Point{{start, 1}, {start, math.Inf(1)}})),
		"points[0].time":      second(s.AppendDemandHistory(t.Context(), bert, []Point{{start.Add(time.Hour), 1}})),
	} {
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v: want a refusal with %q", err, want)
		}
	}
	if _, err := s.Demand(t.Context(), bert, start, start, time.Minute); err == nil {
		t.Error("an empty range gives no error")
	}
	if _, err := s.Demand(t.Context(), bert, start, start.Add(time.Hour), 0); err == nil {
		t.Error("a step of 0 gives no error")
	}
}

func second[T any](_ T, err error) error { return err }

// history is one point a minute that ends at the given time, with a hole of an hour after the first day.
func history(end time.Time, days int, level float64) []Point {
	n := days * 24 * 60
	points := make([]Point, 0, n)
	for i := range n {
		if i >= 1440 && i < 1500 {
			continue
		}
		points = append(points, Point{end.Add(time.Duration(i+1-n) * time.Minute), level + float64(i%1440)/1440})
	}
	return points
}

func TestImportedHistoryIsThereAfterReopening(t *testing.T) {
	for _, existing := range []bool{false, true} {
		t.Run(fmt.Sprintf("existing store %v", existing), func(t *testing.T) {
			// The fresh store takes four weeks; the other one less, but through compaction as well.
			days := 28
			if existing {
				days = 14
			}
			dir := t.TempDir()
			s := open(t, dir, start)
			recorded := start.Add(-time.Minute)
			if existing {
				if err := s.AppendDemand(t.Context(), bert, recorded, 42, 1); err != nil {
					t.Fatal(err)
				}
			}
			second := Workload{"default", "StatefulSet", "other"}
			for i, w := range []Workload{bert, second} {
				points := history(start, days, float64(10*i))
				n, err := s.AppendDemandHistory(t.Context(), w, points)
				if err != nil {
					t.Fatal(err)
				}
				want := len(points)
				if existing && i == 0 {
					want-- // the recorded minute stands
				}
				if n != want {
					t.Errorf("%v: %d points written, want %d", w, n, want)
				}
				if again, err := s.AppendDemandHistory(t.Context(), w, points); err != nil || again != 0 {
					t.Errorf("%v: importing again wrote %d points, %v; want none", w, again, err)
				}
			}
			check := func(t *testing.T, s *Store) {
				t.Helper()
				for i, w := range []Workload{bert, second} {
					got, err := s.Demand(t.Context(), w, start.Add(time.Duration(-days)*24*time.Hour), start, time.Minute)
					if err != nil {
						t.Fatal(err)
					}
					for j := range got {
						want := float64(10*i) + float64(j%1440)/1440
						switch {
						case j >= 1440 && j < 1500:
							want = math.NaN()
						case existing && i == 0 && j == len(got)-2:
							want = 42
						}
						if got[j] != want && !(math.IsNaN(got[j]) && math.IsNaN(want)) {
							t.Fatalf("%v: minute %d of %d is %v, want %v", w, j, len(got), got[j], want)
						}
					}
				}
			}
			check(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir, start)
			check(t, s)
			if existing {
				if err := errors.Join(s.workload.db.Compact(t.Context()), s.workload.db.CompactOOOHead(t.Context())); err != nil {
					t.Fatal(err)
				}
				check(t, s)
			}
			if err := s.AppendDemand(t.Context(), bert, start.Add(time.Minute), 7, 1); err != nil {
				t.Errorf("live demand after the import: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			check(t, open(t, dir, start))
		})
	}
}

func TestHistoryOlderThanTheRetentionIsLeftOut(t *testing.T) {
	s := open(t, t.TempDir(), start)
	n, err := s.AppendDemandHistory(t.Context(), bert, []Point{
		{start.Add(-91 * 24 * time.Hour), 1}, {start.Add(-89 * 24 * time.Hour), 2}, {start, 3}, {start, 4},
	})
	if err != nil || n != 2 {
		t.Errorf("%d points, %v; want 2: one is too old, one a repeat", n, err)
	}
}
