package nvml

import (
	"math"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/telemetry"
)

// memory reads used and installed device memory. Version 2 keeps apart what the driver reserves for itself; version 1, for
// drivers before R510, counts it as used.
func memory() family {
	return family{calls: []call{
		{"nvmlDeviceGetMemoryInfo_v2", func(d nvml.Device, values telemetry.Values) nvml.Return {
			info, ret := d.GetMemoryInfo_v2()
			if ret == nvml.SUCCESS {
				putMemory(values, info.Used, info.Total)
			}
			return ret
		}},
		{"nvmlDeviceGetMemoryInfo", func(d nvml.Device, values telemetry.Values) nvml.Return {
			info, ret := d.GetMemoryInfo()
			if ret == nvml.SUCCESS {
				putMemory(values, info.Used, info.Total)
			}
			return ret
		}},
	}}
}

// putMemory leaves out what NVML marks as not available with all bits set (nvml.h, NVML_VALUE_NOT_AVAILABLE).
func putMemory(values telemetry.Values, used, total uint64) {
	if used != math.MaxUint64 {
		values[telemetry.MemoryUsed] = float64(used)
	}
	if total != math.MaxUint64 {
		values[telemetry.MemoryTotal] = float64(total)
	}
}
