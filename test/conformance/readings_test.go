//go:build conformance

package conformance

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakenvml"
)

// readings are the cases of what is read of a device.

func readings() []kase {
	const area = "readings"
	all := []kase{{area, "every metric of the catalogue is read of an H100, in base units", scripted, everyMetric}}
	for _, m := range []struct{ model, name string }{
		{"h100", "an H100 has everything"},
		{"h200", "an H200 has everything"},
		{"b200", "a B200 has everything"},
		{"a100", "an A100 has no performance monitor in NVML, and so no PCIe throughput: absent, not zero"},
		{"t4", "a T4 has no memory temperature, row remapper, NVLink or performance monitor: absent, not zero"},
		{"l4", "an L4 has no memory temperature, NVLink or performance monitor: absent, not zero"},
		{"rtx4090", "an RTX 4090 has no ECC, row remapper, NVLink or performance monitor: absent, not zero"},
	} {
		all = append(all, kase{area, m.name, scripted, func(t *testing.T) { whatTheModelHas(t, m.model) }})
	}
	return append(all,
		kase{area, "a burst between two samples counts in mean and maximum", scripted, burst},
		kase{area, "without the driver's ring of samples its rates stand in", scripted, withoutRing},
		kase{area, "a driver that says more than 100 % is taken for 100 %", scripted, overFull},
		kase{area, "a GPU in MIG mode is read by instance, with the performance monitor of each", scripted, monitorOfInstances},
		kase{area, "an XID error is counted and has its number", scripted, xidErrors},
		kase{area, "a counter that wraps unseen has no rate, and one that begins anew no false one", scripted, wrappingCounters},
		kase{area, "the energy counter grows by the power drawn", scripted, energyCounter},
		kase{area, "a driver before R510, without _v2 and _v3 names, is read as far as it goes", scripted, oldDriver},
		kase{area, "a function the library lacks costs its own metric and no other", scripted, lacksOneFunction},
		kase{area, "field values a device does not have are asked for once, and in one call together", scripted, fieldsInOneCall},
	)
}

// byField and byMonitor say which of the scenario's numbers become which metric; what is in neither every GPU has.

var (
	byField = map[int]telemetry.Metric{82: telemetry.MemoryTemperature, 83: telemetry.Energy, 3: telemetry.ECCVolatileCorrectable,
		4: telemetry.ECCVolatileUncorrectable, 5: telemetry.ECCAggregateCorrectable, 6: telemetry.ECCAggregateUncorrectable, 94: telemetry.PCIeReplays,
		138: telemetry.NVLinkTransmit, 139: telemetry.NVLinkReceive,
		142: telemetry.RemappedCorrectable, 143: telemetry.RemappedUncorrectable, 144: telemetry.RemapPending, 145: telemetry.RemapFailed}
	byMonitor = map[int]telemetry.Metric{1: telemetry.GraphicsActive, 2: telemetry.SMActive, 3: telemetry.SMOccupancy, 5: telemetry.TensorActive, 10: telemetry.DRAMActive,
		20: telemetry.PCIeTransmit, 21: telemetry.PCIeReceive}
)

// has returns the metrics that a device can tell.

func has(d fakenvml.Device) []telemetry.Metric {
	var out []telemetry.Metric
	lacks := map[telemetry.Metric]bool{}
	for id, m := range byField {
		_, there := d.Fields[id]
		lacks[m] = !there
	}
	for id, m := range byMonitor {
		_, there := d.GPM[id]
		lacks[m] = !there
	}
	for _, row := range telemetry.Catalogue() {
		if !lacks[row.Metric] {
			out = append(out, row.Metric)
		}
	}
	return out
}

func everyMetric(t *testing.T) {
	s := profile(t, "h100", 1)
	d := &s.Devices[0]
	d.UtilizationGPUPercent, d.UtilizationMemoryPercent, d.EncoderPercent, d.DecoderPercent = 62, 35, 7, 8
	d.SMClockMHz, d.MemoryClockMHz, d.TemperatureCelsius, d.PowerMilliwatts, d.ClockEventReasons = 1755, 2619, 61, 412_500, 4
	d.MemoryUsedBytes, d.EnergyFromPower = 10<<30, false
	maps.Copy(d.Fields, map[int]uint64{82: 71, 83: 5_000_500, 3: 1, 4: 2, 5: 3, 6: 4, 94: 5, 142: 6, 143: 7, 144: 1, 145: 1})
	d.GPM = map[int]float64{1: 62.5, 2: 50, 3: 25, 5: 12.5, 10: 40, 20: 512, 21: 256} // the last two in MiB/s
	w := newWorld(t, s)
	w.start()
	want := telemetry.Values{telemetry.UtilizationMean: 0.62, telemetry.UtilizationMax: 0.62, telemetry.MemoryUsed: 10 << 30,
		telemetry.MemoryTotal: float64(d.MemoryTotalBytes), telemetry.MemoryFree: float64(d.MemoryTotalBytes - d.MemoryReservedBytes - 10<<30),
		telemetry.MemoryReserved: float64(d.MemoryReservedBytes), telemetry.MemoryBusy: 0.35, telemetry.EncoderBusy: 0.07, telemetry.DecoderBusy: 0.08,
		telemetry.SMClock: 1755e6, telemetry.MemoryClock: 2619e6, telemetry.Temperature: 61, telemetry.MemoryTemperature: 71, telemetry.Power: 412.5,
		telemetry.Energy: 5000.5, telemetry.PCIeTransmit: 512 << 20, telemetry.PCIeReceive: 256 << 20, telemetry.PCIeReplays: 5, telemetry.NVLinkTransmit: 0,
		telemetry.NVLinkReceive: 0, telemetry.ECCVolatileCorrectable: 1, telemetry.ECCVolatileUncorrectable: 2, telemetry.ECCAggregateCorrectable: 3,
		telemetry.ECCAggregateUncorrectable: 4, telemetry.RemappedCorrectable: 6, telemetry.RemappedUncorrectable: 7, telemetry.RemapPending: 1,
		telemetry.RemapFailed: 1, telemetry.XIDErrors: 0, telemetry.XIDLast: 0, telemetry.ClockEventReasons: 4, telemetry.GraphicsActive: 0.625,
		telemetry.SMActive: 0.5, telemetry.SMOccupancy: 0.25, telemetry.TensorActive: 0.125, telemetry.DRAMActive: 0.4}
	last := telemetry.Values{}
	w.settles("all values", func(b telemetry.Batch) string {
		r, _ := reading(b, d.UUID)
		last = r.Values
		return cmp.Diff(want, last, nearly)
	})
	if len(last) != len(telemetry.Catalogue()) {
		t.Errorf("%d metrics; the catalogue has %d", len(last), len(telemetry.Catalogue()))
	}
	for _, id := range []int{138, 139} { // KiB
		w.Scenario.Devices[0].Fields[id] += 1 << 20
	}
	w.play()
	w.batch("a GiB over NVLink, both ways", func(b telemetry.Batch) bool {
		r, _ := reading(b, d.UUID)
		return r.Values[telemetry.NVLinkTransmit] > 1<<30 && r.Values[telemetry.NVLinkReceive] > 1<<30
	})
}

func whatTheModelHas(t *testing.T, model string) {
	w := newWorld(t, profile(t, model, 1))
	d := w.Scenario.Devices[0]
	w.start()
	w.settles("the metrics of the model", func(b telemetry.Batch) string {
		r, _ := reading(b, d.UUID)
		return cmp.Diff(has(d), slices.Sorted(maps.Keys(r.Values)))
	})
	for _, b := range w.received() {
		r, _ := reading(b, d.UUID)
		for m := range r.Values {
			if !slices.Contains(has(d), m) {
				t.Errorf("%s has %s = %v", model, m.Definition().Name, r.Values[m])
			}
		}
		if len(b.Problems) > 0 {
			t.Errorf("problems: %q", b.Problems)
		}
	}
}

func burst(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	d.UtilizationGPUPercent, d.SamplePeriodMicroseconds = 10, 20_000
	w.play()
	w.start("--sampler.interval=1s")
	w.batch("the load before", func(b telemetry.Batch) bool { return near(utilization(b, d.UUID), 0.1) })
	d.Bursts = []fakenvml.Burst{{StartMicroseconds: time.Now().Add(500 * time.Millisecond).UnixMicro(), LengthMicroseconds: 100_000, Percent: 100}}
	w.play()
	b := w.batch("the burst", func(b telemetry.Batch) bool {
		r, _ := reading(b, d.UUID)
		return r.Values[telemetry.UtilizationMax] == 1
	})
	// 5 or so of the window's 50 samples; fewer when the burst lies in two windows.
	if mean := utilization(b, d.UUID); mean < 0.11 || mean > 0.3 {
		t.Errorf("mean over the window = %v; want 0.1 and what 100 ms of full load add to a second", mean)
	}
	w.batch("the load after", func(b telemetry.Batch) bool { return near(utilization(b, d.UUID), 0.1) })
}

func withoutRing(t *testing.T) {
	w := newWorld(t, profile(t, "t4", 1))
	d := &w.Scenario.Devices[0]
	d.UtilizationGPUPercent, d.UtilizationMemoryPercent, d.SamplePeriodMicroseconds = 37, 12, 0
	w.play()
	w.start()
	w.batch("utilization without a ring", func(b telemetry.Batch) bool {
		r, _ := reading(b, d.UUID)
		return near(r.Values[telemetry.UtilizationMean], 0.37) && near(r.Values[telemetry.UtilizationMax], 0.37) && near(r.Values[telemetry.MemoryBusy], 0.12)
	})
}

func overFull(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	w.Scenario.Devices[0].UtilizationGPUPercent, w.Scenario.Devices[0].EncoderPercent = 103, 110
	w.play()
	w.start()
	w.batch("a full device", func(b telemetry.Batch) bool {
		r, _ := reading(b, w.Scenario.Devices[0].UUID)
		return r.Values[telemetry.UtilizationMean] == 1 && r.Values[telemetry.UtilizationMax] == 1 && r.Values[telemetry.EncoderBusy] == 1
	})
}

func monitorOfInstances(t *testing.T) {
	w := newWorld(t, partitioned(t, "3g.40gb", "1g.10gb"))
	d := &w.Scenario.Devices[0]
	maps.Copy(d.MIGInstances[0].GPM, map[int]float64{1: 60, 2: 50, 3: 25, 5: 30, 10: 40})
	d.MIGInstances[0].MemoryUsedBytes = 7 << 30
	w.play()
	w.start()
	b := w.batch("the monitor of both instances", func(b telemetry.Batch) bool {
		one, _ := reading(b, d.MIGInstances[0].UUID)
		other, there := reading(b, d.MIGInstances[1].UUID)
		active, measured := other.Values[telemetry.SMActive]
		return one.Values[telemetry.SMActive] > 0 && there && measured && active == 0
	})
	one, _ := reading(b, d.MIGInstances[0].UUID)
	want := telemetry.Values{telemetry.UtilizationMean: 0.6, telemetry.UtilizationMax: 0.6, telemetry.GraphicsActive: 0.6, telemetry.SMActive: 0.5,
		telemetry.SMOccupancy: 0.25, telemetry.TensorActive: 0.3, telemetry.DRAMActive: 0.4, telemetry.MemoryUsed: 7 << 30}
	for m, v := range want {
		if !near(one.Values[m], v) {
			t.Errorf("%s of the busy instance = %v; want %v", m.Definition().Name, one.Values[m], v)
		}
	}
	device := telemetry.MIG{ParentUUID: d.UUID, GPUInstance: d.MIGInstances[0].GPUInstance, Profile: "3g.40gb", Share: 3.0 / 7} // of the compute slices
	if diff := cmp.Diff(device, one.Device.MIG, nearly); diff != "" {
		t.Errorf("the instance (-want +got):\n%s", diff)
	}
	if whole, _ := reading(b, d.UUID); len(whole.Values) == 0 || whole.Values[telemetry.Power] == 0 {
		t.Errorf("the whole GPU: %v; want its power at least", whole.Values)
	}
}

// settles waits until a batch has no difference, and tells the last one when none does.

// utilization of a device in a batch.

// used is the utilization of a device that a pod has; -1 when it is not said.

// shared has pods hold replicas of a device, with a process each, numbered from 101.
