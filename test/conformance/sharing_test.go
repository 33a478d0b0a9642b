//go:build conformance

package conformance

import (
	"fmt"
	"testing"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakenvml"
	"github.com/google/go-cmp/cmp"
)

func severalContainers(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	busy(d, 30, 10)
	w.play()
	for i, container := range []string{"encoder", "decoder"} {
		w.process(101+i, "duo-0", container)
		w.hold(append(w.holders, holder("duo-0", container, "nvidia.com/gpu", fmt.Sprintf("%s::%d", d.UUID, i)))...)
	}
	w.start()
	b := w.batch("both containers", func(b telemetry.Batch) bool {
		return len(b.Usages) == 2 && near(b.Usages[0].Values[telemetry.UtilizationMean]+b.Usages[1].Values[telemetry.UtilizationMean], 0.4)
	})
	got := map[string]float64{}
	for _, u := range b.Usages {
		got[u.Owner.Container] = u.Values[telemetry.UtilizationMean]
	}
	if diff := cmp.Diff(map[string]float64{"encoder": 0.3, "decoder": 0.1}, got, nearly); diff != "" {
		t.Errorf("by container (-want +got):\n%s", diff)
	}
}

func sidecar(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	busy(d, 30, 10, 20)
	w.play()
	w.shared("nvidia.com/gpu", d.UUID, "bert-0", "bert-1")
	w.process(103, "bert-0", "profiler")
	w.start()
	b := w.parts(d.UUID, map[string]float64{"bert-0": 0.5, "bert-1": 0.1})
	if u, _ := usage(b, "bert-0", d.UUID); u.Owner.Container != "model" || len(b.Usages) != 2 {
		t.Errorf("usages: %+v", b.Usages)
	}
}

func timeSlicing(t *testing.T, resource string) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	busy(d, 50, 20, 5)
	w.play()
	w.shared(resource, d.UUID, "bert-0", "bert-1", "bert-2", "bert-3")
	w.start()
	b := w.parts(d.UUID, map[string]float64{"bert-0": 0.5, "bert-1": 0.2, "bert-2": 0.05, "bert-3": 0})
	for pod, gibibytes := range map[string]float64{"bert-0": 1, "bert-1": 2, "bert-2": 3, "bert-3": 0} {
		u, _ := usage(b, pod, d.UUID)
		if u.Values[telemetry.MemoryUsed] != gibibytes*(1<<30) || u.Attribution != telemetry.AttributionProcess {
			t.Errorf("%s: %+v; want %v GiB, by process", pod, u, gibibytes)
		}
		if v, has := u.Values[telemetry.SMActive]; has {
			t.Errorf("%s has SM activity %v, which cannot be divided", pod, v)
		}
	}
}

func mps(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	busy(d, 40, 15)
	for i := range d.Processes {
		d.Processes[i].Kind = fakenvml.MPS
	}
	d.Processes = append(d.Processes, fakenvml.Process{PID: 900, UsedBytes: 30 << 20}) // the server itself
	d.MemoryUsedBytes += 30 << 20
	w.play()
	if err := w.Process(900, "0::/system.slice/nvidia-mps.service\n"); err != nil {
		t.Fatal(err)
	}
	w.shared("nvidia.com/gpu", d.UUID, "bert-0", "bert-1")
	w.start()
	b := w.parts(d.UUID, map[string]float64{"bert-0": 0.4, "bert-1": 0.15})
	if r, _ := reading(b, d.UUID); r.Unattributed[telemetry.MemoryUsed] != 30<<20 {
		t.Errorf("memory of nobody = %v; want that of the server", r.Unattributed[telemetry.MemoryUsed])
	}
}

func overcommitted(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	busy(d, 80, 40)
	d.UtilizationGPUPercent = 90
	w.play()
	w.shared("nvidia.com/gpu", d.UUID, "bert-0", "bert-1")
	w.start()
	w.parts(d.UUID, map[string]float64{"bert-0": 0.6, "bert-1": 0.3})
}

func notDivided(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	busy(d, 50, 20)
	d.Errors = map[string]int{"nvmlDeviceGetProcessUtilization": 3, "nvmlDeviceGetProcessesUtilizationInfo": 3}
	w.play()
	w.shared("nvidia.com/gpu", d.UUID, "bert-0", "bert-1")
	w.start()
	b := w.batch("two owners of whom no utilization is said", func(b telemetry.Batch) bool {
		return len(b.Usages) == 2 && used(b, "bert-0", d.UUID) == -1 && used(b, "bert-1", d.UUID) == -1 && near(utilization(b, d.UUID), 0.7)
	})
	if !tells(b, "does not say which of them was busy") {
		t.Errorf("problems: %q", b.Problems)
	}
	for i, u := range b.Usages {
		if u.Attribution != telemetry.AttributionUnknown || u.Values[telemetry.MemoryUsed] != float64(i+1)*(1<<30) {
			t.Errorf("%+v; want unknown, with its memory", u)
		}
	}
}
