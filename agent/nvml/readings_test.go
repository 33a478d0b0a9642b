package nvml

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakenvml"
)

var nearly = cmpopts.EquateApprox(1e-9, 1e-9)

// tick lets the reader's clock and the library's go on together, and reads.
func (h *host) tick(r *Reader, s *fakenvml.Scenario) ([]telemetry.Sample, []string) {
	h.t.Helper()
	s.NowMicroseconds += second.Microseconds()
	h.play(*s)
	return h.after(second, r)
}

// clocked is a scenario with a clock of its own and a ring of a sample each 100 ms.
func clocked(n int) *fakenvml.Scenario {
	s := fakenvml.Default(n)
	s.NowMicroseconds = 1_800_000_000_000_000
	for i := range s.Devices {
		s.Devices[i].SamplePeriodMicroseconds = 100_000
	}
	return &s
}

func TestBurstBetweenTwoReadingsCounts(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := clocked(1)
		s.Devices[0].UtilizationGPUPercent = 10
		h.install()
		r := h.reader()
		h.tick(r, s)
		// 200 ms of full load, over by the time of the reading.
		s.Devices[0].Bursts = []fakenvml.Burst{{StartMicroseconds: s.NowMicroseconds + 300_000, LengthMicroseconds: 200_000, Percent: 100}}
		samples, problems := h.tick(r, s)
		want := telemetry.Values{telemetry.UtilizationMean: 0.28, telemetry.UtilizationMax: 1}
		if d := cmp.Diff(want, pick(samples[0].Values, telemetry.UtilizationMean, telemetry.UtilizationMax), nearly); d != "" || problems != nil {
			t.Errorf("(-want +got)\n%s problems %q", d, problems)
		}
		if samples, _ = h.tick(r, s); samples[0].Values[telemetry.UtilizationMax] != 0.1 {
			t.Errorf("a burst counted twice: %v", samples[0].Values)
		}
	})
}

func TestFirstReadingTakesTheLastSecondOfTheRing(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := clocked(1)
		s.Devices[0].Bursts = []fakenvml.Burst{{StartMicroseconds: s.NowMicroseconds - 5_000_000, LengthMicroseconds: 4_000_000, Percent: 100}}
		h.install()
		if samples, _ := h.tick(h.reader(), s); samples[0].Values[telemetry.UtilizationMean] != 0 {
			t.Errorf("utilization = %v; want 0, for the load was over", samples[0].Values[telemetry.UtilizationMean])
		}
	})
}

func TestBoardIsReadInBaseUnits(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := clocked(1)
		d := &s.Devices[0]
		d.SMClockMHz, d.MemoryClockMHz, d.TemperatureCelsius, d.PowerMilliwatts, d.ClockEventReasons = 1980, 2619, 61, 412_500, 4
		d.EncoderPercent, d.DecoderPercent, d.UtilizationMemoryPercent = 7, 8, 35
		d.Fields = map[int]uint64{82: 71, 83: 5_000_500, 3: 1, 4: 2, 5: 3, 6: 4, 94: 5, 138: 10, 139: 20, 142: 6, 143: 7, 144: 1, 145: 0}
		h.install()
		r := h.reader()
		h.tick(r, s)
		d.Fields[138], d.Fields[139] = 110, 220
		samples, problems := h.tick(r, s)
		want := telemetry.Values{telemetry.SMClock: 1980e6, telemetry.MemoryClock: 2619e6, telemetry.Temperature: 61, telemetry.Power: 412.5,
			telemetry.ClockEventReasons: 4, telemetry.EncoderBusy: 0.07, telemetry.DecoderBusy: 0.08, telemetry.MemoryBusy: 0.35,
			telemetry.MemoryTemperature: 71, telemetry.Energy: 5000.5, telemetry.ECCVolatileCorrectable: 1, telemetry.ECCVolatileUncorrectable: 2,
			telemetry.ECCAggregateCorrectable: 3, telemetry.ECCAggregateUncorrectable: 4, telemetry.PCIeReplays: 5, telemetry.NVLinkTransmit: 100 << 10, telemetry.NVLinkReceive: 200 << 10, telemetry.RemappedCorrectable: 6,
			telemetry.RemappedUncorrectable: 7, telemetry.RemapPending: 1, telemetry.RemapFailed: 0, telemetry.XIDErrors: 0, telemetry.XIDLast: 0}
		var metrics []telemetry.Metric
		for m := range want {
			metrics = append(metrics, m)
		}
		if d := cmp.Diff(want, pick(samples[0].Values, metrics...), nearly); d != "" || problems != nil {
			t.Errorf("(-want +got)\n%s problems %q", d, problems)
		}
	})
}

func TestCounterThatBeginsAnewOrMayHaveWrappedGivesNoRate(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := clocked(1)
		s.Devices[0].Fields = map[int]uint64{197: 1000, 138: 1 << 40}
		h.install()
		r := h.reader()
		if samples, _ := h.tick(r, s); has(samples[0], telemetry.NVLinkTransmit) {
			t.Error("a rate after one reading")
		}
		s.Devices[0].Fields[197], s.Devices[0].Fields[138] = 9000, 5
		samples, _ := h.tick(r, s)
		if has(samples[0], telemetry.PCIeTransmit) {
			t.Errorf("a counter of 32 bits, which a bus wraps several times a second: %v; want it absent", samples[0].Values[telemetry.PCIeTransmit])
		}
		if has(samples[0], telemetry.NVLinkTransmit) {
			t.Errorf("after a counter of 64 bits began anew: %v; want it absent", samples[0].Values[telemetry.NVLinkTransmit])
		}
		s.Devices[0].Fields[138] = 6
		if samples, _ = h.tick(r, s); samples[0].Values[telemetry.NVLinkTransmit] != 1024 {
			t.Errorf("then: %v", samples[0].Values[telemetry.NVLinkTransmit])
		}
	})
}

func TestShareOfAMIGInstanceIsThatOfItsComputeSlices(t *testing.T) {
	for profile, want := range map[string]float64{"1g.10gb": 1.0 / 7, "1g.20gb": 1.0 / 7, "3g.40gb": 3.0 / 7, "7g.80gb": 1, "1c.3g.40gb": 1.0 / 7, "1g.10gb+me": 1.0 / 7, "": 0, "odd": 0} {
		if got := share(profile, "NVIDIA H100 80GB HBM3"); got != want {
			t.Errorf("%s: %v; want %v", profile, got, want)
		}
	}
	if got := share("2g.12gb", "NVIDIA A30"); got != 0.5 {
		t.Errorf("A30: %v; want 0.5", got)
	}
}

func TestFieldsThatADeviceDoesNotHaveAreAbsentAndNoProblem(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := clocked(2)
		s.Devices[0].Fields = map[int]uint64{82: 50}
		h.install()
		samples, problems := h.tick(h.reader(), s)
		if problems != nil || !has(samples[0], telemetry.MemoryTemperature) || has(samples[0], telemetry.ECCVolatileCorrectable) || has(samples[1], telemetry.MemoryTemperature) {
			t.Errorf("values %v and %v, problems %q", samples[0].Values, samples[1].Values, problems)
		}
	})
}

func TestProcessesAreReadWithTheirShares(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := clocked(2)
		s.Devices[0].Processes = []fakenvml.Process{{PID: 12, UsedBytes: 2 << 30, SMPercent: 40, MemoryPercent: 10, EncoderPercent: 1, DecoderPercent: 2},
			{PID: 11, UsedBytes: 1 << 30}, {PID: 13, UsedBytes: 1 << 20, SMPercent: 20, Kind: fakenvml.MPS}, {PID: 14, UsedBytes: 1 << 10, Kind: fakenvml.Graphics}}
		h.install()
		r := h.reader()
		first, _ := h.tick(r, s)
		if !slices.Contains(first[1].Divided, telemetry.UtilizationMean) || len(first[1].Processes) != 0 {
			t.Errorf("idle device: %+v; want that nobody used it", first[1])
		}
		samples, problems := h.tick(r, s)
		use := func(sm, memory, encoder, decoder, bytes float64) telemetry.Values {
			return telemetry.Values{telemetry.UtilizationMean: sm, telemetry.UtilizationMax: sm, telemetry.MemoryBusy: memory, telemetry.EncoderBusy: encoder,
				telemetry.DecoderBusy: decoder, telemetry.MemoryUsed: bytes}
		}
		want := []telemetry.Process{{PID: 11, Values: telemetry.Values{telemetry.MemoryUsed: 1 << 30}}, {PID: 12, Values: use(0.4, 0.1, 0.01, 0.02, 2<<30)},
			{PID: 13, Values: use(0.2, 0, 0, 0, 1<<20)}, {PID: 14, Values: telemetry.Values{telemetry.MemoryUsed: 1 << 10}}}
		if d := cmp.Diff(want, samples[0].Processes, nearly); d != "" || problems != nil {
			t.Errorf("(-want +got)\n%s problems %q", d, problems)
		}
		for _, m := range []telemetry.Metric{telemetry.UtilizationMean, telemetry.MemoryUsed} {
			if !slices.Contains(samples[0].Divided, m) {
				t.Errorf("metric %d is not divided", m)
			}
		}
	})
}

// What one device has seen last says nothing of another's clock; and idle time does not thin out what comes after it.
func TestProcessThatBecomesBusyAfterALongIdleTimeCountsWhole(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := clocked(2)
		s.Devices[0].Processes = []fakenvml.Process{{PID: 11, SMPercent: 90}}
		s.Devices[1].Processes = []fakenvml.Process{{PID: 12}}
		h.install()
		r := h.reader()
		for range 8 {
			h.tick(r, s)
		}
		s.Devices[1].Processes[0].SMPercent, s.Devices[1].UtilizationGPUPercent = 60, 60
		h.tick(r, s) // the change is within this second
		samples, _ := h.tick(r, s)
		if got := samples[1].Processes[0].Values[telemetry.UtilizationMean]; got < 0.599 || got > 0.601 {
			t.Errorf("utilization = %v; want 0.6", got)
		}
	})
}

func TestMemoryThatIsNotToldIsNotDivided(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := clocked(1)
		s.Devices[0].Processes = []fakenvml.Process{{PID: 11, UsedBytes: fakenvml.NotAvailable}, {PID: 12, UsedBytes: 5}}
		h.install()
		samples, problems := h.tick(h.reader(), s)
		if slices.Contains(samples[0].Divided, telemetry.MemoryUsed) || len(samples[0].Processes) != 2 || len(samples[0].Processes[0].Values) != 0 || problems != nil {
			t.Errorf("sample %+v, problems %q", samples[0], problems)
		}
	})
}

func TestPerformanceMonitorIsReadFromTwoSamples(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := clocked(2)
		s.Devices[0].GPM = map[int]float64{1: 80, 2: 70, 3: 30, 5: 42, 10: 25, 20: 1000, 21: 20_000}
		h.install()
		r := h.reader()
		if samples, problems := h.tick(r, s); has(samples[0], telemetry.SMActive) || problems != nil {
			t.Errorf("after one sample: %v, problems %q", samples[0].Values, problems)
		}
		time.Sleep(120 * time.Millisecond) // the library measures its 100 ms by the real clock
		samples, problems := h.tick(r, s)
		want := telemetry.Values{telemetry.GraphicsActive: 0.8, telemetry.SMActive: 0.7, telemetry.SMOccupancy: 0.3, telemetry.TensorActive: 0.42, telemetry.DRAMActive: 0.25,
			telemetry.PCIeTransmit: 1000 << 20, telemetry.PCIeReceive: 20_000 << 20}
		all := []telemetry.Metric{telemetry.GraphicsActive, telemetry.SMActive, telemetry.SMOccupancy, telemetry.TensorActive, telemetry.DRAMActive,
			telemetry.PCIeTransmit, telemetry.PCIeReceive}
		if d := cmp.Diff(want, pick(samples[0].Values, all...), nearly); d != "" || problems != nil {
			t.Errorf("(-want +got)\n%s problems %q", d, problems)
		}
		if got := pick(samples[1].Values, all...); len(got) != 0 {
			t.Errorf("device without a monitor: %v", got)
		}
	})
}

func TestXIDErrorsAreCountedFromWhenTheAgentListens(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := clocked(2)
		s.Devices[1].XIDs = []fakenvml.XID{{Sequence: 1, Code: 13}}
		h.install()
		r := h.reader()
		h.tick(r, s)
		s.Devices[1].XIDs = append(s.Devices[1].XIDs, fakenvml.XID{Sequence: 2, Code: 79}, fakenvml.XID{Sequence: 3, Code: 48})
		var got telemetry.Values
		for range 100 {
			samples, _ := h.tick(r, s)
			got = pick(samples[1].Values, telemetry.XIDErrors, telemetry.XIDLast)
			if got[telemetry.XIDErrors] == 2 {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if d := cmp.Diff(telemetry.Values{telemetry.XIDErrors: 2, telemetry.XIDLast: 48}, got); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		r.Close()
	})
}

func TestOldDriverGivesWhatItHas(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		if _, err := fakenvml.BuildVariant(h.dir, fakenvml.OldDriver()); err != nil {
			t.Fatal(err)
		}
		s := clocked(1)
		s.Devices[0].GPM, s.Devices[0].ClockEventReasons = map[int]float64{2: 5}, 8
		s.Devices[0].Processes = []fakenvml.Process{{PID: 11, UsedBytes: 7}}
		r := h.reader()
		h.tick(r, s)
		samples, problems := h.tick(r, s)
		want := telemetry.Values{telemetry.MemoryUsed: 0, telemetry.ClockEventReasons: 8}
		if d := cmp.Diff(want, pick(samples[0].Values, telemetry.MemoryUsed, telemetry.MemoryReserved, telemetry.ClockEventReasons, telemetry.SMActive)); d != "" || problems != nil {
			t.Errorf("(-want +got)\n%s problems %q", d, problems)
		}
		if d := cmp.Diff([]telemetry.Process{{PID: 11, Values: telemetry.Values{telemetry.MemoryUsed: 7}}}, samples[0].Processes); d != "" {
			t.Errorf("processes (-want +got)\n%s", d)
		}
	})
}

func partitioned() *fakenvml.Scenario {
	s := clocked(2)
	s.Devices[0].MIGMode = true
	s.Devices[0].PowerMilliwatts = 300_000
	s.Devices[0].GPM = map[int]float64{1: 99}
	quarter := s.Devices[0].MemoryTotalBytes / 4
	s.Devices[0].MIGInstances = []fakenvml.MIGInstance{
		{UUID: "MIG-a", GPUInstance: 7, Profile: "1g.20gb", PlacementStart: 2, PlacementSize: 2, MemoryTotalBytes: quarter, MemoryUsedBytes: 1 << 30,
			GPM: map[int]float64{1: 60, 2: 50}, Processes: []fakenvml.Process{{PID: 21, UsedBytes: 1 << 29}}},
		{},
		{UUID: "MIG-b", GPUInstance: 9, Profile: "1g.20gb", PlacementStart: 4, PlacementSize: 2, MemoryTotalBytes: quarter, GPM: map[int]float64{1: 0}},
	}
	return s
}

func TestMIGInstancesAreDevicesOfTheirOwn(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := partitioned()
		h.install()
		r := h.reader()
		h.tick(r, s)
		time.Sleep(120 * time.Millisecond)
		samples, problems := h.tick(r, s)
		if len(samples) != 4 || problems != nil {
			t.Fatalf("%d samples, problems %q; want two GPUs and two instances", len(samples), problems)
		}
		board := samples[0].Values
		if !has(samples[0], telemetry.Power) || has(samples[0], telemetry.MemoryUsed) || has(samples[0], telemetry.UtilizationMean) || has(samples[0], telemetry.SMActive) {
			t.Errorf("GPU in MIG mode: %v; want what is the board's alone", board)
		}
		want := telemetry.Device{UUID: "MIG-a", Model: s.Devices[0].Name, PCIBusID: samples[0].Device.PCIBusID,
			MIG: telemetry.MIG{ParentUUID: s.Devices[0].UUID, GPUInstance: 7, Profile: "1g.20gb", Placement: 2, Share: 1.0 / 7}}
		if d := cmp.Diff(want, samples[1].Device, cmpopts.EquateApprox(1e-6, 0)); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		values := telemetry.Values{telemetry.UtilizationMean: 0.6, telemetry.UtilizationMax: 0.6, telemetry.SMActive: 0.5, telemetry.MemoryUsed: 1 << 30}
		if d := cmp.Diff(values, pick(samples[1].Values, telemetry.UtilizationMean, telemetry.UtilizationMax, telemetry.SMActive, telemetry.MemoryUsed, telemetry.Power), nearly); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		if d := cmp.Diff([]telemetry.Process{{PID: 21, Values: telemetry.Values{telemetry.MemoryUsed: 1 << 29}}}, samples[1].Processes); d != "" {
			t.Errorf("processes (-want +got)\n%s", d)
		}
		if samples[2].Device.UUID != "MIG-b" || samples[2].Values[telemetry.UtilizationMean] != 0 || !has(samples[2], telemetry.UtilizationMean) {
			t.Errorf("idle instance: %+v", samples[2])
		}
		if samples[3].Device.Index != 1 || !has(samples[3], telemetry.UtilizationMean) {
			t.Errorf("the other GPU: %+v", samples[3])
		}
	})
}

func TestMIGThatIsMadeAnewUnderTheAgentIsFollowed(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := partitioned()
		h.install()
		r := h.reader()
		h.tick(r, s)
		s.Devices[0].MIGInstances = s.Devices[0].MIGInstances[2:]
		s.Devices[0].MIGInstances[0].UUID = "MIG-c"
		if samples, _ := h.tick(r, s); len(samples) != 3 || samples[1].Device.UUID != "MIG-c" {
			t.Errorf("samples = %v; want MIG-c alone", samples)
		}
		s.Devices[0].MIGMode, s.Devices[0].MIGInstances = false, nil
		samples, problems := h.tick(r, s)
		if len(samples) != 2 || !has(samples[0], telemetry.UtilizationMean) || !has(samples[0], telemetry.MemoryUsed) || problems != nil {
			t.Errorf("MIG switched off: %v, problems %q; want the whole GPU's utilization and memory", samples, problems)
		}
	})
}

func TestUtilizationOfMIGInstancesThatCannotBeHadIsSaidSo(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := partitioned() // as on an A100, which has no performance monitor in NVML
		s.Devices[0].GPM, s.Devices[0].MIGInstances[0].GPM, s.Devices[0].MIGInstances[2].GPM = nil, nil, nil
		h.install()
		r := h.reader()
		for range 2 {
			samples, problems := h.tick(r, s)
			if has(samples[1], telemetry.UtilizationMean) || !has(samples[1], telemetry.MemoryUsed) || len(problems) != 1 || !strings.Contains(problems[0], "takes Hopper or newer, or DCGM") {
				t.Errorf("values %v, problems %q", samples[1].Values, problems)
			}
		}
	})
}

func TestComputeInstancesOfOneGPUInstanceHaveNoUtilizationOfTheirOwn(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := partitioned()
		s.Devices[0].MIGInstances[2].GPUInstance, s.Devices[0].MIGInstances[2].ComputeInstance = 7, 1
		h.install()
		r := h.reader()
		h.tick(r, s)
		time.Sleep(120 * time.Millisecond)
		samples, problems := h.tick(r, s)
		if has(samples[1], telemetry.UtilizationMean) || has(samples[2], telemetry.UtilizationMean) {
			t.Errorf("values %v and %v; want no utilization", samples[1].Values, samples[2].Values)
		}
		if len(problems) != 1 || !strings.Contains(problems[0], "divided among 2 compute instances") {
			t.Errorf("problems = %q", problems)
		}
	})
}

func TestLatencyOfEachFunctionIsTold(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := clocked(1)
		s.Devices[0].Delays = map[string]int{"nvmlDeviceGetMemoryInfo_v2": 15}
		h.install()
		told := make(chan string, 100)
		r := New(Options{LibraryPath: h.library(), Observe: func(function string, d time.Duration) {
			if d >= 15*time.Millisecond {
				function += " slow"
			}
			told <- function
		}})
		h.tick(r, s)
		close(told)
		var got []string
		for f := range told {
			got = append(got, f)
		}
		for _, want := range []string{"nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetUUID", "nvmlDeviceGetMemoryInfo_v2 slow",
			"nvmlDeviceGetSamples", "nvmlDeviceGetFieldValues", "nvmlDeviceGetProcessUtilization", "nvmlDeviceGetGraphicsRunningProcesses"} {
			if !slices.Contains(got, want) {
				t.Errorf("%s is not told, or not how long it took: %q", want, got)
			}
		}
	})
}

func TestMappedLibraryIsFoundAmongOthers(t *testing.T) {
	maps := "7f00-7f01 r-xp 00000000 fe:00 12 /usr/lib/libc.so.6\n7f02-7f03 r--p 00000000 fe:00 345 /usr/lib/libnvidia-ml.so.570.1\n7f04-7f05 rw-p 00000000 00:00 0\n"
	if path, ok := mappedLibrary(maps); !ok || path != "/usr/lib/libnvidia-ml.so.570.1" {
		t.Errorf("%q, %v", path, ok)
	}
	if _, ok := mappedLibrary("7f00-7f01 r-xp 00000000 fe:00 12 /usr/lib/libc.so.6\n"); ok {
		t.Error("found where there is none")
	}
}
