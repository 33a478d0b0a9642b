package nvml

import (
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/telemetry"
)

// call is one NVML function that fills in metrics of a device.
type call struct {
	function string
	read     func(*target, *telemetry.Sample, time.Time) nvml.Return
}

// family is a group of metrics that come together.
type family struct {
	// calls can provide them, best first.
	calls []call
	// unsupported is what to say of a device that supports none of the calls; empty says nothing.
	unsupported string
}

// simple is a family of one call that needs nothing but the handle.
func simple(function string, read func(nvml.Device, telemetry.Values) nvml.Return) family {
	return family{calls: []call{{function, func(t *target, s *telemetry.Sample, _ time.Time) nvml.Return {
		return read(t.handle, s.Values)
	}}}}
}

// ofGPU is everything that is read of a GPU that is not partitioned, ofPartitioned of one whose MIG instances are read
// one by one, and ofInstance of a MIG instance. What is the board's belongs to the GPU; memory and load to the instances.
var (
	board = []family{clocks(), temperature(), power(),
		clockEventReasons(), fields()}
	ofGPU         = append([]family{utilization(), memory(), encoder(), decoder(), processUse(), processMemory(), gpm()}, board...)
	ofPartitioned = board
	ofInstance    = []family{memory(), processMemory(), gpm(), utilizationOfInstance()}
)
