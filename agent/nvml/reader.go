// Package nvml reads the GPUs of this node through NVIDIA's management library.
//
//	libnvidia-ml.so.1 → devices → one reading per device, or a state that says why there is none
//
// A library, driver or device that is missing is a state to come back from, never an error that ends the agent.
package nvml

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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
	seen map[int]telemetry.Device
	// unsupported says until when not to ask a device again what it does not support.
	unsupported map[uuidAndFunction]time.Time
	// first is the index a pass begins with.
	first int

	status atomic.Pointer[Status]
}

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
// and names everything that could not be read. Readings are ordered by index. It gives up between two devices when ctx ends,
// and the next Read begins with those it did not come to; a call into the driver cannot be interrupted.
func (r *Reader) Read(ctx context.Context, now time.Time) ([]telemetry.Reading, []string) {
	if !r.open(now) {
		return nil, []string{"nvml: " + r.Status().Message}
	}
	count, ret := r.lib.api.DeviceGetCount()
	if ret != nvml.SUCCESS {
		r.close()
		r.retry.failed(now)
		r.fail(now, StateFailed, fmt.Sprintf("count devices: %v", ret))
		return nil, []string{"nvml: " + r.Status().Message}
	}
	readings := make([]telemetry.Reading, 0, count)
	var problems []string
	loss := "" // of the first device that does not answer
	inTime := true
	for n := range count {
		index := (r.first + n) % count
		if ctx.Err() != nil {
			inTime = false
			problems = append(problems, fmt.Sprintf("nvml: %s not read in time", unread(index, count-n, count)))
			// One slow device must not blind the node to those after it for good.
			r.first = index
			break
		}
		reading, trouble, ret := r.readDevice(index, now)
		problems = append(problems, trouble...)
		if ret != nvml.SUCCESS {
			problem := fmt.Sprintf("%s: %v", r.describe(index), ret)
			problems = append(problems, problem)
			loss = cmp.Or(loss, problem)
			continue
		}
		readings = append(readings, reading)
	}
	slices.SortFunc(readings, func(a, b telemetry.Reading) int { return cmp.Compare(a.Device.Index, b.Device.Index) })
	if inTime {
		r.reopenAfterLoss(loss != "", now)
	}
	r.answered(now, count, len(readings), loss)
	return readings, problems
}

// unread names n of count devices, from the one with the index on and then from the first on.
func unread(index, n, count int) string {
	if over := index + n - count; over > 0 {
		return fmt.Sprintf("devices %d to %d and 0 to %d were", index, count-1, over-1)
	}
	return fmt.Sprintf("devices %d to %d were", index, index+n-1)
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
			r.fail(now, StateFailed, err.Error())
			return false
		} else if err != nil {
			r.fail(now, StateLibraryMissing, fmt.Sprintf("NVML library not found, so this node has no NVIDIA driver or it is not mounted: %v; "+
				"in Kubernetes set runtimeClassName: nvidia on the agent, or mount the driver", err))
			return false
		}
		r.lib = lib
	}
	if ret := r.lib.api.Init(); ret != nvml.SUCCESS {
		state, message := initState(ret)
		r.fail(now, state, message)
		return false
	}
	r.initialized = true
	r.retry.succeeded()
	r.seen = map[int]telemetry.Device{}
	r.unsupported = map[uuidAndFunction]time.Time{}
	// The state stays what it was until the devices are counted: initializing anew is no news of itself.
	s := r.Status()
	s.Library, s.Driver = r.lib.path, r.lib.driverVersion()
	r.status.Store(&s)
	return true
}

func (r *Reader) close() {
	if r.initialized {
		// The result changes nothing: the next open starts with nvmlInit either way.
		_ = r.lib.api.Shutdown()
		r.initialized = false
	}
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

// answered notes that NVML knows of count devices, and how many of them could be read; loss is why the first could not.
func (r *Reader) answered(now time.Time, count, readable int, loss string) {
	state, message := StateOK, ""
	switch {
	case count == 0:
		state = StateNoDevices
	case readable == 0 && loss != "":
		state, message = StateFailed, "no device answers: "+loss
	}
	r.update(now, state, message, readable)
}

func (r *Reader) fail(now time.Time, state State, message string) { r.update(now, state, message, 0) }

func (r *Reader) update(now time.Time, state State, message string, readable int) {
	before := r.Status()
	s := before
	s.State, s.Message, s.Devices = state, message, readable
	if state != before.State {
		s.Since = now
	}
	if s != before {
		r.status.Store(&s)
	}
}
