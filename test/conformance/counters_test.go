//go:build conformance

package conformance

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakenvml"
	"github.com/google/go-cmp/cmp"
)

func xidErrors(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 2))
	uuid := w.Scenario.Devices[1].UUID
	w.start()
	is := func(errors, last float64) func(telemetry.Batch) bool {
		return func(b telemetry.Batch) bool {
			r, _ := reading(b, uuid)
			n, listened := r.Values[telemetry.XIDErrors]
			return listened && n == errors && r.Values[telemetry.XIDLast] == last
		}
	}
	w.batch("no error yet", is(0, 0))
	w.Scenario.Devices[1].XIDs = []fakenvml.XID{{Sequence: 1, Code: 79}}
	w.play()
	w.batch("the first error", is(1, 79))
	w.Scenario.Devices[1].XIDs = append(w.Scenario.Devices[1].XIDs, fakenvml.XID{Sequence: 2, Code: 31})
	w.play()
	b := w.batch("the second error", is(2, 31))
	if r, _ := reading(b, w.Scenario.Devices[0].UUID); r.Values[telemetry.XIDErrors] != 0 {
		t.Errorf("errors of the other GPU: %v", r.Values[telemetry.XIDErrors])
	}
	w.shows(31, "DCGM_FI_DEV_XID_ERRORS", "UUID", uuid)
}

func wrappingCounters(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	delete(d.GPM, 20) // what is left of PCIe is the counter of 32 bits, which a busy bus passes several times a second
	d.Fields[197], d.Fields[138] = 1<<32-1000, 1<<40
	w.play()
	w.start()
	nvlink := func(b telemetry.Batch) (v float64, told bool) {
		r, _ := reading(b, d.UUID)
		v, told = r.Values[telemetry.NVLinkTransmit]
		return v, told
	}
	w.batch("a rate of NVLink", func(b telemetry.Batch) bool { _, told := nvlink(b); return told })
	d.Fields[197], d.Fields[138] = 1<<32+9000, 5
	w.play()
	w.batch("no rate, for the counter began anew", func(b telemetry.Batch) bool { _, told := nvlink(b); return !told })
	w.batch("a rate again", func(b telemetry.Batch) bool { _, told := nvlink(b); return told })
	for _, b := range w.received() {
		r, _ := reading(b, d.UUID)
		if v, told := r.Values[telemetry.PCIeTransmit]; told {
			t.Errorf("PCIe: %v bytes/s", v)
		}
		if v, _ := nvlink(b); v != 0 {
			t.Errorf("NVLink: %v bytes/s", v)
		}
	}
}

func energyCounter(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	d.PowerMilliwatts = 500_000
	w.play()
	w.start()
	energy := func(b telemetry.Batch) float64 { r, _ := reading(b, d.UUID); return r.Values[telemetry.Energy] }
	first := w.batch("energy", func(b telemetry.Batch) bool { return energy(b) > 0 })
	last := w.batch("energy three seconds on", func(b telemetry.Batch) bool { return b.End.Sub(first.End) >= 3*time.Second })
	want := 500 * last.End.Sub(first.End).Seconds()
	if got := energy(last) - energy(first); got < 0.9*want || got > 1.1*want {
		t.Errorf("energy grew by %.0f J in %v; want %.0f", got, last.End.Sub(first.End), want)
	}
}

func oldDriver(t *testing.T) {
	w := newWorld(t, profile(t, "t4", 1))
	w.install(fakenvml.OldDriver())
	d := &w.Scenario.Devices[0]
	d.UtilizationGPUPercent, d.MemoryUsedBytes, d.ClockEventReasons = 50, 4<<30, 4
	d.Processes = []fakenvml.Process{{PID: 101, UsedBytes: 1 << 30, SMPercent: 20}, {PID: 102, UsedBytes: 3 << 30, SMPercent: 30}}
	w.play()
	w.shared("nvidia.com/gpu", d.UUID, "bert-0", "bert-1")
	w.start()
	b := w.batch("both pods' parts", func(b telemetry.Batch) bool {
		return near(used(b, "bert-0", d.UUID), 0.2) && near(used(b, "bert-1", d.UUID), 0.3)
	})
	r, _ := reading(b, d.UUID)
	if r.Values[telemetry.MemoryUsed] != float64(4<<30+d.MemoryReservedBytes) { // version 1 counts the driver's own as used
		t.Errorf("memory used = %v", r.Values[telemetry.MemoryUsed])
	}
	if v, there := r.Values[telemetry.MemoryReserved]; there {
		t.Errorf("memory reserved = %v; this driver does not tell it", v)
	}
	if r.Values[telemetry.ClockEventReasons] != 4 || len(b.Problems) > 0 {
		t.Errorf("clock event reasons = %v, problems %q", r.Values[telemetry.ClockEventReasons], b.Problems)
	}
	if u, _ := usage(b, "bert-1", d.UUID); u.Values[telemetry.MemoryUsed] != 3<<30 {
		t.Errorf("memory of bert-1 = %v", u.Values[telemetry.MemoryUsed])
	}
}

func lacksOneFunction(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	w.install(fakenvml.Variant{Without: []string{"nvmlDeviceGetTemperature", "nvmlDeviceGetFieldValues", "nvmlEventSetCreate"}})
	d := w.Scenario.Devices[0]
	w.start()
	lost := []telemetry.Metric{telemetry.Temperature, telemetry.XIDErrors, telemetry.XIDLast}
	for _, m := range byField {
		lost = append(lost, m)
	}
	want := slices.DeleteFunc(has(d), func(m telemetry.Metric) bool { return slices.Contains(lost, m) })
	w.settles("what the library can do", func(b telemetry.Batch) string {
		r, _ := reading(b, d.UUID)
		return cmp.Diff(want, slices.Sorted(maps.Keys(r.Values)))
	})
}

func fieldsInOneCall(t *testing.T) {
	w := newWorld(t, profile(t, "rtx4090", 1))
	w.start()
	w.batch("energy", func(b telemetry.Batch) bool {
		r, _ := reading(b, w.Scenario.Devices[0].UUID)
		return r.Values[telemetry.Energy] > 0
	})
	calls := func(function string) uint64 {
		for _, m := range w.metrics()["foretide_agent_nvml_call_duration_seconds"].GetMetric() {
			if m.GetLabel()[0].GetValue() == function {
				return m.GetHistogram().GetSampleCount()
			}
		}
		return 0
	}
	fields, power, monitor := calls("nvmlDeviceGetFieldValues"), calls("nvmlDeviceGetPowerUsage"), calls("nvmlGpmMetricsGet")
	w.eventually("ten more readings", func() bool { return calls("nvmlDeviceGetPowerUsage") >= power+10 })
	more, most := calls("nvmlDeviceGetFieldValues")-fields, calls("nvmlDeviceGetPowerUsage")-power
	if more < 9 || more > most+2 {
		t.Errorf("%d calls for fields in about %d readings; want one each", more, most)
	}
	if again := calls("nvmlGpmMetricsGet") - monitor; again > 0 {
		t.Errorf("the performance monitor it does not have was asked for %d times more", again)
	}
}
