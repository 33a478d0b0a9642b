package fakenvml

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/google/go-cmp/cmp"
)

// at is a moment of the played clock, in milliseconds.
const at = int64(time.Millisecond / time.Microsecond)

// percents returns the samples newer than last, in time's order.
func (p *player) percents(d nvml.Device, kind nvml.SamplingType, last int64) []uint32 {
	p.t.Helper()
	_, samples, ret := d.GetSamples(kind, uint64(last))
	p.want(ret, nvml.SUCCESS)
	var got []uint32
	for i, s := range samples {
		if i > 0 && s.TimeStamp <= samples[i-1].TimeStamp {
			p.t.Fatalf("sample %d is of %d, the one before of %d", i, s.TimeStamp, samples[i-1].TimeStamp)
		}
		got = append(got, binary.NativeEndian.Uint32(s.SampleValue[:]))
	}
	return got
}

func TestSamplesKeepTheLoadOfTheirTime(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := Default(1)
		s.NowMicroseconds, s.Devices[0].SamplePeriodMicroseconds = 100_000*at, 200_000
		s.Devices[0].UtilizationGPUPercent, s.Devices[0].UtilizationMemoryPercent = 10, 3
		d := p.open(s)
		if got := p.percents(d, nvml.GPU_UTILIZATION_SAMPLES, 0); len(got) != RingSize || !slices.Equal(slices.Compact(got), []uint32{10}) {
			t.Errorf("the whole ring = %d; want %d samples of 10", got, RingSize)
		}
		s.NowMicroseconds += 500 * at // at 500 ms: samples at 200 and 400 are of the scenario before
		s.Devices[0].UtilizationGPUPercent, s.Devices[0].EncoderPercent = 90, 8
		p.play(s)
		if got := p.percents(d, nvml.GPU_UTILIZATION_SAMPLES, 100_000*at); !slices.Equal(got, []uint32{10, 10}) {
			t.Errorf("after the change = %d; want the load before it", got)
		}
		s.NowMicroseconds += 500 * at
		p.play(s)
		if got := p.percents(d, nvml.GPU_UTILIZATION_SAMPLES, 100_000*at); !slices.Equal(got, []uint32{10, 10, 90, 90, 90}) {
			t.Errorf("over the change = %d", got)
		}
		if got := p.percents(d, nvml.GPU_UTILIZATION_SAMPLES, 100_800*at); !slices.Equal(got, []uint32{90}) {
			t.Errorf("the newest alone = %d", got)
		}
		if got := p.percents(d, nvml.MEMORY_UTILIZATION_SAMPLES, 100_800*at); !slices.Equal(got, []uint32{3}) {
			t.Errorf("memory = %d", got)
		}
		if got := p.percents(d, nvml.ENC_UTILIZATION_SAMPLES, 100_200*at); !slices.Equal(got, []uint32{0, 8, 8, 8}) {
			t.Errorf("encoder = %d", got)
		}
		_, _, ret := d.GetSamples(nvml.GPU_UTILIZATION_SAMPLES, uint64(101_000*at))
		p.want(ret, nvml.ERROR_NOT_FOUND)
		if rates := must[nvml.Utilization](p)(d.GetUtilizationRates()); rates.Gpu != 90 || rates.Memory != 3 {
			t.Errorf("rates = %+v; want 90 and 3", rates)
		}
	})
}

func TestBurstIsSeenInTheSamplesItCovers(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := Default(1)
		s.NowMicroseconds, s.Devices[0].SamplePeriodMicroseconds = 100_000*at, 200_000
		s.Devices[0].UtilizationGPUPercent = 20
		s.Devices[0].Bursts = []Burst{{99_390 * at, 20 * at, 100}, {99_590 * at, 20 * at, 5}, {100_390 * at, 20 * at, 70}}
		d := p.open(s)
		if got := p.percents(d, nvml.GPU_UTILIZATION_SAMPLES, 99_000*at); !slices.Equal(got, []uint32{20, 100, 20, 20, 20}) {
			t.Errorf("bursts of the past = %d", got)
		}
		s.NowMicroseconds = 100_600 * at
		s.Devices[0].Bursts = nil // it was announced, and has happened
		p.play(s)
		if got := p.percents(d, nvml.GPU_UTILIZATION_SAMPLES, 100_000*at); !slices.Equal(got, []uint32{20, 70, 20}) {
			t.Errorf("burst that was announced = %d", got)
		}
	})
}

func TestNoRingWithoutAPeriod(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		d := p.open(Default(1))
		_, _, ret := d.GetSamples(nvml.GPU_UTILIZATION_SAMPLES, 0)
		p.want(ret, nvml.ERROR_NOT_SUPPORTED)
	})
}

func TestSamplesOfTheRealClockAreOfNow(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := Default(1)
		s.Devices[0].SamplePeriodMicroseconds = 20_000
		d := p.open(s)
		_, samples, ret := d.GetSamples(nvml.GPU_UTILIZATION_SAMPLES, 0)
		p.want(ret, nvml.SUCCESS)
		newest := time.UnixMicro(int64(samples[len(samples)-1].TimeStamp))
		if age := time.Since(newest); age < 0 || age > time.Minute {
			t.Errorf("the newest sample is %v old", age)
		}
	})
}

func TestProcessUtilizationIsTheMeanSinceTheLastSeen(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := Default(1)
		s.NowMicroseconds, s.Devices[0].SamplePeriodMicroseconds = 100_000*at, 100_000
		d := p.open(s)
		_, ret := d.GetProcessUtilization(0)
		p.want(ret, nvml.ERROR_NOT_FOUND) // there is none

		step := func(milliseconds int64, processes ...Process) {
			s.NowMicroseconds += milliseconds * at
			s.Devices[0].Processes = processes
			p.play(s)
			must[int](p)(p.DeviceGetCount()) // it is seen
		}
		step(100, Process{PID: 11, SMPercent: 80, MemoryPercent: 40}, Process{PID: 12})
		step(800, Process{PID: 12, EncoderPercent: 4, DecoderPercent: 6})
		step(100, Process{PID: 12, EncoderPercent: 4, DecoderPercent: 6})
		// Ten samples: 8 with the first process, which has ended since, and 2 with the second.
		got := must[[]nvml.ProcessUtilizationSample](p)(d.GetProcessUtilization(uint64(100_000 * at)))
		want := []nvml.ProcessUtilizationSample{
			{Pid: 12, TimeStamp: uint64(101_000 * at), EncUtil: 1, DecUtil: 1},
			{Pid: 11, TimeStamp: uint64(101_000 * at), SmUtil: 64, MemUtil: 32},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		got = must[[]nvml.ProcessUtilizationSample](p)(d.GetProcessUtilization(uint64(100_800 * at)))
		if d := cmp.Diff([]nvml.ProcessUtilizationSample{{Pid: 12, TimeStamp: uint64(101_000 * at), EncUtil: 4, DecUtil: 6}}, got); d != "" {
			t.Errorf("the last two samples (-want +got)\n%s", d)
		}
		_, ret = d.GetProcessUtilization(uint64(101_000 * at))
		p.want(ret, nvml.ERROR_NOT_FOUND) // nothing newer

		// 0 asks for the whole ring, so what happened lately is thinned: 8 of 120 samples.
		got = must[[]nvml.ProcessUtilizationSample](p)(d.GetProcessUtilization(0))
		if i := slices.IndexFunc(got, func(u nvml.ProcessUtilizationSample) bool { return u.Pid == 11 }); i < 0 || got[i].SmUtil != 5 {
			t.Errorf("over the whole ring = %+v; want 11 with 5 %%", got)
		}
	})
}

func TestEachListHasTheProcessesOfItsKind(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := Default(1)
		s.Devices[0].Processes = []Process{{PID: 1, UsedBytes: 10}, {PID: 2, UsedBytes: NotAvailable, Kind: Graphics},
			{PID: 3, UsedBytes: 30, Kind: MPS}, {PID: 1, UsedBytes: 10, Kind: Graphics}, {PID: 4, Kind: Compute}}
		d := p.open(s)
		none := uint32(math.MaxUint32)
		got := [][]nvml.ProcessInfo{must[[]nvml.ProcessInfo](p)(d.GetComputeRunningProcesses()),
			must[[]nvml.ProcessInfo](p)(d.GetGraphicsRunningProcesses()), must[[]nvml.ProcessInfo](p)(d.GetMPSComputeRunningProcesses())}
		want := [][]nvml.ProcessInfo{{{Pid: 1, UsedGpuMemory: 10, GpuInstanceId: none, ComputeInstanceId: none}, {Pid: 4, GpuInstanceId: none, ComputeInstanceId: none}},
			{{Pid: 2, UsedGpuMemory: math.MaxUint64, GpuInstanceId: none, ComputeInstanceId: none}, {Pid: 1, UsedGpuMemory: 10, GpuInstanceId: none, ComputeInstanceId: none}},
			{{Pid: 3, UsedGpuMemory: 30, GpuInstanceId: none, ComputeInstanceId: none}}}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
	})
}

func TestXIDsAreDeliveredOnceAndNotThoseFromBefore(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := p.scenarioOf("h100", 2)
		s.Devices[0].XIDs = []XID{{1, 13}}
		d := p.open(s)
		other := must[nvml.Device](p)(p.DeviceGetHandleByIndex(1))
		set := must[nvml.EventSet](p)(p.EventSetCreate())
		types := must[uint64](p)(d.GetSupportedEventTypes())
		if types&nvml.EventTypeXidCriticalError == 0 {
			t.Fatalf("supported events = %#x; want XIDs among them", types)
		}
		p.want(d.RegisterEvents(nvml.EventTypeXidCriticalError, set), nvml.SUCCESS)
		p.want(other.RegisterEvents(nvml.EventTypeXidCriticalError, set), nvml.SUCCESS)
		p.want(d.RegisterEvents(1<<40, set), nvml.ERROR_NOT_SUPPORTED)
		_, ret := set.Wait(0)
		p.want(ret, nvml.ERROR_TIMEOUT)
		began := time.Now()
		_, ret = set.Wait(60)
		p.want(ret, nvml.ERROR_TIMEOUT)
		if took := time.Since(began); took < 59*time.Millisecond {
			t.Errorf("the wait of 60 ms took %v", took)
		}

		s.Devices[0].XIDs = []XID{{1, 13}, {4, 79}, {2, 31}}
		s.Devices[1].XIDs = []XID{{1, 48}}
		written := make(chan error, 1)
		go func() { written <- s.Write(p.scenario) }()
		var got []uint64
		for range 3 {
			event, ret := set.Wait(60_000)
			p.want(ret, nvml.SUCCESS)
			if event.EventType != nvml.EventTypeXidCriticalError || event.GpuInstanceId != math.MaxUint32 {
				t.Errorf("event = %+v; want an XID of no instance", event)
			}
			uuid := must[string](p)(event.Device.GetUUID())
			if (uuid == s.Devices[1].UUID) != (event.EventData == 48) {
				t.Errorf("XID %d is of %s", event.EventData, uuid)
			}
			got = append(got, event.EventData)
		}
		if d := cmp.Diff([]uint64{31, 79, 48}, got); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		_, ret = set.Wait(0)
		p.want(ret, nvml.ERROR_TIMEOUT)
		if err := <-written; err != nil {
			t.Fatal(err)
		}

		s.Devices[0].Hangs = []string{"nvmlEventSetWait_v2"}
		p.play(s)
		began = time.Now()
		answered := make(chan nvml.Return, 1)
		go func() {
			_, ret := set.Wait(1)
			answered <- ret
		}()
		select {
		case ret := <-answered:
			t.Errorf("a wait that hangs answered %v after %v", ret, time.Since(began))
		case <-time.After(50 * time.Millisecond):
		}
		s.Devices[0].Hangs = nil
		p.play(s)
		p.want(<-answered, nvml.ERROR_TIMEOUT)

		s.Devices[1].Errors = map[string]int{AllCalls: 15}
		p.play(s)
		_, ret = set.Wait(60_000)
		p.want(ret, nvml.ERROR_GPU_IS_LOST)
		p.want(set.Free(), nvml.SUCCESS)
	})
}
