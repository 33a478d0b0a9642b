package exporter

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	dto "github.com/prometheus/client_model/go"

	"github.com/foretide/foretide/pkg/telemetry"
)

// dcgmLines returns the values of a metric by pod; "" stands for the line without one.
func dcgmLines(t *testing.T, b telemetry.Batch, metric, uuid string) map[string]float64 {
	t.Helper()
	n := newNode(t)
	n.Put(b)
	return by(scraped(t, n.scrape(t), metric, map[string]string{"UUID": uuid}), "pod")
}

func TestLabelsOfDCGMsNamesAreThoseOfItsExporter(t *testing.T) {
	n := newNode(t)
	n.Put(batch())
	got := scraped(t, n.scrape(t), "DCGM_FI_DEV_GPU_UTIL", map[string]string{"UUID": "GPU-[03]"})
	want := []series{
		{map[string]string{"gpu": "0", "UUID": "GPU-0", "pci_bus_id": "00000000:1B:00.0", "device": "nvidia0", "modelName": h100,
			"Hostname": "node-1", "hostname": "node-1", "container": "model", "namespace": "default", "pod": "bert-0", "instance": "node-1:9400"}, 29},
		{map[string]string{"gpu": "3", "UUID": "GPU-3", "pci_bus_id": "00000000:1E:00.0", "device": "nvidia3", "modelName": h100,
			"GPU_I_PROFILE": "1g.10gb", "GPU_I_ID": "9",
			"Hostname": "node-1", "hostname": "node-1", "container": "model", "namespace": "default", "pod": "part-0", "instance": "node-1:9400"}, 40},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(series{})); d != "" {
		t.Errorf("series (-want +got):\n%s", d)
	}
}

func TestOwnersOfASharedDeviceAndWhatIsLeftAddUpToTheDevice(t *testing.T) {
	n := newNode(t)
	n.Put(batch())
	text := n.scrape(t)
	for metric, want := range map[string]map[string]float64{
		"DCGM_FI_DEV_GPU_UTIL":                 {"0": 29, "1": 0, "2": 90, "3": 40},
		"DCGM_FI_DEV_FB_USED":                  {"0": 3072, "1": 0, "2": 10240, "3": 1024},
		"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": {"0": 5e9, "2": 7e9},
		"DCGM_FI_DEV_GPU_TEMP":                 {"0": 40, "2": 60, "3": 50},
		"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE":      {"0": 0.1, "2": 0.2},
	} {
		if d := cmp.Diff(want, by(scraped(t, text, metric, nil), "gpu"), cmpopts.EquateApprox(0, 1e-9)); d != "" {
			t.Errorf("sum by (gpu) (%s) (-want +got):\n%s", metric, d)
		}
	}
	for metric, want := range map[string]map[string]float64{
		"DCGM_FI_DEV_GPU_UTIL": {"idle-0": 0, "llm-0": 80, "": 10},
		"DCGM_FI_DEV_FB_USED":  {"idle-0": 4096, "llm-0": 6144}, // nothing is left, and there are owners
		"DCGM_FI_DEV_FB_TOTAL": {"": 81920},                     // cannot be divided
	} {
		if d := cmp.Diff(want, by(scraped(t, text, metric, map[string]string{"gpu": "2"}), "pod")); d != "" {
			t.Errorf("%s of the shared GPU by pod (-want +got):\n%s", metric, d)
		}
	}
}

func TestSharedDeviceWhoseDriverDoesNotTellHasOneLineWithoutAPod(t *testing.T) {
	b := batch()
	delete(b.Readings[2].Unattributed, telemetry.UtilizationMean)
	for _, u := range b.Usages[1:3] {
		delete(u.Values, telemetry.UtilizationMean)
	}
	if d := cmp.Diff(map[string]float64{"": 90}, dcgmLines(t, b, "DCGM_FI_DEV_GPU_UTIL", "GPU-2")); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
}

func TestOnlyOwnerDoesNotHaveWhatProcessesOfTheHostUsed(t *testing.T) {
	b := batch()
	b.Readings[0].Unattributed[telemetry.MemoryUsed] = 1 << 30
	b.Usages[0].Values[telemetry.MemoryUsed] = 2 << 30
	if d := cmp.Diff(map[string]float64{"bert-0": 2048, "": 1024}, dcgmLines(t, b, "DCGM_FI_DEV_FB_USED", "GPU-0")); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]float64{"bert-0": 29}, dcgmLines(t, b, "DCGM_FI_DEV_GPU_UTIL", "GPU-0")); d != "" {
		t.Errorf("lines of what nobody else used (-want +got):\n%s", d)
	}
}

func TestCountersOfDCGMHaveNoTypeSoThatOpenMetricsLeavesTheirNames(t *testing.T) {
	n := newNode(t)
	values := telemetry.Values{}
	for _, row := range telemetry.Catalogue() {
		values[row.Metric] = 1
	}
	n.Put(telemetry.Batch{Start: noon.Add(-1), End: noon, Readings: []telemetry.Reading{{Device: gpu(0), Values: values}}})
	families := parse(t, n.scrape(t))
	for _, row := range telemetry.Catalogue() {
		if row.DCGM == "" {
			continue
		}
		want := dto.MetricType_GAUGE
		if row.Kind == telemetry.Counter {
			want = dto.MetricType_UNTYPED
		}
		if got := families[row.DCGM].GetType(); families[row.DCGM] == nil || got != want {
			t.Errorf("%s is a %v, want %v", row.DCGM, got, want)
		}
		if got := value(families[row.DCGM].GetMetric()[0]); got == 0 && row.DCGMPerUnit >= 1e-3 {
			t.Errorf("%s is 0", row.DCGM)
		}
	}
}

func TestSecondComputeInstanceOfAGPUInstanceDoesNotBreakTheExposition(t *testing.T) {
	b := batch()
	second := b.Readings[4]
	second.Device.UUID, second.Device.MIG.ComputeInstance = "MIG-4", 1
	second.Values = telemetry.Values{telemetry.MemoryUsed: 7 << 30}
	b.Readings = append(b.Readings, second)
	b.Usages = append(b.Usages, telemetry.Usage{Owner: owner("part-0"), DeviceUUID: "MIG-4", Attribution: telemetry.AttributionMIG, Values: second.Values})
	if d := cmp.Diff(map[string]float64{"part-0": 1024}, dcgmLines(t, b, "DCGM_FI_DEV_FB_USED", "GPU-3")); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
}
