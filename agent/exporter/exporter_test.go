package exporter

import (
	"flag"
	"fmt"
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

func newNode(t testing.TB) *node { return newNodeWith(t, Options{}) }

func newNodeWith(t testing.TB, o Options) *node {
	t.Helper()
	n := &node{registry: prometheus.NewPedanticRegistry(), now: noon, interval: time.Second}
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

const h100 = "NVIDIA H100 80GB HBM3"

func gpu(index int) telemetry.Device {
	return telemetry.Device{UUID: fmt.Sprintf("GPU-%d", index), Index: index, Minor: index, Model: h100,
		PCIBusID: fmt.Sprintf("00000000:%02X:00.0", 0x1b+index)}
}

func owner(pod string) telemetry.Owner {
	return telemetry.Owner{Namespace: "default", Pod: pod, Container: "model"}
}

// batch is of a node with a GPU that one container has, one that nobody has, one that two share while a third program runs
// there, and one with a MIG instance.
func batch() telemetry.Batch {
	instance := gpu(3)
	instance.UUID, instance.MIG = "MIG-3", telemetry.MIG{ParentUUID: "GPU-3", GPUInstance: 9, Profile: "1g.10gb", Placement: 2, Share: 0.125}
	return telemetry.Batch{Node: "node-1", Start: noon.Add(-time.Second), End: noon, OwnersKnown: true,
		Readings: []telemetry.Reading{
			{Device: gpu(0), Values: telemetry.Values{telemetry.UtilizationMean: 0.29, telemetry.UtilizationMax: 0.5, telemetry.MemoryUsed: 3 << 30,
				telemetry.MemoryTotal: 80 << 30, telemetry.Temperature: 40, telemetry.Power: 300, telemetry.Energy: 5e6, telemetry.TensorActive: 0.1},
				Unattributed: telemetry.Values{telemetry.UtilizationMean: 0, telemetry.MemoryUsed: 0, telemetry.Power: 0, telemetry.Energy: 100}},
			{Device: gpu(1), Values: telemetry.Values{telemetry.UtilizationMean: 0, telemetry.MemoryUsed: 0, telemetry.XIDErrors: 0},
				Unattributed: telemetry.Values{telemetry.UtilizationMean: 0, telemetry.MemoryUsed: 0}},
			{Device: gpu(2), Values: telemetry.Values{telemetry.UtilizationMean: 0.9, telemetry.UtilizationMax: 1, telemetry.MemoryUsed: 10 << 30,
				telemetry.MemoryTotal: 80 << 30, telemetry.Temperature: 60, telemetry.Energy: 7e6, telemetry.TensorActive: 0.2},
				Unattributed: telemetry.Values{telemetry.UtilizationMean: 0.1, telemetry.MemoryUsed: 0, telemetry.Energy: 1000}},
			{Device: gpu(3), Values: telemetry.Values{telemetry.Temperature: 50}},
			{Device: instance, Values: telemetry.Values{telemetry.UtilizationMean: 0.4, telemetry.MemoryUsed: 1 << 30},
				Unattributed: telemetry.Values{telemetry.UtilizationMean: 0, telemetry.MemoryUsed: 0}},
		},
		Usages: []telemetry.Usage{
			{Owner: owner("bert-0"), DeviceUUID: "GPU-0", Attribution: telemetry.AttributionExclusive, Values: telemetry.Values{
				telemetry.UtilizationMean: 0.29, telemetry.UtilizationMax: 0.5, telemetry.MemoryUsed: 3 << 30, telemetry.MemoryTotal: 80 << 30,
				telemetry.Power: 300, telemetry.Energy: 4000, telemetry.TensorActive: 0.1}},
			{Owner: owner("idle-0"), DeviceUUID: "GPU-2", Attribution: telemetry.AttributionProcess, Values: telemetry.Values{
				telemetry.UtilizationMean: 0, telemetry.UtilizationMax: 0, telemetry.MemoryUsed: 4 << 30, telemetry.MemoryTotal: 80 << 30, telemetry.Energy: 0}},
			{Owner: owner("llm-0"), DeviceUUID: "GPU-2", Attribution: telemetry.AttributionProcess, Values: telemetry.Values{
				telemetry.UtilizationMean: 0.8, telemetry.UtilizationMax: 1, telemetry.MemoryUsed: 6 << 30, telemetry.MemoryTotal: 80 << 30, telemetry.Energy: 2000}},
			{Owner: owner("part-0"), DeviceUUID: "MIG-3", Attribution: telemetry.AttributionMIG, Values: telemetry.Values{
				telemetry.UtilizationMean: 0.4, telemetry.MemoryUsed: 1 << 30}},
		},
		Pods: []telemetry.Pod{
			{Namespace: "default", Name: "bert-0", UID: "6f9c", ControllerKind: "StatefulSet", ControllerName: "bert", Known: true, Ready: true},
			{Namespace: "default", Name: "part-0"},
		},
		Workload: []telemetry.WorkloadValue{{Namespace: "default", Pod: "bert-0", Name: "vllm:num_requests_waiting", Value: 3}},
	}
}

func TestExposition(t *testing.T) {
	n := newNode(t)
	n.self = Self{NVMLUp: true, NVMLState: "ok", NVMLStates: []string{"starting", "ok"}, Devices: 3, HangingDevices: 1, KubeletUp: true,
		PodsAPIUp: true, Problems: 1, LastTick: noon, Scraping: &Scraping{Targets: 2, Scrapes: map[string]uint64{"ok": 70, "timeout": 1}}, Sending: &Sending{Connected: 1, Aggregators: 2, SpoolBatches: 2, SpoolBytes: 345, SpoolDiskBytes: 4096,
			SpoolAge: 90 * time.Second, Dropped: 3, Refused: 4, Acknowledged: 500, Deferred: 6}}
	n.ObserveTick(2 * time.Millisecond)
	n.ObserveCall("nvmlDeviceGetSamples", 50*time.Microsecond)
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
	b.OwnersKnown, b.Usages, b.Pods = false, nil, nil
	n.Put(b)
	got := n.scrape(t)
	if strings.Contains(got, "foretide_pod") || strings.Contains(got, "foretide_agent_attribution") || !strings.Contains(got, `foretide_device_utilization_ratio{gpu="0"`) {
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
