package fakenvml

import (
	"encoding/binary"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/google/go-cmp/cmp"
)

func TestDeviceIsWhatTheScenarioSays(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := p.scenarioOf("h100", 3)
		s.Devices[2].PCIBusID, s.Devices[2].Minor = "00000001:CA:00.0", 5
		p.open(s)
		got := map[string]any{}
		d := must[nvml.Device](p)(p.DeviceGetHandleByIndex(2))
		got["uuid"], got["name"] = must[string](p)(d.GetUUID()), must[string](p)(d.GetName())
		got["minor"], got["index"] = must[int](p)(d.GetMinorNumber()), must[int](p)(d.GetIndex())
		pci := must[nvml.PciInfo](p)(d.GetPciInfo())
		got["bus"] = []any{pci.Domain, pci.Bus, pci.Device, text(pci.BusId[:]), text(pci.BusIdLegacy[:])}
		got["brand"], got["architecture"] = must[nvml.BrandType](p)(d.GetBrand()), must[nvml.DeviceArchitecture](p)(d.GetArchitecture())
		major, minor, ret := d.GetCudaComputeCapability()
		p.want(ret, nvml.SUCCESS)
		got["compute capability"] = []int{major, minor}
		got["driver"], got["library"] = must[string](p)(p.SystemGetDriverVersion()), must[string](p)(p.SystemGetNVMLVersion())
		got["cuda"], got["count"] = must[int](p)(p.SystemGetCudaDriverVersion()), must[int](p)(p.DeviceGetCount())
		want := map[string]any{
			"uuid": s.Devices[2].UUID, "name": "NVIDIA H100 80GB HBM3", "minor": 5, "index": 2,
			"bus":   []any{uint32(1), uint32(0xCA), uint32(0), "00000001:CA:00.0", "0001:CA:00.0"},
			"brand": nvml.BRAND_NVIDIA, "architecture": nvml.DeviceArchitecture(nvml.DEVICE_ARCH_HOPPER), "compute capability": []int{9, 0},
			"driver": "570.124.06", "library": "12.570.124.06", "cuda": 12080, "count": 3,
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		other := must[nvml.Device](p)(p.DeviceGetHandleByIndex(1))
		if pci := must[nvml.PciInfo](p)(other.GetPciInfo()); text(pci.BusId[:]) != "00000000:01:00.0" {
			t.Errorf("bus id derived from the index = %q", text(pci.BusId[:]))
		}
		byUUID := must[nvml.Device](p)(p.DeviceGetHandleByUUID(s.Devices[1].UUID))
		if index := must[int](p)(byUUID.GetIndex()); index != 1 {
			t.Errorf("index of the device by UUID = %d; want 1", index)
		}
	})
}

func text(chars []int8) string {
	var b strings.Builder
	for _, c := range chars {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return b.String()
}

func TestBoardSaysWhatItKnowsAndRefusesTheRest(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := Default(2)
		s.Devices[0].SMClockMHz, s.Devices[0].MemoryClockMHz, s.Devices[0].TemperatureCelsius = 1980, 2619, 41
		s.Devices[0].PowerMilliwatts, s.Devices[0].PowerLimitMilliwatts, s.Devices[0].ClockEventReasons = 123_456, 700_000, 0x84
		s.Devices[0].EncoderPercent, s.Devices[0].DecoderPercent = 7, 8
		s.Devices[0].MemoryUsedBytes, s.Devices[0].MemoryReservedBytes = 5<<30, 1<<29
		d := p.open(s)
		v1, v2 := must[nvml.Memory](p)(d.GetMemoryInfo()), must[nvml.Memory_v2](p)(d.GetMemoryInfo_v2())
		encoder, _, ret := d.GetEncoderUtilization()
		p.want(ret, nvml.SUCCESS)
		decoder, _, ret := d.GetDecoderUtilization()
		p.want(ret, nvml.SUCCESS)
		total := s.Devices[0].MemoryTotalBytes
		got := []any{must[uint32](p)(d.GetClockInfo(nvml.CLOCK_SM)), must[uint32](p)(d.GetClockInfo(nvml.CLOCK_MEM)),
			must[uint32](p)(d.GetTemperature(nvml.TEMPERATURE_GPU)), must[uint32](p)(d.GetPowerUsage()),
			must[uint32](p)(d.GetEnforcedPowerLimit()), must[uint64](p)(d.GetCurrentClocksEventReasons()),
			must[uint64](p)(d.GetCurrentClocksThrottleReasons()), encoder, decoder,
			v1.Used, v1.Free, v1.Total, v2.Used, v2.Reserved, v2.Free, v2.Total}
		want := []any{uint32(1980), uint32(2619), uint32(41), uint32(123_456), uint32(700_000), uint64(0x84), uint64(0x84), uint32(7), uint32(8),
			uint64(5<<30 + 1<<29), total - 5<<30 - 1<<29, total, uint64(5 << 30), uint64(1 << 29), total - 5<<30 - 1<<29, total}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		d = must[nvml.Device](p)(p.DeviceGetHandleByIndex(1))
		for name, call := range map[string]func() (uint32, nvml.Return){
			"clock":       func() (uint32, nvml.Return) { return d.GetClockInfo(nvml.CLOCK_SM) },
			"temperature": func() (uint32, nvml.Return) { return d.GetTemperature(nvml.TEMPERATURE_GPU) },
			"power":       d.GetPowerUsage, "limit": d.GetEnforcedPowerLimit,
		} {
			if _, ret := call(); ret != nvml.ERROR_NOT_SUPPORTED {
				t.Errorf("%s that is not told: %v; want not supported", name, ret)
			}
		}
	})
}

func TestEachFieldAnswersForItself(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := Default(1)
		s.Devices[0].Fields = map[int]uint64{3: 1 << 40, 6: 2, 82: 77, 83: 5_000_000_000, 138: 1 << 33, 142: 4, 143: 0, 144: 1, 145: 0, 197: 1<<32 + 9}
		d := p.open(s)
		values := []nvml.FieldValue{{FieldId: 3}, {FieldId: 82}, {FieldId: 83}, {FieldId: 197}, {FieldId: 198},
			{FieldId: 138, ScopeId: 0xFFFFFFFF}, {FieldId: 138, ScopeId: 0}, {FieldId: 144}, {FieldId: 191}}
		p.want(d.GetFieldValues(values), nvml.SUCCESS)
		type answer struct {
			Return nvml.Return
			Type   nvml.ValueType
			Value  uint64
		}
		var got []answer
		for _, v := range values {
			a := answer{Return: nvml.Return(v.NvmlReturn)}
			if a.Return == nvml.SUCCESS {
				a.Type, a.Value = nvml.ValueType(v.ValueType), binary.NativeEndian.Uint64(v.Value[:])
			}
			got = append(got, a)
		}
		const narrow, wide = nvml.VALUE_TYPE_UNSIGNED_INT, nvml.VALUE_TYPE_UNSIGNED_LONG_LONG
		unsupported := answer{Return: nvml.ERROR_NOT_SUPPORTED}
		want := []answer{{0, wide, 1 << 40}, {0, narrow, 77}, {0, wide, 5_000_000_000}, {0, narrow, 9}, unsupported,
			{0, wide, 1 << 33}, unsupported, {0, narrow, 1}, {0, wide, 5_000_000_000}}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		if n := must[uint64](p)(d.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.AGGREGATE_ECC)); n != 2 {
			t.Errorf("uncorrected errors over the life = %d; want 2, which is field 6", n)
		}
		if _, ret := d.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.VOLATILE_ECC); ret != nvml.ERROR_NOT_SUPPORTED {
			t.Errorf("errors without a field: %v; want not supported", ret)
		}
		correctable, _, pending, failed, ret := d.GetRemappedRows()
		if ret != nvml.SUCCESS || correctable != 4 || !pending || failed {
			t.Errorf("remapped rows = %d, pending %v, failed %v, %v; want 4, true, false", correctable, pending, failed, ret)
		}
	})
}

func TestEnergyIsPowerOverTheLibrarysClock(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := Default(1)
		s.NowMicroseconds = 1_000_000_000
		s.Devices[0].Fields = map[int]uint64{83: 1000}
		s.Devices[0].EnergyFromPower, s.Devices[0].PowerMilliwatts = true, 300_000
		d := p.open(s)
		step := func(after time.Duration, milliwatts int) uint64 {
			s.NowMicroseconds += after.Microseconds()
			s.Devices[0].PowerMilliwatts = milliwatts
			p.play(s)
			return must[uint64](p)(d.GetTotalEnergyConsumption())
		}
		got := []uint64{step(0, 300_000), step(10*time.Second, 500_000), step(1500*time.Millisecond, 0), step(time.Hour, 0)}
		want := []uint64{1000, 1000 + 3_000_000, 1000 + 3_750_000, 1000 + 3_750_000} // mJ
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
	})
}

func TestPCIeThroughputTakesTheTimeOfItsInterval(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := Default(1)
		s.Devices[0].GPM = map[int]float64{20: 3.5}
		d := p.open(s)
		began := time.Now()
		if kibibytes := must[uint32](p)(d.GetPcieThroughput(nvml.PCIE_UTIL_TX_BYTES)); kibibytes != 3584 {
			t.Errorf("throughput = %d KB/s; want 3584", kibibytes)
		}
		if took := time.Since(began); took < 20*time.Millisecond {
			t.Errorf("it took %v; want 20 ms at least", took)
		}
	})
}

func TestErrorsAreOfTheFunctionThatIsNamed(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := Default(2)
		s.Devices[0].Errors = map[string]int{"nvmlDeviceGetMemoryInfo_v2": 25}
		d := p.open(s)
		_, ret := d.GetMemoryInfo_v2()
		p.want(ret, nvml.ERROR_ARGUMENT_VERSION_MISMATCH)
		_, ret = d.GetMemoryInfo()
		p.want(ret, nvml.SUCCESS)
		s.Devices[0].Errors = map[string]int{AllCalls: 15}
		p.play(s)
		_, ret = d.GetUUID()
		p.want(ret, nvml.ERROR_GPU_IS_LOST)
		_, ret = p.DeviceGetHandleByIndex(0)
		p.want(ret, nvml.ERROR_GPU_IS_LOST)
		_, ret = p.DeviceGetHandleByIndex(1)
		p.want(ret, nvml.SUCCESS)
		_, ret = p.DeviceGetHandleByUUID(s.Devices[1].UUID) // it passes the lost one in its search
		p.want(ret, nvml.ERROR_GPU_IS_LOST)
	})
}

func TestDeviceThatIsGoneFromTheScenarioIsLost(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		p.open(Default(2))
		d := must[nvml.Device](p)(p.DeviceGetHandleByIndex(1))
		p.play(Default(1))
		_, ret := d.GetUUID()
		p.want(ret, nvml.ERROR_GPU_IS_LOST)
	})
}

func TestCallsHangAsLongAsTheyAreListedAndOthersGoOn(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := Default(2)
		d := p.open(s)
		s.Devices[0].Hangs = []string{"nvmlDeviceGetPowerUsage", "nvmlDeviceGetUUID"}
		p.play(s)
		var released atomic.Bool
		early, answered := make(chan bool, 1), make(chan nvml.Return, 1)
		go func() {
			_, ret := d.GetUUID()
			early <- !released.Load()
			answered <- ret
		}()
		other := must[nvml.Device](p)(p.DeviceGetHandleByIndex(1))
		for range 100 { // none of them waits for the one that hangs
			must[string](p)(other.GetUUID())
			must[string](p)(d.GetName())
		}
		select {
		case <-early:
			t.Fatal("the call came back while it was listed")
		default:
		}
		s.Devices[0].Hangs = []string{"nvmlDeviceGetPowerUsage"}
		released.Store(true)
		p.play(s)
		if <-early {
			t.Error("the call came back while it was listed")
		}
		p.want(<-answered, nvml.SUCCESS)
	})
}

func TestHangOfAllCallsEndsWithTheGPUItself(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := Default(1)
		d := p.open(s)
		s.Devices[0].Hangs = []string{AllCalls}
		p.play(s)
		answered := make(chan nvml.Return, 1)
		go func() {
			_, ret := d.GetName()
			answered <- ret
		}()
		p.play(Default(0))
		p.want(<-answered, nvml.ERROR_GPU_IS_LOST)
	})
}

func TestDelayIsThatLong(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := Default(1)
		s.Devices[0].Delays = map[string]int{"nvmlDeviceGetName": 80}
		d := p.open(s)
		began := time.Now()
		must[string](p)(d.GetName())
		if took := time.Since(began); took < 80*time.Millisecond {
			t.Errorf("it took %v; want 80 ms at least", took)
		}
	})
}

func TestOldDriverLacksWhatCameLater(t *testing.T) {
	played(t, OldDriver(), func(t *testing.T, p *player) {
		s := Default(1)
		s.DriverVersion = "470.256.02"
		s.Devices[0].Processes = []Process{{PID: 11, UsedBytes: 1}, {PID: 12, UsedBytes: 2}, {PID: 13, UsedBytes: 3}}
		d := p.open(s)
		for _, function := range OldDriver().Without {
			if p.Extensions().LookupSymbol(function) == nil {
				t.Errorf("the library has %s", function)
			}
		}
		got := must[[]nvml.ProcessInfo](p)(d.GetComputeRunningProcesses()) // through version 1
		if len(got) != 3 || got[2].Pid != 13 || got[2].UsedGpuMemory != 3 {
			t.Errorf("processes = %+v; want 11, 12 and 13", got)
		}
		must[nvml.Memory](p)(d.GetMemoryInfo())
	})
}

func TestLibraryOfAnotherDriverIsRefused(t *testing.T) {
	played(t, Variant{Version: "550.54.15"}, func(t *testing.T, p *player) {
		s := Default(1)
		s.DriverVersion = "550.54.15"
		p.open(s)
		p.want(p.Shutdown(), nvml.SUCCESS)
		s.DriverVersion = "570.124.06"
		p.play(s)
		p.want(p.Init(), nvml.ERROR_LIB_RM_VERSION_MISMATCH)
	})
}

func TestInitFailsAsTheScenarioSays(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		p.want(p.Init(), nvml.ERROR_DRIVER_NOT_LOADED) // there is no scenario
		s := Default(1)
		s.InitError = 4
		p.play(s)
		p.want(p.Init(), nvml.ERROR_NO_PERMISSION)
		p.open(Default(1))
	})
}
