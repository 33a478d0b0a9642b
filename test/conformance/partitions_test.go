//go:build conformance

package conformance

import (
	"fmt"
	"testing"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakenvml"
	"github.com/foretide/foretide/test/podresources"
)

// claimant is a pod that holds a device of NVIDIA's DRA driver.
func claimant(pod, device string) podresources.Holder {
	return podresources.Holder{Namespace: "default", Pod: pod, Container: "model",
		Claims: []podresources.Claim{{Driver: "gpu.nvidia.com", Pool: "node-1", Device: device}}}
}

// instance has a pod hold the second of three MIG instances, in whatever words.
func instance(t *testing.T, words func(fakenvml.Device, fakenvml.MIGInstance) podresources.Holder) {
	w := newWorld(t, partitioned(t, "1g.10gb", "1g.10gb", "3g.40gb"))
	d := &w.Scenario.Devices[0]
	for i, busy := range []float64{10, 60, 90} {
		d.MIGInstances[i].GPM[1] = busy
	}
	d.MIGInstances[1].MemoryUsedBytes = 4 << 30
	w.play()
	w.hold(words(*d, d.MIGInstances[1]))
	w.start()
	mine := d.MIGInstances[1].UUID
	b := w.batch("the pod's instance", func(b telemetry.Batch) bool {
		u, _ := usage(b, "bert-0", mine)
		return near(used(b, "bert-0", mine), 0.6) && u.Values[telemetry.Power] > 0
	})
	u := b.Usages[0]
	if len(b.Usages) != 1 || u.Attribution != telemetry.AttributionMIG || u.Values[telemetry.MemoryUsed] != 4<<30 {
		t.Errorf("usages: %+v", b.Usages)
	}
	whole, _ := reading(b, d.UUID)
	if sum := u.Values[telemetry.Power] + whole.Unattributed[telemetry.Power]; !near(sum, whole.Values[telemetry.Power]) {
		t.Errorf("power: %v W of the pod, %v of nobody; the GPU draws %v", u.Values[telemetry.Power], whole.Unattributed[telemetry.Power], whole.Values[telemetry.Power])
	}
}

func sharedInstance(t *testing.T) {
	w := newWorld(t, partitioned(t, "3g.40gb"))
	i := &w.Scenario.Devices[0].MIGInstances[0]
	i.GPM[1], i.MemoryUsedBytes = 80, 3<<30
	i.Processes = []fakenvml.Process{{PID: 101, UsedBytes: 1 << 30}, {PID: 102, UsedBytes: 2 << 30}}
	w.play()
	w.shared("nvidia.com/mig-3g.40gb", i.UUID, "bert-0", "bert-1")
	w.start()
	b := w.batch("two owners", func(b telemetry.Batch) bool { return len(b.Usages) == 2 && near(utilization(b, i.UUID), 0.8) })
	for n, u := range b.Usages {
		if v, said := u.Values[telemetry.UtilizationMean]; said || u.Attribution != telemetry.AttributionUnknown {
			t.Errorf("%s: utilization %v, %s", u.Owner.Pod, v, u.Attribution)
		}
		if u.Values[telemetry.MemoryUsed] != float64(n+1)*(1<<30) {
			t.Errorf("%s: memory %v", u.Owner.Pod, u.Values[telemetry.MemoryUsed])
		}
	}
	if !tells(b, "does not say which of them was busy") {
		t.Errorf("problems: %q", b.Problems)
	}
}

func gke(t *testing.T, ids ...string) {
	w := newWorld(t, profile(t, "h100", 2))
	d := &w.Scenario.Devices[1]
	want, shares := map[string]float64{}, []int{}
	for i, id := range ids {
		pod := fmt.Sprintf("bert-%d", i)
		want[pod], shares = float64(i+1)/10, append(shares, (i+1)*10)
		w.process(101+i, pod, "model")
		w.hold(append(w.holders, holder(pod, "model", "nvidia.com/gpu", id))...)
	}
	busy(d, shares...)
	w.play()
	w.start()
	w.parts(d.UUID, want)
}

func claimedGPU(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 2))
	d := &w.Scenario.Devices[1]
	d.UtilizationGPUPercent = 44
	w.play()
	w.hold(claimant("bert-0", "gpu-1"))
	w.start()
	w.parts(d.UUID, map[string]float64{"bert-0": 0.44})
}

func claimShared(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	busy(d, 25, 50)
	w.play()
	w.process(101, "bert-0", "model")
	w.process(102, "bert-1", "model")
	w.hold(claimant("bert-0", "gpu-0"), claimant("bert-1", "gpu-0"))
	w.start()
	w.parts(d.UUID, map[string]float64{"bert-0": 0.25, "bert-1": 0.5})
}

func strangeID(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	w.hold(holder("bert-0", "model", "nvidia.com/gpu", "nvidia7"), holder("bert-1", "model", "nvidia.com/gpu", w.Scenario.Devices[0].UUID))
	w.start()
	b := w.batch("the problem", func(b telemetry.Batch) bool { return tells(b, `"nvidia7" of default/bert-0 (model)`) })
	if len(b.Usages) != 2 || !blank(b, "bert-0", "nvidia7") || used(b, "bert-1", w.Scenario.Devices[0].UUID) != 0 {
		t.Errorf("usages: %+v", b.Usages)
	}
}
