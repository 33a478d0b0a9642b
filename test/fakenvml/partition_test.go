package fakenvml

import (
	"math"
	"testing"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/google/go-cmp/cmp"
)

// partitioned is an H100 with two instances, in slots 0 and 2.
func (p *player) partitioned() Scenario {
	p.t.Helper()
	s := p.scenarioOf("h100", 1)
	d, err := WithMIG(s.Devices[0], "1g.10gb", "3g.40gb")
	if err != nil {
		p.t.Fatal(err)
	}
	d.MIGInstances = []MIGInstance{d.MIGInstances[0], {}, d.MIGInstances[1]}
	s.Devices[0] = d
	return s
}

func TestInstancesAreFoundInTheirSlots(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := p.partitioned()
		s.Devices[0].MIGInstances[2].MemoryUsedBytes = 3 << 30
		d := p.open(s)
		current, pending, ret := d.GetMigMode()
		if p.want(ret, nvml.SUCCESS); current != nvml.DEVICE_MIG_ENABLE || pending != nvml.DEVICE_MIG_ENABLE {
			t.Errorf("MIG mode = %d, pending %d; want both enabled", current, pending)
		}
		if slots := must[int](p)(d.GetMaxMigDeviceCount()); slots != 7 {
			t.Errorf("slots = %d; want 7", slots)
		}
		for _, slot := range []int{1, 3, 6} {
			_, ret := d.GetMigDeviceHandleByIndex(slot)
			p.want(ret, nvml.ERROR_NOT_FOUND)
		}
		_, ret = d.GetMigDeviceHandleByIndex(99)
		p.want(ret, nvml.ERROR_INVALID_ARGUMENT)

		m := must[nvml.Device](p)(d.GetMigDeviceHandleByIndex(2))
		instance := must[nvml.GpuInstance](p)(d.GetGpuInstanceById(must[int](p)(m.GetGpuInstanceId())))
		info := must[nvml.GpuInstanceInfo](p)(instance.GetInfo())
		attributes := must[nvml.DeviceAttributes](p)(m.GetAttributes())
		parent := must[nvml.Device](p)(m.GetDeviceHandleFromMigDeviceHandle())
		memory := must[nvml.Memory_v2](p)(m.GetMemoryInfo_v2())
		want := s.Devices[0].MIGInstances[2]
		got := []any{must[string](p)(m.GetUUID()), must[string](p)(m.GetName()), must[int](p)(m.GetGpuInstanceId()),
			must[int](p)(m.GetComputeInstanceId()), must[bool](p)(m.IsMigDeviceHandle()), must[bool](p)(d.IsMigDeviceHandle()),
			must[string](p)(parent.GetUUID()), info.Id, info.ProfileId, info.Placement.Start, info.Placement.Size,
			attributes.GpuInstanceSliceCount, attributes.ComputeInstanceSliceCount, attributes.MemorySizeMB, memory.Total, memory.Used}
		if d := cmp.Diff([]any{want.UUID, "NVIDIA H100 80GB HBM3 MIG 3g.40gb", 1, 0, true, false,
			s.Devices[0].UUID, uint32(1), uint32(9), uint32(4), uint32(4), uint32(3), uint32(3),
			want.MemoryTotalBytes >> 20, want.MemoryTotalBytes, uint64(3 << 30)}, got); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		byUUID := must[nvml.Device](p)(p.DeviceGetHandleByUUID(want.UUID))
		if id := must[int](p)(byUUID.GetGpuInstanceId()); id != want.GPUInstance {
			t.Errorf("GPU instance by UUID = %d; want %d", id, want.GPUInstance)
		}
		_, ret = d.GetGpuInstanceById(5)
		p.want(ret, nvml.ERROR_NOT_FOUND)
		_, ret = d.GetGpuInstanceId()
		p.want(ret, nvml.ERROR_NOT_SUPPORTED)
	})
}

func TestInstanceThatWasDestroyedHasNoHandle(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := p.partitioned()
		d := p.open(s)
		m := must[nvml.Device](p)(d.GetMigDeviceHandleByIndex(2))
		s.Devices[0].MIGInstances[2] = MIGInstance{}
		p.play(s)
		_, ret := m.GetUUID()
		p.want(ret, nvml.ERROR_INVALID_ARGUMENT)
		_, ret = d.GetMigDeviceHandleByIndex(2)
		p.want(ret, nvml.ERROR_NOT_FOUND)
		s = p.partitioned()
		s.Devices[0].Errors = map[string]int{AllCalls: 15}
		p.play(s)
		_, ret = m.GetUUID()
		p.want(ret, nvml.ERROR_GPU_IS_LOST)
		p.play(Default(0))
		_, ret = m.GetUUID()
		p.want(ret, nvml.ERROR_GPU_IS_LOST)
	})
}

func TestPartitionedGPUAndItsInstancesHaveNoUtilization(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := p.partitioned()
		s.Devices[0].Processes = []Process{{PID: 1, SMPercent: 50}}
		d := p.open(s)
		m := must[nvml.Device](p)(d.GetMigDeviceHandleByIndex(0))
		for name, handle := range map[string]nvml.Device{"GPU": d, "instance": m} {
			_, rates := handle.GetUtilizationRates()
			_, _, samples := handle.GetSamples(nvml.GPU_UTILIZATION_SAMPLES, 0)
			_, processes := handle.GetProcessUtilization(0)
			_, _, encoder := handle.GetEncoderUtilization()
			for call, ret := range map[string]nvml.Return{"rates": rates, "samples": samples, "processes": processes, "encoder": encoder} {
				if ret != nvml.ERROR_NOT_SUPPORTED {
					t.Errorf("%s: %s: %v; want not supported", name, call, ret)
				}
			}
		}
		must[uint32](p)(d.GetPowerUsage())
		_, ret := m.GetPowerUsage()
		p.want(ret, nvml.ERROR_NOT_SUPPORTED)
		fields := []nvml.FieldValue{{FieldId: 83}}
		p.want(m.GetFieldValues(fields), nvml.SUCCESS)
		p.want(nvml.Return(fields[0].NvmlReturn), nvml.ERROR_NOT_SUPPORTED)
	})
}

func TestGPUWithoutMIGModeHasNoInstances(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := p.scenarioOf("h100", 1)
		d := p.open(s)
		if slots := must[int](p)(d.GetMaxMigDeviceCount()); slots != 0 {
			t.Errorf("slots = %d; want 0", slots)
		}
		if current, _, ret := d.GetMigMode(); ret != nvml.SUCCESS || current != nvml.DEVICE_MIG_DISABLE {
			t.Errorf("MIG mode = %d, %v; want disabled", current, ret)
		}
		p.play(p.scenarioOf("t4", 1))
		_, _, ret := d.GetMigMode()
		p.want(ret, nvml.ERROR_NOT_SUPPORTED)
	})
}

func TestProcessesAreListedByInstanceAndAltogether(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := p.partitioned()
		two, three := 2, 3
		s.Devices[0].Processes = []Process{{PID: 1}, {PID: 2, GPUInstance: &two, ComputeInstance: &three}}
		s.Devices[0].MIGInstances[0].Processes = []Process{{PID: 5, UsedBytes: 50}}
		s.Devices[0].MIGInstances[2].Processes = []Process{{PID: 6, UsedBytes: 60}, {PID: 7, Kind: MPS}}
		d := p.open(s)
		m := must[nvml.Device](p)(d.GetMigDeviceHandleByIndex(2))
		none := uint32(math.MaxUint32)
		of := []nvml.ProcessInfo{{Pid: 6, UsedGpuMemory: 60, GpuInstanceId: 1}}
		if d := cmp.Diff(of, must[[]nvml.ProcessInfo](p)(m.GetComputeRunningProcesses())); d != "" {
			t.Errorf("of the instance (-want +got)\n%s", d)
		}
		all := []nvml.ProcessInfo{{Pid: 1, GpuInstanceId: none, ComputeInstanceId: none}, {Pid: 2, GpuInstanceId: 2, ComputeInstanceId: 3},
			{Pid: 5, UsedGpuMemory: 50, GpuInstanceId: 7}, of[0]}
		if d := cmp.Diff(all, must[[]nvml.ProcessInfo](p)(d.GetComputeRunningProcesses())); d != "" {
			t.Errorf("of the GPU (-want +got)\n%s", d)
		}
	})
}

func TestErrorsOfAnInstanceAreItsOwn(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := p.partitioned()
		s.Devices[0].MIGInstances[0].Errors = map[string]int{"nvmlDeviceGetName": 4}
		d := p.open(s)
		first := must[nvml.Device](p)(d.GetMigDeviceHandleByIndex(0))
		_, ret := first.GetName()
		p.want(ret, nvml.ERROR_NO_PERMISSION)
		must[string](p)(first.GetUUID())
		must[string](p)(must[nvml.Device](p)(d.GetMigDeviceHandleByIndex(2)).GetName())
		must[string](p)(d.GetName())
	})
}

// monitor takes samples of the GPU performance monitor and reads metrics from two of them.
type monitor struct {
	*player
	first, second nvml.GpmSample
}

func (p *player) monitor() monitor {
	p.t.Helper()
	return monitor{p, must[nvml.GpmSample](p)(p.GpmSampleAlloc()), must[nvml.GpmSample](p)(p.GpmSampleAlloc())}
}

func (m monitor) metrics(ids ...uint32) ([]nvml.GpmMetric, nvml.Return) {
	request := nvml.GpmMetricsGetType{NumMetrics: uint32(len(ids)), Sample1: m.first, Sample2: m.second}
	for i, id := range ids {
		request.Metrics[i].MetricId = id
	}
	ret := m.GpmMetricsGet(&request)
	return request.Metrics[:len(ids)], ret
}

// apart waits until samples are as far apart as the monitor asks for. It is a real clock that counts there.
func apart() { time.Sleep(101 * time.Millisecond) }

func TestMonitorTakesTwoSamplesApart(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := p.scenarioOf("h100", 2)
		s.Devices[0].GPM = map[int]float64{1: 11.5, 2: 22}
		d := p.open(s)
		if support := must[nvml.GpmSupport](p)(d.GpmQueryDeviceSupport()); support.IsSupportedDevice == 0 {
			t.Error("the H100 has no monitor")
		}
		m := p.monitor()
		_, ret := m.metrics(1)
		p.want(ret, nvml.ERROR_INVALID_ARGUMENT) // never taken
		p.want(d.GpmSampleGet(m.first), nvml.SUCCESS)
		p.want(d.GpmSampleGet(m.second), nvml.SUCCESS)
		_, ret = m.metrics(1)
		p.want(ret, nvml.ERROR_INVALID_ARGUMENT) // less than 100 ms apart

		s.Devices[0].GPM = map[int]float64{1: 55.25, 10: 7}
		p.play(s)
		apart()
		p.want(d.GpmSampleGet(m.second), nvml.SUCCESS)
		s.Devices[0].GPM = map[int]float64{1: 99}
		p.play(s)
		metrics, ret := m.metrics(1, 10, 2)
		p.want(ret, nvml.SUCCESS)
		if metrics[0].Value != 55.25 || metrics[1].Value != 7 || nvml.Return(metrics[2].NvmlReturn) != nvml.ERROR_NOT_SUPPORTED {
			t.Errorf("metrics = %+v; want the newer sample's 55.25 and 7, the third not supported", metrics)
		}
		m.first, m.second = m.second, m.first // whichever comes first
		if metrics, ret = m.metrics(1); ret != nvml.SUCCESS || metrics[0].Value != 55.25 {
			t.Errorf("the other way round = %v, %v", metrics[0].Value, ret)
		}
		other := must[nvml.Device](p)(p.DeviceGetHandleByIndex(1))
		apart()
		p.want(other.GpmSampleGet(m.first), nvml.SUCCESS)
		_, ret = m.metrics(1)
		p.want(ret, nvml.ERROR_INVALID_ARGUMENT) // of two devices
		m.second = m.first
		_, ret = m.metrics(1)
		p.want(ret, nvml.ERROR_INVALID_ARGUMENT) // one and the same
		p.want(m.first.Free(), nvml.SUCCESS)
	})
}

func TestMonitorTellsInstancesApart(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		s := p.partitioned()
		s.Devices[0].MIGInstances[0].GPM = map[int]float64{1: 10}
		s.Devices[0].MIGInstances[2].GPM = map[int]float64{1: 30}
		d := p.open(s)
		one, three, handle := p.monitor(), p.monitor(), p.monitor()
		instance := must[nvml.Device](p)(d.GetMigDeviceHandleByIndex(2))
		take := func(sample func(monitor) nvml.GpmSample) {
			p.want(d.GpmMigSampleGet(7, sample(one)), nvml.SUCCESS)
			p.want(d.GpmMigSampleGet(1, sample(three)), nvml.SUCCESS)
			p.want(instance.GpmSampleGet(sample(handle)), nvml.SUCCESS)
		}
		take(func(m monitor) nvml.GpmSample { return m.first })
		apart()
		take(func(m monitor) nvml.GpmSample { return m.second })
		var got []float64
		for _, m := range []monitor{one, three, handle} {
			metrics, ret := m.metrics(1)
			p.want(ret, nvml.SUCCESS)
			got = append(got, metrics[0].Value)
		}
		if d := cmp.Diff([]float64{10, 30, 30}, got); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		p.want(d.GpmMigSampleGet(5, one.first), nvml.ERROR_NOT_FOUND)
	})
}

func TestNoMonitorBeforeHopper(t *testing.T) {
	played(t, Variant{}, func(t *testing.T, p *player) {
		d := p.open(p.scenarioOf("a100", 1))
		if support := must[nvml.GpmSupport](p)(d.GpmQueryDeviceSupport()); support.IsSupportedDevice != 0 {
			t.Error("the A100 has a monitor")
		}
		p.want(d.GpmSampleGet(p.monitor().first), nvml.ERROR_NOT_SUPPORTED)
	})
}
