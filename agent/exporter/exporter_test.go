package exporter

import (
	"flag"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/foretide/foretide/pkg/telemetry"
)

// update rewrites the golden files: go test ./agent/exporter -update
var update = flag.Bool("update", false, "write testdata/*.txt anew")

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type node struct {
	*Exporter
	registry *prometheus.Registry
	now      time.Time
	interval time.Duration
	self     Self
}

func newNode(t *testing.T) *node { return newNodeWith(t, Options{}) }

func newNodeWith(t *testing.T, o Options) *node {
	t.Helper()
	n := &node{registry: prometheus.NewRegistry(), now: noon, interval: time.Second}
	e, err := New(Options{Node: "node-1", Version: "v1.2.3", WithoutDCGM: o.WithoutDCGM,
		Interval: func() time.Duration { return n.interval }, Registerer: n.registry,
		Self: func() Self { return n.self }, Now: func() time.Time { return n.now }})
	if err != nil {
		t.Fatal(err)
	}
	n.Exporter = e
	return n
}

func (n *node) scrape(t *testing.T) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	promhttp.HandlerFor(n.registry, promhttp.HandlerOpts{}).ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	if recorder.Code != 200 {
		t.Fatalf("status %d: %s", recorder.Code, recorder.Body)
	}
	// The one label that depends on who runs the test.
	return regexp.MustCompile(`go_version="[^"]*"`).ReplaceAllString(recorder.Body.String(), `go_version="go"`)
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	path := "testdata/" + file
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got); run with -update if this is meant\n%s", path, d)
	}
}

func batch() telemetry.Batch {
	values := func(mean, most, used float64) telemetry.Values {
		return telemetry.Values{telemetry.UtilizationMean: mean, telemetry.UtilizationMax: most,
			telemetry.MemoryUsed: used, telemetry.MemoryTotal: 85_520_809_984}
	}
	model := "NVIDIA H100 80GB HBM3"
	busy := values(0.29, 0.5, 3<<30)
	return telemetry.Batch{Node: "node-1", Start: noon.Add(-time.Second), End: noon, OwnersKnown: true,
		Readings: []telemetry.Reading{
			{Device: telemetry.Device{UUID: "GPU-0", Index: 0, Model: model}, Values: busy},
			{Device: telemetry.Device{UUID: "GPU-1", Index: 1, Model: model}, Values: values(0, 0, 0)},
			{Device: telemetry.Device{UUID: "GPU-2", Index: 2, Model: model}, Values: telemetry.Values{telemetry.MemoryUsed: 1 << 20}},
		},
		Usages: []telemetry.Usage{{Owner: telemetry.Owner{Namespace: "default", Pod: "bert-0", Container: "model"}, DeviceUUID: "GPU-0",
			Attribution: telemetry.AttributionExclusive, Values: busy}}}
}

func TestExposition(t *testing.T) {
	n := newNode(t)
	n.self = Self{NVMLUp: true, NVMLState: "ok", NVMLStates: []string{"starting", "ok"}, Devices: 3, KubeletUp: true, Problems: 1,
		LastTick: noon, Sending: &Sending{Connected: true, SpoolBatches: 2, SpoolBytes: 345, Dropped: 3, Refused: 4, Acknowledged: 500}}
	n.ObserveTick(2 * time.Millisecond)
	n.Put(batch())
	golden(t, "metrics.txt", n.scrape(t))
}

func TestExpositionBeforeAnythingIsKnownAndWithoutAnAggregator(t *testing.T) {
	golden(t, "metrics-at-start.txt", newNode(t).scrape(t))
}

func TestSeriesOfAStaleBatchAreAbsent(t *testing.T) {
	n := newNode(t)
	b := batch()
	n.Put(b)
	n.now = noon.Add(3 * time.Second)
	if !strings.Contains(n.scrape(t), "foretide_device_memory_used_bytes{") {
		t.Error("gone after three intervals already")
	}
	n.now = noon.Add(3*time.Second + 1)
	if got := n.scrape(t); strings.Contains(got, "foretide_device") || strings.Contains(got, "foretide_pod") || strings.Contains(got, "DCGM") {
		t.Errorf("still there after more than three intervals:\n%s", got)
	}
	b.Start = b.End.Add(-10 * time.Second)
	n.Put(b)
	n.now = n.now.Add(30 * time.Second)
	if !strings.Contains(n.scrape(t), "foretide_device_memory_used_bytes{") {
		t.Error("a batch of 10 s windows is gone within 30 s")
	}
}

func TestUnknownOwnersLeaveTheDevices(t *testing.T) {
	n := newNode(t)
	b := batch()
	b.OwnersKnown, b.Usages = false, nil
	n.Put(b)
	got := n.scrape(t)
	if strings.Contains(got, "foretide_pod") || !strings.Contains(got, `foretide_device_utilization_ratio{gpu="0"`) {
		t.Errorf("exposition:\n%s", got)
	}
}

func TestWindowThatEndedEarlyIsShownForAsLongAsTheReportIntervalAllows(t *testing.T) {
	n := newNode(t)
	n.interval = 30 * time.Second
	n.Put(batch()) // spans one second: devices changed hands
	n.now = noon.Add(90 * time.Second)
	if !strings.Contains(n.scrape(t), "foretide_device_memory_used_bytes{") {
		t.Error("gone although the next batch is not due yet")
	}
	n.now = noon.Add(90*time.Second + 1)
	if strings.Contains(n.scrape(t), "foretide_device") {
		t.Error("still there after more than three report intervals")
	}
}

func TestDCGMsNamesCanBeLeftOut(t *testing.T) {
	n := newNodeWith(t, Options{WithoutDCGM: true})
	n.Put(batch())
	if got := n.scrape(t); strings.Contains(got, "DCGM") || !strings.Contains(got, "foretide_device_utilization_ratio{") {
		t.Errorf("exposition:\n%s", got)
	}
}
