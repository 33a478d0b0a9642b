package dcgm

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/NVIDIA/go-dcgm/pkg/dcgm"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakedcgm"
)

// Numbers of fields (dcgm_fields.h).
const (
	gpuUtil, memCopyUtil, smClock, powerUsage, energy  = 203, 204, 100, 155, 156
	fbFree, fbUsed, fbReserved, remapPending, xid      = 251, 252, 253, 396, 230
	grActive, smActive, tensorActive, dramActive, pcie = 1001, 1002, 1004, 1005, 1009
	replays, temperature, eventReasons                 = 202, 150, 112
)

var roughly = cmpopts.EquateApprox(1e-12, 0)

func TestEveryDCGMNameOfTheCatalogueIsAField(t *testing.T) {
	read := map[telemetry.Metric]bool{}
	for _, f := range fieldTable() {
		read[f.metric] = true
	}
	for _, d := range telemetry.Catalogue() {
		if d.DCGM != "" && !read[d.Metric] {
			t.Errorf("%s is not read: go-dcgm has no field %s", d.Name, d.DCGM)
		}
	}
	if !read[telemetry.RemapPending] {
		t.Error("pending row remaps are not read")
	}
}

func TestEveryGPUIsReadInBaseUnits(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakedcgm.Default(2)
		maps.Copy(s.Entities[1].Fields, map[int]fakedcgm.Value{
			gpuUtil: fakedcgm.Int(37), memCopyUtil: fakedcgm.Int(12), smClock: fakedcgm.Int(1980), powerUsage: fakedcgm.Double(431.5),
			energy: fakedcgm.Int(7_000_500), fbFree: fakedcgm.Int(80000), fbUsed: fakedcgm.Int(1000), fbReserved: fakedcgm.Int(559),
			replays: fakedcgm.Int(3), temperature: fakedcgm.Int(61), eventReasons: fakedcgm.Int(4), remapPending: fakedcgm.Int(1),
			xid: fakedcgm.Int(79), grActive: fakedcgm.Double(0.4), smActive: fakedcgm.Double(0.25), tensorActive: fakedcgm.Double(0.125),
			dramActive: fakedcgm.Double(0.0625), pcie: fakedcgm.Int(1_000_000),
		})
		h.install()
		h.play(s)
		r := h.reader()
		got, problems := h.after(0, r)
		const mib = 1 << 20
		want := []telemetry.Sample{
			{Reading: telemetry.Reading{Device: telemetry.Device{UUID: "GPU-f0e7de00-0000-4000-8000-000000000000", Index: 0,
				Model: "NVIDIA H100 80GB HBM3", Minor: 0, PCIBusID: "00000000:1B:00.0"},
				Values: telemetry.Values{telemetry.MemoryTotal: 81559 * mib, telemetry.XIDLast: 0}}},
			{Reading: telemetry.Reading{Device: telemetry.Device{UUID: "GPU-f0e7de00-0000-4000-8000-000000000001", Index: 1,
				Model: "NVIDIA H100 80GB HBM3", Minor: 1, PCIBusID: "00000000:1C:00.0"},
				Values: telemetry.Values{
					telemetry.UtilizationMean: 0.37, telemetry.UtilizationMax: 0.37, telemetry.MemoryBusy: 0.12, telemetry.SMClock: 1.98e9,
					telemetry.Power: 431.5, telemetry.Energy: 7000.5, telemetry.MemoryTotal: 81559 * mib, telemetry.MemoryFree: 80000 * mib,
					telemetry.MemoryUsed: 1000 * mib, telemetry.MemoryReserved: 559 * mib, telemetry.PCIeReplays: 3, telemetry.Temperature: 61,
					telemetry.ClockEventReasons: 4, telemetry.RemapPending: 1, telemetry.XIDLast: 79, telemetry.GraphicsActive: 0.4,
					telemetry.SMActive: 0.25, telemetry.TensorActive: 0.125, telemetry.DRAMActive: 0.0625, telemetry.PCIeTransmit: 1e6,
				}}},
		}
		if d := cmp.Diff(want, got, roughly); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		if len(problems) != 1 || !strings.Contains(problems[0], "device 0 (GPU-f0e7de00-0000-4000-8000-000000000000): the host engine says no utilization") {
			t.Errorf("problems = %q; want one on the utilization of device 0", problems)
		}
		status := Status{State: StateOK, Since: h.now, Devices: 2, Library: h.library(), Driver: "570.124.06"}
		if d := cmp.Diff(status, r.Status()); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
	})
}

func TestWhatDCGMMarksAsNoValueIsAbsentAndNotZero(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		const notSupported = -6
		s := fakedcgm.Default(1)
		maps.Copy(s.Entities[0].Fields, map[int]fakedcgm.Value{
			gpuUtil: fakedcgm.Int(0), fbUsed: fakedcgm.BlankInt, fbFree: fakedcgm.Int(0x7ffffffffffffff2), powerUsage: fakedcgm.BlankDouble,
			grActive: fakedcgm.Double(140737488355330), temperature: fakedcgm.Int(30).Failed(notSupported), energy: fakedcgm.Int(-1),
			smClock: fakedcgm.Text("fast"), smActive: fakedcgm.Double(0), fakedcgm.FieldName: fakedcgm.BlankText,
		})
		h.install()
		h.play(s)
		got, problems := h.after(0, h.reader())
		if len(got) != 1 || problems != nil {
			t.Fatalf("%d samples, problems %q", len(got), problems)
		}
		want := []telemetry.Metric{telemetry.UtilizationMean, telemetry.UtilizationMax, telemetry.MemoryTotal, telemetry.XIDLast, telemetry.SMActive}
		if d := cmp.Diff(want, slices.Sorted(maps.Keys(got[0].Values))); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		if got[0].Device.Model != "" {
			t.Errorf("model = %q; want none", got[0].Device.Model)
		}
	})
}

func TestStaleValuesAreAbsentAndNamedButAnEventStays(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakedcgm.Default(1)
		maps.Copy(s.Entities[0].Fields, map[int]fakedcgm.Value{
			gpuUtil: fakedcgm.Int(90).Aged(time.Minute), powerUsage: fakedcgm.Double(100), xid: fakedcgm.Int(31).Aged(time.Hour),
			temperature: fakedcgm.Int(40).Aged(-time.Hour),
		})
		h.install()
		h.play(s)
		got, problems := h.after(0, h.readerEvery(10*time.Second))
		if len(got) != 1 {
			t.Fatalf("%d samples, problems %q", len(got), problems)
		}
		want := telemetry.Values{telemetry.Power: 100, telemetry.MemoryTotal: 81559 << 20, telemetry.XIDLast: 31}
		if d := cmp.Diff(want, got[0].Values); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		if len(problems) != 1 || !strings.Contains(problems[0], "values of the host engine are 1h0m") {
			t.Errorf("problems = %q; want one on values that are an hour off", problems)
		}
	})
}

func TestUtilizationIsNeverMoreThanAll(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakedcgm.Default(1)
		s.Entities[0].Fields[gpuUtil] = fakedcgm.Int(103)
		h.install()
		h.play(s)
		got, _ := h.after(0, h.reader())
		if len(got) != 1 || got[0].Values[telemetry.UtilizationMean] != 1 {
			t.Errorf("%v; want one sample with a utilization of 1", got)
		}
	})
}

func TestMIGInstancesHaveWhatIsTheirsAndTheGPUWhatIsTheBoards(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakedcgm.Default(2)
		maps.Copy(s.Entities[1].Fields, map[int]fakedcgm.Value{
			gpuUtil: fakedcgm.BlankInt, grActive: fakedcgm.Double(0.2), powerUsage: fakedcgm.Double(300), fbUsed: fakedcgm.Int(5000),
		})
		s.Entities[0].Fields[gpuUtil] = fakedcgm.Int(0)
		maps.Copy(s.AddMIG(1, "1g.10gb", 10000).Fields, map[int]fakedcgm.Value{grActive: fakedcgm.Double(0.75), fbUsed: fakedcgm.Int(4000)})
		maps.Copy(s.AddMIG(1, "2g.20gb", 20000).Fields, map[int]fakedcgm.Value{grActive: fakedcgm.Double(0), dramActive: fakedcgm.Double(0), fbUsed: fakedcgm.BlankInt})
		h.install()
		h.play(s)
		got, problems := h.after(0, h.reader())
		if len(got) != 4 || problems != nil {
			t.Fatalf("%d samples, problems %q; want 2 GPUs and 2 instances", len(got), problems)
		}
		if d := cmp.Diff(telemetry.Values{telemetry.Power: 300, telemetry.XIDLast: 0}, got[1].Values); d != "" {
			t.Errorf("GPU (-want +got)\n%s", d)
		}
		const mib = 1 << 20
		parent := got[1].Device
		for i, want := range []telemetry.Sample{
			{Reading: telemetry.Reading{
				Device: telemetry.Device{UUID: "MIG-f0e7de00-0000-4000-8000-000000000000", MIG: telemetry.MIG{GPUInstance: 7, Profile: "1g.10gb", Share: 10000.0 / 81559}},
				Values: telemetry.Values{telemetry.UtilizationMean: 0.75, telemetry.UtilizationMax: 0.75, telemetry.GraphicsActive: 0.75,
					telemetry.MemoryUsed: 4000 * mib, telemetry.MemoryTotal: 10000 * mib}}},
			{Reading: telemetry.Reading{
				Device: telemetry.Device{UUID: "MIG-f0e7de00-0000-4000-8000-000000000001", MIG: telemetry.MIG{GPUInstance: 8, Profile: "2g.20gb", Share: 20000.0 / 81559}},
				Values: telemetry.Values{telemetry.UtilizationMean: 0, telemetry.UtilizationMax: 0, telemetry.GraphicsActive: 0, telemetry.DRAMActive: 0,
					telemetry.MemoryTotal: 20000 * mib}}},
		} {
			want.Device.Index, want.Device.Minor, want.Device.PCIBusID, want.Device.Model = 1, 1, parent.PCIBusID, parent.Model
			want.Device.MIG.ParentUUID, want.Device.MIG.Placement = parent.UUID, -1
			// What an instance does not have itself the fake library, like DCGM, answers with the GPU's: it is not to be asked.
			if d := cmp.Diff(want, got[2+i], roughly); d != "" {
				t.Errorf("instance %d (-want +got)\n%s", i, d)
			}
		}
	})
}

func TestComputeInstancesThatShareAGPUInstanceAreNotToldApart(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakedcgm.Default(1)
		s.AddMIG(0, "2g.20gb", 20000).Fields[grActive] = fakedcgm.Double(0.5)
		s.Entities = append(s.Entities, fakedcgm.Entity{Kind: fakedcgm.ComputeInstance, ID: 9, Parent: 0, GPUInstance: 7, ComputeInstance: 1,
			Fields: map[int]fakedcgm.Value{fakedcgm.FieldUUID: fakedcgm.Text("MIG-second")}})
		h.install()
		h.play(s)
		got, problems := h.after(0, h.reader())
		if len(got) != 3 || got[2].Device.UUID != "MIG-second" || len(got[1].Values)+len(got[2].Values) != 0 {
			t.Errorf("%+v; want a GPU and two instances without values", got)
		}
		if len(problems) != 1 || !strings.Contains(problems[0], "device 0 instance 7/0 (MIG-f0e7de00-0000-4000-8000-000000000000): its GPU instance is divided") {
			t.Errorf("problems = %q", problems)
		}
	})
}

func TestGPUsAreReadWithoutTheProfilingMetricsThatCannotBeWatched(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		const profilingNotSupported = -36
		s := fakedcgm.Default(1)
		s.ProfilingError = profilingNotSupported
		s.Entities[0].Fields[gpuUtil], s.Entities[0].Fields[grActive] = fakedcgm.Int(50), fakedcgm.Double(0.5)
		h.install()
		h.play(s)
		r := h.reader()
		got, problems := h.after(0, r)
		want := telemetry.Values{telemetry.UtilizationMean: 0.5, telemetry.UtilizationMax: 0.5, telemetry.MemoryTotal: 81559 << 20, telemetry.XIDLast: 0}
		if len(got) != 1 || !cmp.Equal(want, got[0].Values) {
			t.Errorf("%v; want one sample with %v", got, want)
		}
		if len(problems) != 1 || !strings.Contains(problems[0], "has no profiling metrics: error watching fields: dcgmReturn_t -36") {
			t.Errorf("problems = %q", problems)
		}
		s.ProfilingError = 0
		h.play(s)
		if got, problems = h.after(watchAgain, r); problems != nil || len(got) != 1 || got[0].Values[telemetry.GraphicsActive] != 0.5 {
			t.Errorf("%v, problems %q; want profiling metrics once they can be watched", got, problems)
		}
	})
}

func TestEngineIsAskedToReadAtTheInterval(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakedcgm.Default(1)
		const interval = 1234 * time.Second // so that a slow machine makes no value too old
		s.Interval = interval
		s.Entities[0].Fields[gpuUtil] = fakedcgm.Int(1)
		h.install()
		h.play(s)
		if _, problems := h.after(0, h.readerEvery(interval)); problems != nil {
			t.Errorf("problems = %q", problems)
		}
	})
}

func TestInstancesComeAndGoWithoutLeavingGroupsOrWatchesBehind(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		h.install()
		r := h.reader()
		for round := range 200 { // more groups and watches than an engine has room for
			s := fakedcgm.Default(1)
			s.Entities[0].Fields[gpuUtil] = fakedcgm.Int(0)
			for range 1 + round%7 {
				s.AddMIG(0, fmt.Sprintf("%dg.10gb", 1+round%3), 10000).Fields[grActive] = fakedcgm.Double(0.5)
			}
			for i := range s.Entities[1:] { // new ones each time
				e := &s.Entities[1+i]
				e.ID += 100 * round
				if e.Kind == fakedcgm.ComputeInstance {
					e.Parent += 100 * round
				}
			}
			h.play(s)
			got, problems := h.after(surveyEvery, r)
			if len(got) != 2+round%7 || problems != nil {
				t.Fatalf("round %d: %d samples, problems %q; want %d", round, len(got), problems, 2+round%7)
			}
		}
	})
}

func TestGPUsAreReadWhenMIGInstancesAreNotKnown(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakedcgm.Default(1)
		s.HierarchyError = -6
		s.Entities[0].Fields[gpuUtil] = fakedcgm.Int(5)
		h.install()
		h.play(s)
		got, problems := h.after(0, h.reader())
		if len(got) != 1 || len(problems) != 1 || !strings.Contains(problems[0], "MIG instances are not known") {
			t.Errorf("%d samples, problems %q", len(got), problems)
		}
	})
}

func TestFieldsOfAnInstanceAreNoneOfTheBoards(t *testing.T) {
	inside := ids(fieldTable(), func(f field) bool { return f.of(roleInstance) })
	board := ids(fieldTable(), func(f field) bool { return f.of(rolePartitioned) })
	for _, id := range inside {
		if slices.Contains(board, id) {
			t.Errorf("field %d is read of an instance and of its GPU", id)
		}
	}
	for _, id := range []dcgm.Short{powerUsage, energy, gpuUtil, temperature} {
		if slices.Contains(inside, id) {
			t.Errorf("field %d is read of an instance, and is its GPU's", id)
		}
	}
}
