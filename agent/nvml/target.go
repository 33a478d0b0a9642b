package nvml

import (
	"fmt"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/telemetry"
)

// askAgain is how long "not supported" holds of a device: switching MIG mode off makes it support what it did not.
const askAgain = 10 * time.Minute

// target is a GPU or a MIG instance with what is remembered of it from one reading to the next.
type target struct {
	lib     *library
	observe func(function string, d time.Duration)
	device  telemetry.Device
	handle  nvml.Device
	// parent is the GPU of a MIG instance; nil for a GPU. together says that its GPU instance has others in it.
	parent   nvml.Device
	together bool

	// unsupported says, by function, until when not to ask again for what the device does not support; noField the same of fields.
	unsupported map[string]time.Time
	noField     map[uint32]time.Time
	counts      map[uint32]count
	ring        ring
	memoryRing  ring
	useSeen     uint64 // timestamp of the newest process utilization, or of the ring where that is newer
	uses        []telemetry.Process
	monitor     *monitor
}

func newTarget(lib *library, observe func(string, time.Duration), device telemetry.Device, handle, parent nvml.Device) *target {
	return &target{lib: lib, observe: observe, device: device, handle: handle, parent: parent,
		unsupported: map[string]time.Time{}, noField: map[uint32]time.Time{}, counts: map[uint32]count{}}
}

// whole is the GPU that the target is, or is a part of.
func (t *target) whole() nvml.Device {
	if t.parent != nil {
		return t.parent
	}
	return t.handle
}

// read reads the families. A result other than SUCCESS means that the device as a whole does not answer.
func (t *target) read(families []family, now time.Time) (telemetry.Sample, []string, nvml.Return) {
	sample := telemetry.Sample{Reading: telemetry.Reading{Device: t.device, Values: make(telemetry.Values, 40)}}
	var problems []string
	for _, f := range families {
		function, ret := t.readFamily(f, &sample, now)
		switch {
		case gone(ret):
			return telemetry.Sample{}, problems, ret
		case notSupported(ret) && f.unsupported != "":
			problems = append(problems, fmt.Sprintf("device %d: %s", t.device.Index, f.unsupported)) // once for all parts of a GPU
		case ret != nvml.SUCCESS && ret != nvml.ERROR_NOT_FOUND && !notSupported(ret):
			problems = append(problems, fmt.Sprintf("%s: %s: %v", describe(t.device), function, ret))
		}
	}
	return sample, problems, nvml.SUCCESS
}

// readFamily uses the first call that this library has, this device supports and that has something to say. When the device
// supports none of those the library has, the result is one of which notSupported is true; when the library has none, the
// metrics are absent and that is no error.
func (t *target) readFamily(f family, into *telemetry.Sample, now time.Time) (function string, ret nvml.Return) {
	for i, c := range f.calls {
		if !t.lib.has(c.function) {
			continue
		}
		if now.Before(t.unsupported[c.function]) {
			ret = nvml.ERROR_NOT_SUPPORTED
			continue
		}
		ret = t.timed(c.function, func() nvml.Return { return c.read(t, into, now) })
		another := i+1 < len(f.calls)
		switch {
		case notSupported(ret) || ret == nvml.ERROR_NO_PERMISSION && another:
			t.unsupported[c.function] = now.Add(askAgain)
		case ret != nvml.ERROR_NOT_FOUND || !another:
			return c.function, ret
		}
	}
	return "", ret
}

// timed calls and tells how long it took.
func (t *target) timed(function string, call func() nvml.Return) nvml.Return {
	return timed(t.observe, function, call)
}

func timed(observe func(string, time.Duration), function string, call func() nvml.Return) nvml.Return {
	began := time.Now()
	ret := call()
	observe(function, time.Since(began))
	return ret
}

// supports reports whether the library has the function and the device has not said that it does not support it.
func (t *target) supports(function string, now time.Time) bool {
	return t.lib.has(function) && !now.Before(t.unsupported[function])
}

func describe(d telemetry.Device) string {
	if d.IsMIG() {
		return fmt.Sprintf("device %d instance %d/%d (%s)", d.Index, d.MIG.GPUInstance, d.MIG.ComputeInstance, d.UUID)
	}
	return fmt.Sprintf("device %d (%s)", d.Index, d.UUID)
}

// gone reports whether the result means that the device as a whole no longer answers.
func gone(ret nvml.Return) bool {
	switch ret {
	case nvml.ERROR_GPU_IS_LOST, nvml.ERROR_RESET_REQUIRED, nvml.ERROR_GPU_NOT_FOUND, nvml.ERROR_UNINITIALIZED:
		return true
	}
	return false
}

// notSupported reports whether asking this device again at once would be in vain.
func notSupported(ret nvml.Return) bool {
	switch ret {
	case nvml.ERROR_NOT_SUPPORTED, nvml.ERROR_FUNCTION_NOT_FOUND, nvml.ERROR_ARGUMENT_VERSION_MISMATCH, nvml.ERROR_DEPRECATED:
		return true
	}
	return false
}
