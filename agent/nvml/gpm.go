package nvml

import (
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/telemetry"
)

// gpmApart is how far apart two samples of the GPU performance monitor must be (nvml.h, nvmlGpmMetricsGet).
const gpmApart = 100 * time.Millisecond

// gpmRead are the performance monitor's metrics that are read, and what one of their units is in ours: shares are in per cent, PCIe
// throughput in MiB/s.
var gpmRead = [...]struct {
	id     nvml.GpmMetricId
	metric telemetry.Metric
	unit   float64
}{
	{nvml.GPM_METRIC_GRAPHICS_UTIL, telemetry.GraphicsActive, 0.01},
	{nvml.GPM_METRIC_SM_UTIL, telemetry.SMActive, 0.01},
	{nvml.GPM_METRIC_SM_OCCUPANCY, telemetry.SMOccupancy, 0.01},
	{nvml.GPM_METRIC_ANY_TENSOR_UTIL, telemetry.TensorActive, 0.01},
	{nvml.GPM_METRIC_DRAM_BW_UTIL, telemetry.DRAMActive, 0.01},
	{nvml.GPM_METRIC_PCIE_TX_PER_SEC, telemetry.PCIeTransmit, mebibyte},
	{nvml.GPM_METRIC_PCIE_RX_PER_SEC, telemetry.PCIeReceive, mebibyte},
}

const mebibyte = 1 << 20

// gpm reads the performance monitor of Hopper and later, of a whole GPU or of a MIG instance: the difference of a sample and
// the one before. It takes no lock that a profiler would wait for.
func gpm() family {
	return family{calls: []call{{"nvmlGpmMetricsGet", readGPM}}}
}

// monitor holds a device's last sample and room for the next.
type monitor struct {
	last, next nvml.GpmSample
	// taken is when the driver had answered: at short intervals two ticks are far enough apart where two samples are not.
	taken time.Time
}

func readGPM(t *target, s *telemetry.Sample, _ time.Time) nvml.Return {
	if t.together {
		return nvml.SUCCESS
	}
	if t.monitor == nil {
		if ret := t.startMonitor(); ret != nvml.SUCCESS {
			return ret
		}
	}
	m := t.monitor
	if !m.taken.IsZero() && time.Since(m.taken) < gpmApart {
		return nvml.SUCCESS
	}
	if ret := t.timed("nvmlGpmSampleGet", func() nvml.Return { return t.takeGPM(m.next) }); ret != nvml.SUCCESS {
		return ret
	}
	first := m.taken.IsZero()
	m.last, m.next, m.taken = m.next, m.last, time.Now()
	if first {
		return nvml.SUCCESS
	}
	values, ok, ret := gpmValues(m.next, m.last)
	if ret != nvml.SUCCESS {
		return ret
	}
	for i, r := range gpmRead {
		switch {
		case !ok[i]:
		case r.metric.IsRatio():
			s.Values[r.metric] = min(values[i]*r.unit, 1)
		case !t.device.IsMIG(): // the bus is the board's
			s.Values[r.metric] = values[i] * r.unit
		}
	}
	return nvml.SUCCESS
}

// startMonitor makes room for two samples where the GPU has a performance monitor.
func (t *target) startMonitor() nvml.Return {
	if !t.lib.has("nvmlGpmQueryDeviceSupport", "nvmlGpmSampleAlloc", "nvmlGpmSampleFree", "nvmlGpmSampleGet", "nvmlGpmMigSampleGet") {
		return nvml.ERROR_FUNCTION_NOT_FOUND
	}
	support, ret := t.whole().GpmQueryDeviceSupport()
	if ret != nvml.SUCCESS {
		return ret
	}
	if support.IsSupportedDevice == 0 {
		return nvml.ERROR_NOT_SUPPORTED
	}
	var m monitor
	if m.last, ret = t.lib.api.GpmSampleAlloc(); ret != nvml.SUCCESS {
		return ret
	}
	if m.next, ret = t.lib.api.GpmSampleAlloc(); ret != nvml.SUCCESS {
		_ = m.last.Free()
		return ret
	}
	t.monitor = &m
	return nvml.SUCCESS
}

func (t *target) takeGPM(into nvml.GpmSample) nvml.Return {
	if t.device.IsMIG() {
		return t.parent.GpmMigSampleGet(t.device.MIG.GPUInstance, into)
	}
	return t.handle.GpmSampleGet(into)
}

// stopMonitor gives the samples back. NVML must still be initialized.
func (t *target) stopMonitor() {
	if t.monitor != nil {
		_, _ = t.monitor.last.Free(), t.monitor.next.Free()
		t.monitor = nil
	}
}

// utilizationOfInstance takes the performance monitor's word for whether the instance was busy: a MIG instance has no other
// utilization. It belongs to the GPU instance, so several compute instances of one cannot be told apart.
func utilizationOfInstance() family {
	return family{unsupported: "utilization of MIG instances is not supported on this device (it takes Hopper or newer, or DCGM)",
		calls: []call{{"nvmlGpmMetricsGet", func(t *target, s *telemetry.Sample, now time.Time) nvml.Return {
			active, known := s.Values[telemetry.GraphicsActive]
			switch {
			case known:
				putUtilization(s.Values, active, active)
			case t.monitor == nil && !t.supports("nvmlGpmMetricsGet", now):
				return nvml.ERROR_NOT_SUPPORTED
			}
			return nvml.SUCCESS
		}}}}
}
