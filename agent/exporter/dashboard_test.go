package exporter

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foretide/foretide/pkg/telemetry"
)

// The queries of Grafana's dashboard 12239, which is grafana/dcgm-exporter-dashboard.json of NVIDIA's dcgm-exporter. Each
// selects {instance=~"$instance", gpu=~"$gpu"}; $instance and $gpu are label_values of DCGM_FI_DEV_GPU_TEMP.
var dashboard12239 = []struct {
	panel, metric string
	scale         float64
	fold          func([]series) float64 // nil shows every series
	want          map[string]float64     // by gpu; "" is a fold's
}{
	{"GPU Temperature", "DCGM_FI_DEV_GPU_TEMP", 1, nil, map[string]float64{"0": 40, "2": 60, "3": 50}},
	{"GPU Avg. Temp", "DCGM_FI_DEV_GPU_TEMP", 1, mean, map[string]float64{"": 50}},
	{"GPU Power Usage", "DCGM_FI_DEV_POWER_USAGE", 1, nil, map[string]float64{"0": 300, "2": 400}},
	{"GPU Power Total", "DCGM_FI_DEV_POWER_USAGE", 1, sum, map[string]float64{"": 700}},
	{"GPU SM Clocks", "DCGM_FI_DEV_SM_CLOCK", 1e6, nil, map[string]float64{"0": 1.98e9}},
	{"GPU Utilization", "DCGM_FI_DEV_GPU_UTIL", 1, nil, map[string]float64{"0": 29, "2": 90, "3": 40}},
	{"GPU Framebuffer Mem Used", "DCGM_FI_DEV_FB_USED", 1, nil, map[string]float64{"0": 3072, "2": 10240, "3": 1024}},
	{"Tensor Core Utilization", "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", 1, nil, map[string]float64{"0": 0.1, "2": 0.2}},
}

func sum(all []series) (out float64) {
	for _, s := range all {
		out += s.value
	}
	return out
}

func mean(all []series) float64 { return sum(all) / float64(len(all)) }

// dashboardBatch has power and a clock in addition: two owners and nobody share the power of GPU 2.
func dashboardBatch() telemetry.Batch {
	b := batch()
	b.Readings[0].Values[telemetry.SMClock] = 1.98e9
	b.Readings[2].Values[telemetry.Power], b.Readings[2].Unattributed[telemetry.Power] = 400, 100
	b.Usages[1].Values[telemetry.Power], b.Usages[2].Values[telemetry.Power] = 0, 300
	return b
}

func TestDashboard12239ShowsEveryGPU(t *testing.T) {
	n := newNode(t)
	n.Put(dashboardBatch())
	text := n.scrape(t)

	// The variables: what the selectors of every panel may choose from.
	variable := func(label string) []string {
		values := map[string]bool{}
		for _, s := range scraped(t, text, "DCGM_FI_DEV_GPU_TEMP", nil) {
			values[s.labels[label]] = true
		}
		return slices.Sorted(maps.Keys(values))
	}
	if d := cmp.Diff([]string{"0", "2", "3"}, variable("gpu")); d != "" {
		t.Errorf("$gpu (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"node-1:9400"}, variable("instance")); d != "" {
		t.Errorf("$instance (-want +got):\n%s", d)
	}
	for _, q := range dashboard12239 {
		t.Run(q.panel, func(t *testing.T) {
			found := scraped(t, text, q.metric, map[string]string{"instance": "node-1:9400", "gpu": "0|2|3"})
			got := by(found, "gpu")
			if q.fold != nil {
				got = map[string]float64{"": q.fold(found)}
			}
			for gpu := range got {
				got[gpu] *= q.scale
			}
			if d := cmp.Diff(q.want, got, cmpopts.EquateApprox(0, 1e-9)); d != "" {
				t.Errorf("by gpu (-want +got):\n%s", d)
			}
			one := scraped(t, text, q.metric, map[string]string{"instance": "node-1:9400", "gpu": "0"})
			if len(one) != 1 || one[0].labels["gpu"] != "0" {
				t.Errorf("with $gpu = 0: %v, want the one line of that GPU", one)
			}
		})
	}
}
