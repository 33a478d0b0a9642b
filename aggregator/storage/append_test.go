package storage

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/storage"

	"github.com/foretide/foretide/pkg/telemetry"
)

func TestFrameBecomesSeriesNamedAsTheCatalogueSays(t *testing.T) {
	s := open(t, t.TempDir(), start)
	appendBatch(t, s, batch(7, start))
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

// full is a batch that has a value of every kind.
func full(sequence uint64, end time.Time) telemetry.Batch {
	b := batch(sequence, end)
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
	return b
}

// fullSeries is where the values of full go.
var fullSeries = map[string][]string{
	"foretide_device_utilization_ratio": {
		`{__name__="foretide_device_utilization_ratio", gpu="3", model="H100", node="node-a", uuid="GPU-0"}`,
		`{__name__="foretide_device_utilization_ratio", gpu="3", gpu_instance="9", model="H100", node="node-a", parent="GPU-0", profile="1g.10gb", uuid="MIG-1"}`,
	},
	"foretide_unattributed_utilization_ratio": {`{__name__="foretide_unattributed_utilization_ratio", node="node-a", uuid="GPU-0"}`},
	"foretide_pod_energy_joules_total": {
		`{__name__="foretide_pod_energy_joules_total", container="main", namespace="default", node="node-a", pod="bert-0", uuid="GPU-0"}`},
	"vllm:num_requests_waiting":                 {`{__name__="vllm:num_requests_waiting", namespace="default", node="node-a", pod="bert-0"}`},
	"foretide_pod_temperature_celsius":          nil,
	"foretide_unattributed_temperature_celsius": nil,
}

func TestEveryPartOfAFrameHasItsOwnSeriesAlsoWhenTheLayoutIsKnown(t *testing.T) {
	s := open(t, t.TempDir(), start.Add(time.Minute))
	var framer telemetry.Framer
	for i := range uint64(3) {
		mustAppend(t, s, framer.Frame(full(7, start.Add(time.Duration(i)*time.Second))))
	}
	changed := full(7, start.Add(3*time.Second))
	changed.Readings = changed.Readings[:1] // the layout changes and comes back
	mustAppend(t, s, framer.Frame(changed))
	mustAppend(t, s, framer.Frame(full(7, start.Add(4*time.Second))))
	for metric, want := range fullSeries {
		got := raw(t, s, metric)
		if len(got) != len(want) {
			t.Errorf("%s has %d series, want %d: %v", metric, len(got), len(want), got)
		}
		for i, series := range want {
			samples := 5
			if i == 1 {
				samples = 4
			}
			if len(got[series]) != samples {
				t.Errorf("%s has %d samples, want %d", series, len(got[series]), samples)
			}
		}
	}
	if diff := cmp.Diff(points(start, 0.07, 5), raw(t, s, "foretide_device_utilization_ratio")[fullSeries["foretide_device_utilization_ratio"][0]]); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

// points are n of the same value, a second apart.
func points(from time.Time, value float64, n int) []Point {
	var out []Point
	for i := range n {
		out = append(out, Point{from.Add(time.Duration(i) * time.Second), value})
	}
	return out
}

func TestSeriesThatTheDatabaseForgotAreMadeAgain(t *testing.T) {
	now := start
	s := openWith(t, Options{Dir: t.TempDir(), Now: func() time.Time { return now }})
	var silent, busy telemetry.Framer
	frame := func(framer *telemetry.Framer, node string) telemetry.Frame {
		b := full(7, now)
		b.Node = node
		return framer.Frame(b)
	}
	mustAppend(t, s, frame(&silent, "node-a"))
	for range 8 {
		now = now.Add(30 * time.Minute)
		mustAppend(t, s, frame(&busy, "node-b"))
	}
	db, err := s.raw.use()
	if err != nil {
		t.Fatal(err)
	}
	defer db.release()
	// The number of a series whose node was quiet stays valid as long as the node is remembered, the series need not.
	kept := db.nodes.byName["node-b"]
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if db.nodes.byName["node-a"] != nil || kept == nil {
		t.Error("a node is not forgotten after an hour, or one that speaks is")
	}
	db.nodes.byName["node-a"] = &nodeSeries{heard: now, layout: kept.layout, refs: make([]storage.SeriesRef, len(kept.refs))}
	for i := range kept.refs { // numbers of series that are long gone
		db.nodes.byName["node-a"].refs[i] = storage.SeriesRef(1<<40 + i)
	}
	stale := frame(&busy, "node-a")
	stale.End = now.Add(time.Second)
	mustAppend(t, s, stale)
	for metric, series := range fullSeries {
		got := raw(t, s, metric)
		for _, name := range series {
			if len(got[name]) != 2 {
				t.Errorf("%s has %v, want the sample of before and one more", name, got[name])
			}
		}
	}
}

func TestWordOfAServerThatCouldBeTakenForOursIsLeftOutAndCounted(t *testing.T) {
	var log bytes.Buffer
	s := openWith(t, Options{Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return start.Add(time.Minute) }})
	var framer telemetry.Framer
	for i := range 2 {
		b := batch(1, start.Add(time.Duration(i)*time.Second))
		for _, name := range []string{"good", "foretide_pod_utilization_ratio", "", "1up", "queue length", "\xff"} {
			b.Workload = append(b.Workload, telemetry.WorkloadValue{Namespace: "a", Pod: "p", Name: name, Value: 9})
		}
		mustAppend(t, s, framer.Frame(b))
	}
	for metric, want := range map[string]int{"good": 1, "foretide_pod_utilization_ratio": 1, "": 0, "1up": 0, "queue length": 0, "\xff": 0} {
		got := raw(t, s, metric)
		if len(got) != want {
			t.Errorf("%q has the series %v, want %d", metric, got, want)
		}
		for series, points := range got {
			if len(points) != 2 || strings.Contains(series, `pod="p"`) != (metric == "good") {
				t.Errorf("%s has %v", series, points)
			}
		}
	}
	for reason, want := range map[string]float64{droppedInvalid: 4, droppedReserved: 1} {
		if got := testutil.ToFloat64(s.metrics.dropped.WithLabelValues(reason)); got != want {
			t.Errorf("%v series dropped as %s, want %v", got, reason, want)
		}
	}
	if n := strings.Count(log.String(), "is not stored"); n != 5 {
		t.Errorf("%d lines about 5 names:\n%s", n, log.String())
	}
}

func TestResentAndLateFramesAreStoredOnce(t *testing.T) {
	s := open(t, t.TempDir(), start.Add(time.Hour))
	var want []Point
	at := func(i uint64) time.Time { return start.Add(time.Duration(i) * time.Second) }
	for i := uint64(1); i <= 20; i++ {
		want = append(want, Point{at(i), float64(i) / 100})
	}
	var framer telemetry.Framer
	var group []telemetry.Frame // each transaction has three, in any order and twice
	for _, i := range []uint64{1, 2, 3, 10, 11, 3, 2, 1, 11, 4, 5, 6, 7, 8, 9, 20, 12, 13, 14, 15, 16, 17, 18, 19, 20, 1, 1} {
		if group = append(group, framer.Frame(batch(i, at(i)))); len(group) == 3 {
			mustAppend(t, s, group...)
			group = nil
		}
	}
	appendBatch(t, s, batch(50, at(20))) // the same moment with another value: what came first stands
	for series, got := range raw(t, s, "foretide_pod_utilization_ratio") {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", series, diff)
		}
	}
}

func TestFrameOutsideTheBoundsIsRefusedAloneAndLeavesNothing(t *testing.T) {
	now := start.Add(8 * 24 * time.Hour)
	s := open(t, t.TempDir(), now)
	appendBatch(t, s, batch(1, now))
	good := 0
	for _, c := range []struct {
		name  string
		end   time.Time
		class string
		text  string
	}{
		{"older than the out-of-order window", now.Add(-2*time.Hour - time.Second), ClassTooOld, "2h0m1s older than the newest stored sample: at most 2h0m0s is taken"},
		{"older than the retention", start, ClassTooOld, "older than the retention of 168h0m0s"},
		{"a clock of 1970", time.Unix(1, 0), ClassTooOld, "1970-01-01T00:00:01Z"},
		{"ahead of the clock", now.Add(11 * time.Minute), ClassFuture, "11m0s ahead of the clock here: at most 10m0s is taken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			good++
			before, after := frame(batch(2, now.Add(-time.Duration(good)*time.Minute))), frame(batch(2, now.Add(-time.Duration(good)*time.Second)))
			answers := s.AppendFrames(t.Context(), []telemetry.Frame{before, frame(batch(9, c.end)), after})
			if answers[0] != nil || answers[2] != nil {
				t.Errorf("frames beside it: %v", answers)
			}
			var refused *RefusedError
			if !errors.Is(answers[1], ErrRefused) || !errors.As(answers[1], &refused) {
				t.Fatalf("error %v: want a refusal", answers[1])
			}
			if class, reason := refused.Refusal(); class != c.class || !strings.Contains(reason, c.text) {
				t.Errorf("refused as %q: %s; want %q: …%s…", class, reason, c.class, c.text)
			}
		})
	}
	for series, points := range raw(t, s, "foretide_pod_utilization_ratio") {
		if len(points) != 1+2*good {
			t.Errorf("%s has %d samples, want %d", series, len(points), 1+2*good)
		}
	}
	appendBatch(t, s, batch(2, now.Add(-119*time.Minute))) // within the window
}

func TestFrameWhoseValuesDoNotFitItsLayoutIsRefused(t *testing.T) {
	s := open(t, t.TempDir(), start)
	short := frame(batch(1, start))
	short.Values = short.Values[1:]
	for _, f := range []telemetry.Frame{short, {Node: "node-a", End: start}} {
		var refused *RefusedError
		if err := s.AppendFrames(t.Context(), []telemetry.Frame{f})[0]; !errors.As(err, &refused) || refused.Class != ClassInvalid {
			t.Errorf("error %v: want a refusal as %s", err, ClassInvalid)
		}
	}
}

func TestWorkersAppendAtTheSameTime(t *testing.T) {
	const workers, nodes, rounds = 4, 8, 25
	s := open(t, t.TempDir(), start.Add(time.Hour))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { // node-0 is everybody's, the others are one worker's each
			for round := range rounds {
				var frames []telemetry.Frame
				for n := range nodes {
					if n > 0 && n%workers != w {
						continue
					}
					b := full(7, start.Add(time.Duration(round)*time.Second))
					b.Node = fmt.Sprintf("node-%d", n)
					frames = append(frames, frame(b))
				}
				if err := errors.Join(s.AppendFrames(t.Context(), frames)...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := raw(t, s, "foretide_pod_energy_joules_total")
	if len(got) != nodes {
		t.Errorf("%d series, want %d", len(got), nodes)
	}
	for series, samples := range got {
		if len(samples) != rounds {
			t.Errorf("%s has %d samples, want %d", series, len(samples), rounds)
		}
	}
}
