package nvml

import (
	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/telemetry"
)

// utilization reads the share of time in which a kernel ran, over the driver's own last sampling period (1/6 s to 1 s
// depending on the product: nvml.h, nvmlUtilization_t). A GPU in MIG mode does not support it.
func utilization() family {
	return family{unsupported: "utilization is not supported on this device (MIG mode?)", calls: []call{{"nvmlDeviceGetUtilizationRates", func(d nvml.Device, values telemetry.Values) nvml.Return {
		rates, ret := d.GetUtilizationRates()
		if ret == nvml.SUCCESS {
			// Drivers have been seen to say more than 100.
			values[telemetry.UtilizationMean] = float64(min(rates.Gpu, 100)) / 100
		}
		return ret
	}}}}
}
