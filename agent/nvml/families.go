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

// family is a group of metrics that come together.
type family struct {
	// calls can provide them, best first.
	calls []call
	// unsupported is what to say of a device that supports none of the calls; empty says nothing.
	unsupported string
}

// families lists everything that is read from a device.
func families() []family {
	return []family{utilization(), memory()}
}
