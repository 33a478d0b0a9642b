package nvml

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// Waiting times between attempts, doubled from the first to the last.
const (
	retryFirst, retryLast = 2 * time.Second, 30 * time.Second
	// A device that was reset is found again only after NVML was initialized anew, which the devices that work pay for
	// with a moment without readings.
	reopenFirst, reopenLast = 30 * time.Second, 10 * time.Minute
)

// open makes sure that NVML is initialized, and otherwise leaves the reason in the status.
func (r *Reader) open(ctx context.Context, now time.Time) bool {
	if r.initialized {
		return true
	}
	if r.opening.Pending() {
		return r.opened(ctx, now)
	}
	r.closing.Take()
	if r.closing.Busy() {
		r.fail(now, StateHanging, "nvmlShutdown does not return")
		return false
	}
	if !r.retry.Due(now) {
		return false
	}
	r.retry.Failed(now) // until proven otherwise
	if r.lib == nil && !r.load(now) {
		return false
	}
	r.opening.Start(now, func() (o opened) {
		if o.ret = timed(r.observe, "nvmlInit", r.lib.api.Init); o.ret == nvml.SUCCESS {
			o.driver = r.lib.driverVersion()
		}
		return o
	})
	return r.opened(ctx, now)
}

// load loads the library.
func (r *Reader) load(now time.Time) bool {
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
	return true
}

// opened waits for the nvmlInit that is running: without persistence mode it takes seconds for each GPU.
func (r *Reader) opened(ctx context.Context, now time.Time) bool {
	o, inTime := r.opening.Wait(ctx, nil)
	if !inTime {
		r.fail(now, StateHanging, "the driver is being initialized; on some nodes that takes seconds for each GPU")
		return false
	}
	if o.ret != nvml.SUCCESS {
		state, message := initState(o.ret)
		r.fail(now, state, message)
		return false
	}
	r.initialized = true
	r.retry.Succeeded()
	r.gpus, r.heard = nil, ""
	// The state stays what it was until the devices are counted: initializing anew is no news of itself.
	s := r.Status()
	s.Library, s.Driver = r.lib.path, o.driver
	r.status.Store(&s)
	return true
}

// closeWithin bounds how long the end of the agent waits for nvmlShutdown.
const closeWithin = 2 * time.Second

// close gives NVML back and reports whether it is. While a call hangs nothing can be given back: another into the driver might hang as well.
func (r *Reader) close(ctx context.Context) bool {
	if o, ok := r.opening.Take(); ok && o.ret == nvml.SUCCESS { // it came after all, and must be given back
		r.initialized = true
	}
	if !r.initialized {
		r.closing.Take()
		return !r.opening.Busy() && !r.closing.Busy()
	}
	for _, g := range r.gpus {
		g.lane.Take() // what came too late: from here on, what that reading wrote is ours
	}
	if r.counting.Busy() || slices.ContainsFunc(r.gpus, func(g *gpu) bool { return g.lane.Busy() }) || !r.listener.close() {
		return false
	}
	gpus, lib := r.gpus, r.lib
	r.initialized, r.listener, r.gpus, r.heard = false, nil, nil, ""
	r.closing.Start(time.Now(), func() struct{} {
		for _, g := range gpus {
			g.forget()
		}
		// The result changes nothing: the next open starts with nvmlInit either way.
		_ = timed(r.observe, "nvmlShutdown", lib.api.Shutdown)
		return struct{}{}
	})
	_, done := r.closing.Wait(ctx, nil)
	return done
}

// release gives NVML back for as long as SetReleased says so.
func (r *Reader) release(ctx context.Context, now time.Time) {
	if r.close(ctx) {
		r.fail(now, StateReleased, "NVML is given back, so that the driver can be unloaded: the devices are not read")
		r.retry.Succeeded()
		return
	}
	r.fail(now, StateHanging, "NVML is to be given back, but a call hangs in the driver")
}

func (r *Reader) reopenAfterLoss(ctx context.Context, lost bool, now time.Time) {
	switch {
	case !lost:
		r.reopen.Succeeded()
	case r.reopen.Idle():
		r.reopen.Failed(now)
	case r.reopen.Due(now):
		r.reopen.Failed(now)
		r.close(ctx)
	}
}
