package nvml

import (
	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/telemetry"
)

// call is one NVML function that fills in metrics of a device.
type call struct {
	function string
	read     func(nvml.Device, telemetry.Values) nvml.Return
}

// family is a group of metrics with the calls that can provide them, best first.
type family []call

// families lists everything that is read from a device.
func families() []family {
	return []family{utilization(), memory()}
}
