//go:build conformance

package conformance

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakenvml"
)

func hangingDevice(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 3))
	good, bad, other := w.Scenario.Devices[0].UUID, &w.Scenario.Devices[1], w.Scenario.Devices[2].UUID
	w.start()
	w.reads(good, bad.UUID, other)
	bad.Hangs = []string{"nvmlDeviceGetPowerUsage"}
	w.play()
	b := w.batch("the GPU that hangs is named", func(b telemetry.Batch) bool { return tells(b, bad.UUID+"): the driver has not answered since") })
	if _, there := reading(b, bad.UUID); there {
		t.Error("the GPU that hangs was read")
	}
	w.shows(1, "foretide_agent_hanging_devices")
	w.shows(2, "foretide_agent_devices")
	w.says("/readyz", 200, "the driver does not answer for 1")
	w.says("/healthz", 200, "")
	from := w.reads(good, other)
	to := w.batch("ten more batches", func(b telemetry.Batch) bool { return b.Sequence >= from.Sequence+10 })
	for _, b := range w.received() {
		if b.Sequence < from.Sequence || b.Sequence > to.Sequence {
			continue
		}
		if _, there := reading(b, good); !there || b.End.Sub(b.Start) > time.Second {
			t.Errorf("batch %d of %v: the others have not gone on", b.Sequence, b.End.Sub(b.Start))
		}
	}
	bad.Hangs = nil
	w.play()
	w.reads(good, bad.UUID, other)
	w.shows(0, "foretide_agent_hanging_devices")
}

func lostDevice(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 2))
	good, lost := w.Scenario.Devices[0].UUID, &w.Scenario.Devices[1]
	w.hold(holder("bert-0", "model", "nvidia.com/gpu", good), holder("bert-1", "model", "nvidia.com/gpu", lost.UUID))
	w.start()
	w.reads(good, lost.UUID)
	lost.Errors = map[string]int{fakenvml.AllCalls: 15}
	w.play()
	b := w.batch("the lost GPU is named", func(b telemetry.Batch) bool { return tells(b, lost.UUID) && len(b.Readings) == 1 })
	if _, there := reading(b, good); !there || used(b, "bert-0", good) != 0 || !blank(b, "bert-1", lost.UUID) {
		t.Errorf("readings %+v, usages %+v", b.Readings, b.Usages)
	}
	w.shows(1, "foretide_agent_devices")
	lost.Errors = nil
	w.play()
	w.reads(good, lost.UUID)
}

func newInstances(t *testing.T) {
	w := newWorld(t, partitioned(t, "3g.40gb", "3g.40gb"))
	d := &w.Scenario.Devices[0]
	old := d.MIGInstances[0].UUID
	w.start()
	w.reads(d.UUID, old, d.MIGInstances[1].UUID)
	made, err := fakenvml.WithMIG(profile(t, "h100", 1).Devices[0], "1g.10gb", "1g.10gb", "1g.10gb")
	if err != nil {
		t.Fatal(err)
	}
	for i := range made.MIGInstances {
		made.MIGInstances[i].UUID = strings.Replace(made.MIGInstances[i].UUID, "5000", "5001", 1)
	}
	*d = made
	w.play()
	w.hold(holder("bert-0", "model", "nvidia.com/mig-1g.10gb", made.MIGInstances[2].UUID))
	b := w.reads(d.UUID, made.MIGInstances[0].UUID, made.MIGInstances[1].UUID, made.MIGInstances[2].UUID)
	if _, there := reading(b, old); there || len(b.Readings) != 4 {
		t.Errorf("%d readings, the old instance's among them: %v", len(b.Readings), there)
	}
	w.parts(made.MIGInstances[2].UUID, map[string]float64{"bert-0": 0})
}

func intoMIG(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	w.start()
	w.batch("the whole GPU", func(b telemetry.Batch) bool {
		r, _ := reading(b, d.UUID)
		_, measured := r.Values[telemetry.UtilizationMean]
		return measured && len(b.Readings) == 1
	})
	var err error
	if *d, err = fakenvml.WithMIG(*d, "3g.40gb"); err != nil {
		t.Fatal(err)
	}
	w.play()
	w.reads(d.UUID, d.MIGInstances[0].UUID)
	d.MIGMode, d.MIGInstances = false, nil
	w.play()
	w.batch("the whole GPU again", func(b telemetry.Batch) bool {
		r, _ := reading(b, d.UUID)
		_, measured := r.Values[telemetry.UtilizationMean]
		return measured && len(b.Readings) == 1
	})
}

func releaseFile(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	w.hold(holder("bert-0", "model", "nvidia.com/gpu", w.Scenario.Devices[0].UUID))
	w.start()
	w.reads(w.Scenario.Devices[0].UUID)
	w.write("release-driver", nil)
	w.state("released")
	b := w.batch("why there are no readings", func(b telemetry.Batch) bool { return tells(b, "given back") })
	if len(b.Readings) > 0 || !blank(b, "bert-0", w.Scenario.Devices[0].UUID) {
		t.Errorf("readings %v, usages %v", b.Readings, b.Usages)
	}
	w.says("/readyz", 200, "released")
	w.remove("release-driver")
	w.reads(w.Scenario.Devices[0].UUID)
	w.state("ok")
	if log := w.Log(); !strings.Contains(log, "the driver is given back") || !strings.Contains(log, "the driver is used again") {
		t.Error("the log does not tell")
	}
}

func drainedNode(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	uuid := w.Scenario.Devices[0].UUID
	w.hold(holder("bert-0", "model", "nvidia.com/gpu", uuid))
	w.start()
	w.reads(uuid)
	w.drain(true)
	from := w.reads(uuid)
	w.batch("fifteen batches of a node that is drained", func(b telemetry.Batch) bool {
		if _, there := reading(b, uuid); !there {
			t.Fatal("the driver was given back while a pod holds a GPU")
		}
		return b.Sequence >= from.Sequence+15
	})
	w.hold()
	w.state("released")
	w.drain(false)
	w.reads(uuid)
}

func upgradedDriver(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	uuid := w.Scenario.Devices[0].UUID
	w.install(fakenvml.Variant{Version: w.Scenario.DriverVersion})
	w.start()
	before, pid := w.reads(uuid), w.PID()
	w.write("release-driver", nil)
	w.state("released")
	w.Scenario.DriverVersion = "580.65.06"
	w.play()
	w.install(fakenvml.Variant{Version: w.Scenario.DriverVersion})
	w.remove("release-driver")
	after := w.batch("readings of a new session", func(b telemetry.Batch) bool {
		_, there := reading(b, uuid)
		return there && b.Session != before.Session
	})
	if after.Sequence == 0 || w.PID() != pid || !strings.Contains(w.Log(), "agent begins anew") {
		t.Errorf("sequence %d, process %d", after.Sequence, w.PID())
	}
	if target, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe")); err != nil || !strings.HasSuffix(target, "bin/agent") {
		t.Errorf("process %d is %s: %v", pid, target, err)
	}
	maps, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "maps"))
	if err != nil || !strings.Contains(string(maps), w.Path(fakenvml.LibraryName)+"\n") {
		t.Errorf("the new library is not loaded: %v", err)
	}
}

func callLatency(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	w.Scenario.Devices[0].Processes = []fakenvml.Process{{PID: 101, UsedBytes: 1 << 20, SMPercent: 1}}
	w.Scenario.Devices[0].Delays = map[string]int{"nvmlDeviceGetTemperature": 20}
	w.play()
	w.start()
	functions := []string{"nvmlDeviceGetSamples", "nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetFieldValues", "nvmlDeviceGetClockInfo", "nvmlDeviceGetTemperature",
		"nvmlDeviceGetPowerUsage", "nvmlDeviceGetEncoderUtilization", "nvmlDeviceGetDecoderUtilization", "nvmlDeviceGetCurrentClocksEventReasons",
		"nvmlDeviceGetProcessUtilization", "nvmlDeviceGetComputeRunningProcesses", "nvmlGpmMetricsGet"}
	var took float64
	w.eventually("a histogram of each function", func() bool {
		seen := map[string]uint64{}
		for _, m := range w.metrics()["foretide_agent_nvml_call_duration_seconds"].GetMetric() {
			for _, l := range m.GetLabel() {
				seen[l.GetValue()] = m.GetHistogram().GetSampleCount()
				if l.GetValue() == "nvmlDeviceGetTemperature" {
					took = m.GetHistogram().GetSampleSum() / float64(m.GetHistogram().GetSampleCount())
				}
			}
		}
		for _, f := range functions {
			if seen[f] < 3 {
				return false
			}
		}
		return true
	})
	if took < 0.02 || took > 0.1 {
		t.Errorf("a function that takes 20 ms took %v s by the histogram", took)
	}
}

func slowDriver(t *testing.T) {
	s := profile(t, "h100", 8)
	for i := range s.Devices {
		s.Devices[i].Delays = map[string]int{"nvmlDeviceGetPowerUsage": 60}
	}
	w := newWorld(t, s)
	w.start("--sampler.interval=1s")
	var uuids []string
	for _, d := range s.Devices {
		uuids = append(uuids, d.UUID)
	}
	w.reads(uuids...)
	for range 2 {
		if b := w.reads(uuids...); b.End.Sub(b.Start) > 1500*time.Millisecond {
			t.Errorf("a window of %v", b.End.Sub(b.Start))
		}
	}
}
