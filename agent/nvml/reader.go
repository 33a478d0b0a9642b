// Package nvml reads the GPUs of this node through NVIDIA's management library.
//
//	libnvidia-ml.so.1 → devices → one reading per device, or a state that says why there is none
//
// A library, driver or device that is missing is a state to come back from, never an error that ends the agent.
package nvml

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/telemetry"
)

// Waiting times between attempts, doubled from the first to the last.
const (
	retryFirst, retryLast = 2 * time.Second, 30 * time.Second
	// A device that was reset is found again only after NVML was initialized anew, which the devices that work pay for
	// with a moment without readings.
	reopenFirst, reopenLast = 30 * time.Second, 10 * time.Minute
)

// Options configures a [Reader].
type Options struct {
	// LibraryPath is the library to load; empty looks in the usual places.
	LibraryPath string
}

// Reader reads every device, over and over. All methods but Status must be called from one goroutine at a time.
type Reader struct {
	candidates  []string
	lib         *library
	initialized bool
	retry       backoff
	reopen      backoff

	// seen remembers which device had which index, for messages about one that no longer answers.
	seen        map[int]telemetry.Device
	unsupported map[uuidAndFunction]bool

	status atomic.Pointer[Status]
}

type uuidAndFunction struct{ uuid, function string }

// New returns a reader that has not loaded anything yet.
func New(o Options) *Reader {
	r := &Reader{
		candidates: defaultLibraries(),
		retry:      backoff{first: retryFirst, last: retryLast},
		reopen:     backoff{first: reopenFirst, last: reopenLast},
	}
	if o.LibraryPath != "" {
		r.candidates = []string{o.LibraryPath}
	}
	r.status.Store(&Status{State: StateStarting, Message: "nothing was read yet"})
	return r
}

// Status returns what the last Read found. It may be called at any time, also while a Read is stuck in the driver.
func (r *Reader) Status() Status { return *r.status.Load() }

// Read returns one reading per device that answers, with [telemetry.UtilizationMean] holding the driver's newest sample,
// and names everything that could not be read. It gives up between two devices when ctx ends; a call into the driver
// cannot be interrupted.
func (r *Reader) Read(ctx context.Context, now time.Time) ([]telemetry.Reading, []string) {
	if !r.open(now) {
		return nil, []string{"nvml: " + r.Status().Message}
	}
	count, ret := r.lib.api.DeviceGetCount()
	if ret != nvml.SUCCESS {
		r.close()
		r.retry.failed(now)
		r.fail(StateFailed, fmt.Sprintf("count devices: %v", ret))
		return nil, []string{"nvml: " + r.Status().Message}
	}
	readings := make([]telemetry.Reading, 0, count)
	var problems []string
	lost := false
	for index := range count {
		if ctx.Err() != nil {
			problems = append(problems, fmt.Sprintf("nvml: devices %d to %d were not read in time", index, count-1))
			break
		}
		reading, trouble, ret := r.readDevice(index)
		problems = append(problems, trouble...)
		if ret != nvml.SUCCESS {
			lost = true
			problems = append(problems, fmt.Sprintf("%s: %v", r.describe(index), ret))
			continue
		}
		readings = append(readings, reading)
	}
	r.reopenAfterLoss(lost, now)
	r.answered(count, len(readings))
	return readings, problems
}

// Close gives NVML back. The reader may be used again afterwards.
func (r *Reader) Close() { r.close() }

// open makes sure that NVML is initialized, and otherwise leaves the reason in the status.
func (r *Reader) open(now time.Time) bool {
	if r.initialized {
		return true
	}
	if !r.retry.due(now) {
		return false
	}
	r.retry.failed(now) // until proven otherwise
	if r.lib == nil {
		lib, err := loadLibrary(r.candidates)
		if unusable := (*unusableError)(nil); errors.As(err, &unusable) {
			r.fail(StateFailed, err.Error())
			return false
		} else if err != nil {
			r.fail(StateLibraryMissing, fmt.Sprintf("NVML library not found, so this node has no NVIDIA driver or it is not mounted: %v", err))
			return false
		}
		r.lib = lib
	}
	if ret := r.lib.api.Init(); ret != nvml.SUCCESS {
		r.fail(initState(ret))
		return false
	}
	r.initialized = true
	r.retry.succeeded()
	r.seen = map[int]telemetry.Device{}
	r.unsupported = map[uuidAndFunction]bool{}
	r.status.Store(&Status{State: StateStarting, Library: r.lib.path, Driver: r.lib.driverVersion()})
	return true
}

func (r *Reader) close() {
	if r.initialized {
		// The result changes nothing: the next open starts with nvmlInit either way.
		_ = r.lib.api.Shutdown()
		r.initialized = false
	}
}

// readDevice reads everything of one device. A result other than SUCCESS means that the device as a whole does not answer.
func (r *Reader) readDevice(index int) (telemetry.Reading, []string, nvml.Return) {
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
		function, ret := r.readFamily(f, handle, reading)
		if gone(ret) {
			return telemetry.Reading{}, nil, ret
		}
		if ret != nvml.SUCCESS {
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

// readFamily uses the first call that this library has and this device supports. Having none is no error: the metrics are
// then absent.
func (r *Reader) readFamily(f family, handle nvml.Device, into telemetry.Reading) (function string, ret nvml.Return) {
	for _, c := range f {
		key := uuidAndFunction{into.Device.UUID, c.function}
		if !r.lib.has(c.function) || r.unsupported[key] {
			continue
		}
		ret := c.read(handle, into.Values)
		if !notSupported(ret) {
			return c.function, ret
		}
		r.unsupported[key] = true
	}
	return "", nvml.SUCCESS
}

func (r *Reader) describe(index int) string {
	if d, ok := r.seen[index]; ok {
		return fmt.Sprintf("device %d (%s)", index, d.UUID)
	}
	return fmt.Sprintf("device %d", index)
}

func (r *Reader) reopenAfterLoss(lost bool, now time.Time) {
	switch {
	case !lost:
		r.reopen.succeeded()
	case r.reopen.idle():
		r.reopen.failed(now)
	case r.reopen.due(now):
		r.reopen.failed(now)
		r.close()
	}
}

func (r *Reader) answered(count, readable int) {
	s := r.Status()
	s.State, s.Message, s.Devices = StateOK, "", readable
	if count == 0 {
		s.State = StateNoDevices
	}
	if s != r.Status() {
		r.status.Store(&s)
	}
}

func (r *Reader) fail(state State, message string) {
	s := r.Status()
	s.State, s.Message, s.Devices = state, message, 0
	r.status.Store(&s)
}

// gone reports whether the result means that the device as a whole no longer answers.
func gone(ret nvml.Return) bool {
	switch ret {
	case nvml.ERROR_GPU_IS_LOST, nvml.ERROR_RESET_REQUIRED, nvml.ERROR_GPU_NOT_FOUND, nvml.ERROR_UNINITIALIZED:
		return true
	}
	return false
}

// notSupported reports whether asking this device again would be in vain.
func notSupported(ret nvml.Return) bool {
	switch ret {
	case nvml.ERROR_NOT_SUPPORTED, nvml.ERROR_FUNCTION_NOT_FOUND, nvml.ERROR_ARGUMENT_VERSION_MISMATCH, nvml.ERROR_DEPRECATED:
		return true
	}
	return false
}
