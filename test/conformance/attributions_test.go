//go:build conformance

package conformance

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakenvml"
	"github.com/foretide/foretide/test/podresources"
)

// attributions are the cases of who used what.
func attributions() []kase {
	const area = "attribution"
	all := []kase{
		{area, "the only holder of a GPU has all of it, what it cannot share too", scripted, exclusive},
		{area, "an idle pod is there with 0", scripted, idle},
		{area, "several GPUs of one container are told apart", scripted, severalGPUs},
		{area, "several containers of a pod on one GPU have their own parts", scripted, severalContainers},
		{area, "a sidecar's process counts as its pod's", scripted, sidecar},
		{area, "an init container that holds a GPU has it, and later the container that follows", scripted, initContainer},
		{area, "time-slicing under nvidia.com/gpu (::n): each pod has what its processes used", scripted, func(t *testing.T) { timeSlicing(t, "nvidia.com/gpu") }},
		{area, "time-slicing under nvidia.com/gpu.shared: the same", scripted, func(t *testing.T) { timeSlicing(t, "nvidia.com/gpu.shared") }},
		{area, "8 pods on one GPU with known loads: each within 1 percentage point", scripted, knownShares},
		{area, "MPS clients have what they used", scripted, mps},
		{area, "processes that say more in sum than their device are scaled down alike", scripted, overcommitted},
		{area, "a shared GPU whose driver does not tell processes apart: unknown, not zero and not everybody's", scripted, notDivided},
		{area, "MIG, single strategy: nvidia.com/gpu with MIG-<uuid>", scripted, func(t *testing.T) {
			instance(t, func(_ fakenvml.Device, i fakenvml.MIGInstance) podresources.Holder {
				return holder("bert-0", "model", "nvidia.com/gpu", i.UUID)
			})
		}},
		{area, "MIG, mixed strategy: nvidia.com/mig-1g.10gb", scripted, func(t *testing.T) {
			instance(t, func(_ fakenvml.Device, i fakenvml.MIGInstance) podresources.Holder {
				return holder("bert-0", "model", "nvidia.com/mig-1g.10gb", i.UUID)
			})
		}},
		{area, "MIG ids of drivers before R470: MIG-GPU-<uuid>/<gi>/<ci>", scripted, func(t *testing.T) {
			instance(t, func(d fakenvml.Device, i fakenvml.MIGInstance) podresources.Holder {
				return holder("bert-0", "model", "nvidia.com/gpu", fmt.Sprintf("MIG-%s/%d/%d", d.UUID, i.GPUInstance, i.ComputeInstance))
			})
		}},
		{area, "a MIG instance that is shared (::n): unknown, not zero", scripted, sharedInstance},
		{area, "GKE: nvidia0", scripted, func(t *testing.T) { gke(t, "nvidia1") }},
		{area, "GKE, time-shared: nvidia0/vgpu1", scripted, func(t *testing.T) { gke(t, "nvidia1/vgpu0", "nvidia1/vgpu1") }},
		{area, "GKE, MIG: nvidia0/gi1", scripted, func(t *testing.T) {
			instance(t, func(d fakenvml.Device, i fakenvml.MIGInstance) podresources.Holder {
				return holder("bert-0", "model", "nvidia.com/gpu", fmt.Sprintf("nvidia%d/gi%d", d.Minor, i.GPUInstance))
			})
		}},
		{area, "DRA, by name: a GPU", scripted, claimedGPU},
		{area, "DRA, by name: a GPU that two pods share is split by their processes", scripted, claimShared},
		{area, "DRA, by name: a static MIG instance", scripted, func(t *testing.T) {
			instance(t, func(d fakenvml.Device, i fakenvml.MIGInstance) podresources.Holder {
				return claimant("bert-0", fmt.Sprintf("gpu-%d-mig-19-%d-%d", d.Minor, i.PlacementStart, i.PlacementSize))
			})
		}},
		{area, "DRA, by name: a dynamic MIG instance, by profile and placement", scripted, func(t *testing.T) {
			instance(t, func(d fakenvml.Device, i fakenvml.MIGInstance) podresources.Holder {
				return claimant("bert-0", fmt.Sprintf("gpu-%d-mig-1g10gb-19-%d", d.Minor, i.PlacementStart))
			})
		}},
		{area, "a device id of no device is named, and its holder unknown, not idle", scripted, strangeID},
		{area, "a process of no pod is unattributed", scripted, processOfNoPod},
		{area, "a holder whose processes may be ones that cannot be seen is unknown, not idle", scripted, unseenProcess},
		{area, "a pod that uses a GPU it does not hold has what it used", scripted, intruder},
		{area, "a holder that goes takes its part along, and the next begins with its own", scripted, changesHands},
		{area, "what is shared out and what is not make up the reading, in 200 batches of a busy node", scripted, sumsUp},
		{area, "energy: pods and idle time make up the device's counter", scripted, energyOfPods},
		{area, "each usage says how it was attributed", scripted, saysHow},
	}
	return append(append(all, identities()...), cgroups()...)
}

// busy gives a device processes of the given shares in per cent, numbered from 101, and their sum as its load.
func busy(d *fakenvml.Device, shares ...int) {
	d.Processes, d.UtilizationGPUPercent = nil, 0
	for i, share := range shares {
		d.Processes = append(d.Processes, fakenvml.Process{PID: 101 + i, UsedBytes: uint64(i+1) << 30, SMPercent: share})
		d.UtilizationGPUPercent += share
	}
	d.MemoryUsedBytes = uint64(len(shares)*(len(shares)+1)/2) << 30
}

// parts waits until the pods have the parts of a device, and no others have any.
func (w *world) parts(uuid string, want map[string]float64) telemetry.Batch {
	w.t.Helper()
	var found telemetry.Batch
	w.settles(fmt.Sprint(want), func(b telemetry.Batch) string {
		found = b
		got := map[string]float64{}
		for _, u := range b.Usages {
			if v, said := u.Values[telemetry.UtilizationMean]; said && u.DeviceUUID == uuid {
				got[u.Owner.Pod] += v
			}
		}
		return cmp.Diff(want, got, nearly)
	})
	return found
}

func exclusive(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 2))
	d := &w.Scenario.Devices[1]
	d.UtilizationGPUPercent, d.MemoryUsedBytes, d.PowerMilliwatts = 37, 10<<30, 300_000
	d.GPM[2], d.GPM[5] = 30, 20
	w.play()
	w.hold(holder("bert-0", "model", "nvidia.com/gpu", d.UUID))
	w.start()
	var b telemetry.Batch
	w.settles("the whole GPU is the pod's", func(got telemetry.Batch) string {
		b = got
		r, _ := reading(b, d.UUID)
		want := telemetry.Values{telemetry.SMActive: 0.3, telemetry.TensorActive: 0.2}
		for m, v := range r.Values {
			if s := m.Definition().Split; s != telemetry.SplitNone && m != telemetry.Energy {
				want[m] = v
			}
		}
		u, _ := usage(b, "bert-0", d.UUID)
		mine := telemetry.Values{}
		for m, v := range u.Values {
			if m != telemetry.Energy {
				mine[m] = v
			}
		}
		return cmp.Diff(want, mine, nearly)
	})
	want := telemetry.Owner{Namespace: "default", Pod: "bert-0", Container: "model"}
	if len(b.Usages) != 1 || b.Usages[0].Owner != want || b.Usages[0].Attribution != telemetry.AttributionExclusive {
		t.Errorf("usages: %+v", b.Usages)
	}
	if u := b.Usages[0]; !near(u.Values[telemetry.UtilizationMean], 0.37) || u.Values[telemetry.Power] != 300 || u.Values[telemetry.MemoryUsed] != 10<<30 {
		t.Errorf("values: %v", u.Values)
	}
}

func idle(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 2))
	one, two := w.Scenario.Devices[0].UUID, w.Scenario.Devices[1].UUID
	w.Scenario.Devices[1].Processes = []fakenvml.Process{{PID: 101, UsedBytes: 1 << 30, SMPercent: 40}}
	w.Scenario.Devices[1].UtilizationGPUPercent = 40
	w.play()
	w.shared("nvidia.com/gpu", two, "busy-0", "idle-0")
	w.hold(append(w.holders, holder("idle-1", "model", "nvidia.com/gpu", one))...)
	w.start()
	w.parts(one, map[string]float64{"idle-1": 0})
	w.parts(two, map[string]float64{"busy-0": 0.4, "idle-0": 0})
}

func severalGPUs(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 3))
	one, two := &w.Scenario.Devices[0], &w.Scenario.Devices[2]
	one.UtilizationGPUPercent, two.UtilizationGPUPercent = 20, 70
	w.play()
	w.hold(holder("train-0", "model", "nvidia.com/gpu", one.UUID, two.UUID))
	w.start()
	w.batch("both", func(b telemetry.Batch) bool {
		return near(used(b, "train-0", one.UUID), 0.2) && near(used(b, "train-0", two.UUID), 0.7) && len(b.Usages) == 2
	})
}

func initContainer(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	d.UtilizationGPUPercent = 25
	w.play()
	w.hold(holder("bert-0", "warm-up", "nvidia.com/gpu", d.UUID))
	w.start()
	has := func(container string) func(telemetry.Batch) bool {
		return func(b telemetry.Batch) bool {
			u, _ := usage(b, "bert-0", d.UUID)
			return u.Owner.Container == container && near(u.Values[telemetry.UtilizationMean], 0.25) && len(b.Usages) == 1
		}
	}
	w.batch("the init container has it", has("warm-up"))
	w.hold(holder("bert-0", "model", "nvidia.com/gpu", d.UUID))
	w.batch("the next container has it", has("model"))
}

func changesHands(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	d.UtilizationGPUPercent = 30
	w.play()
	w.hold(holder("bert-0", "model", "nvidia.com/gpu", d.UUID))
	w.start()
	w.parts(d.UUID, map[string]float64{"bert-0": 0.3})
	w.hold(holder("bert-1", "model", "nvidia.com/gpu", d.UUID))
	w.parts(d.UUID, map[string]float64{"bert-1": 0.3})
	for _, b := range w.received() {
		if len(b.Usages) > 1 {
			t.Errorf("both in one batch: %+v", b.Usages)
		}
	}
}

func saysHow(t *testing.T) {
	s := profile(t, "h100", 4)
	var err error
	if s.Devices[2], err = fakenvml.WithMIG(s.Devices[2], "1g.10gb"); err != nil {
		t.Fatal(err)
	}
	if s.Devices[3], err = fakenvml.WithMIG(s.Devices[3], "1g.10gb"); err != nil {
		t.Fatal(err)
	}
	busy(&s.Devices[1], 10)
	s.Devices[3].MIGInstances[0].GPM[1] = 50
	w := newWorld(t, s)
	w.shared("nvidia.com/gpu", s.Devices[1].UUID, "sliced-0", "sliced-1")
	w.hold(append(w.holders, holder("whole-0", "model", "nvidia.com/gpu", s.Devices[0].UUID),
		holder("mig-0", "model", "nvidia.com/mig-1g.10gb", s.Devices[2].MIGInstances[0].UUID),
		holder("crowd-0", "model", "nvidia.com/mig-1g.10gb", s.Devices[3].MIGInstances[0].UUID+"::0"),
		holder("crowd-1", "model", "nvidia.com/mig-1g.10gb", s.Devices[3].MIGInstances[0].UUID+"::1"))...)
	w.start()
	want := map[string]telemetry.Attribution{"whole-0": telemetry.AttributionExclusive, "mig-0": telemetry.AttributionMIG,
		"sliced-0": telemetry.AttributionProcess, "sliced-1": telemetry.AttributionProcess,
		"crowd-0": telemetry.AttributionUnknown, "crowd-1": telemetry.AttributionUnknown}
	w.settles("how each was attributed", func(b telemetry.Batch) string {
		got := map[string]telemetry.Attribution{}
		for _, u := range b.Usages {
			got[u.Owner.Pod] = u.Attribution
		}
		return cmp.Diff(want, got)
	})
	for how, n := range map[telemetry.Attribution]float64{telemetry.AttributionExclusive: 1, telemetry.AttributionMIG: 1, telemetry.AttributionProcess: 2, telemetry.AttributionUnknown: 2} {
		w.shows(n, "foretide_agent_attribution_owners", "attribution", string(how))
	}
	for pod, how := range want {
		w.shows(1, "foretide_pod_attribution_info", "pod", pod, "attribution", string(how))
	}
}
