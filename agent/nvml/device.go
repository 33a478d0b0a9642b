package nvml

import (
	"fmt"
	"strings"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/telemetry"
)

// askAgain is how long "not supported" holds of a device: switching MIG mode off makes it support what it did not.
const askAgain = 10 * time.Minute

type uuidAndFunction struct{ uuid, function string }

// readDevice reads everything of one device. A result other than SUCCESS means that the device as a whole does not answer.
func (r *Reader) readDevice(index int, now time.Time) (telemetry.Reading, []string, nvml.Return) {
	handle, ret := r.lib.api.DeviceGetHandleByIndex(index)
	if ret != nvml.SUCCESS {
		return telemetry.Reading{}, nil, ret
	}
	device, ret := r.identify(index, handle)
	if ret != nvml.SUCCESS {
		return telemetry.Reading{}, nil, ret
	}
	reading := telemetry.Reading{Device: device, Values: telemetry.Values{}}
	var problems []string
	for _, f := range families() {
		function, ret := r.readFamily(f, handle, reading, now)
		switch {
		case gone(ret):
			return telemetry.Reading{}, nil, ret
		case notSupported(ret) && f.unsupported != "":
			problems = append(problems, fmt.Sprintf("%s: %s", r.describe(index), f.unsupported))
		case ret != nvml.SUCCESS && !notSupported(ret):
			problems = append(problems, fmt.Sprintf("%s: %s: %v", r.describe(index), function, ret))
		}
	}
	return reading, problems, nvml.SUCCESS
}

// identify finds out which device a handle is. The index alone does not say: enumeration may change under us.
func (r *Reader) identify(index int, handle nvml.Device) (telemetry.Device, nvml.Return) {
	uuid, ret := handle.GetUUID()
	if ret != nvml.SUCCESS {
		return telemetry.Device{}, ret
	}
	if d := r.seen[index]; d.UUID == uuid {
		return d, nvml.SUCCESS
	}
	d := telemetry.Device{UUID: uuid, Index: index}
	if r.lib.has("nvmlDeviceGetName") {
		model, ret := handle.GetName()
		if gone(ret) {
			return telemetry.Device{}, ret
		}
		d.Model = strings.ToValidUTF8(model, "?") // it goes on a wire that takes nothing else
	}
	r.seen[index] = d
	return d, nvml.SUCCESS
}

// readFamily uses the first call that this library has and this device supports. When it supports none of those the library
// has, the result is one of which notSupported is true; when the library has none, the metrics are absent and that is no error.
func (r *Reader) readFamily(f family, handle nvml.Device, into telemetry.Reading, now time.Time) (function string, ret nvml.Return) {
	for _, c := range f.calls {
		if !r.lib.has(c.function) {
			continue
		}
		key := uuidAndFunction{into.Device.UUID, c.function}
		if now.Before(r.unsupported[key]) {
			ret = nvml.ERROR_NOT_SUPPORTED
			continue
		}
		if ret = c.read(handle, into.Values); !notSupported(ret) {
			return c.function, ret
		}
		r.unsupported[key] = now.Add(askAgain)
	}
	return "", ret
}

func (r *Reader) describe(index int) string {
	if d, ok := r.seen[index]; ok {
		return fmt.Sprintf("device %d (%s)", index, d.UUID)
	}
	return fmt.Sprintf("device %d", index)
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
