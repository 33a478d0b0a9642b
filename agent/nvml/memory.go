package nvml

import (
	"math"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/telemetry"
)

// memory reads how device memory is used. Version 2 keeps apart what the driver reserves for itself; version 1, for drivers
// before R510, counts it as used.
func memory() family {
	second := simple("nvmlDeviceGetMemoryInfo_v2", func(d nvml.Device, values telemetry.Values) nvml.Return {
		info, ret := d.GetMemoryInfo_v2()
		if ret == nvml.SUCCESS {
			putMemory(values, info.Used, info.Free, info.Total)
			putBytes(values, telemetry.MemoryReserved, info.Reserved)
		}
		return ret
	})
	first := simple("nvmlDeviceGetMemoryInfo", func(d nvml.Device, values telemetry.Values) nvml.Return {
		info, ret := d.GetMemoryInfo()
		if ret == nvml.SUCCESS {
			putMemory(values, info.Used, info.Free, info.Total)
		}
		return ret
	})
	return family{calls: append(second.calls, first.calls...)}
}

func putMemory(values telemetry.Values, used, free, total uint64) {
	putBytes(values, telemetry.MemoryUsed, used)
	putBytes(values, telemetry.MemoryFree, free)
	putBytes(values, telemetry.MemoryTotal, total)
}

// putBytes leaves out what NVML marks as not available with all bits set (nvml.h, NVML_VALUE_NOT_AVAILABLE).
func putBytes(values telemetry.Values, metric telemetry.Metric, bytes uint64) {
	if bytes != math.MaxUint64 {
		values[metric] = float64(bytes)
	}
}
