// Package nvml reads the GPUs of this node through NVIDIA's management library.
//
//	libnvidia-ml.so.1 → GPUs and MIG instances → one sample each, or a state that says why there is none
//
// A library, driver or device that is missing is a state to come back from, never an error that ends the agent. A driver that
// hangs in one GPU costs that GPU's samples and no other's: whoever reads the others leaves it behind.
package nvml

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/lane"
	"github.com/foretide/foretide/pkg/telemetry"
)

// Options configures a [Reader].
type Options struct {
	// LibraryPath is the library to load; empty looks in the usual places.
	LibraryPath string
	// Observe is told how long each reading function took. It may be called by several goroutines at once; nil tells nobody.
	Observe func(function string, d time.Duration)
}

// Reader reads every device, over and over. All methods but Status and SetReleased must be called from one goroutine at a time.
type Reader struct {
	candidates  []string
	observe     func(string, time.Duration)
	lib         *library
	initialized bool
	retry       lane.Backoff
	reopen      lane.Backoff

	opening  lane.Lane[opened]
	counting lane.Lane[counted]
	closing  lane.Lane[struct{}]
	gpus     []*gpu // by index
	xids     xidLog
	listener *listener
	// heard names the GPUs that there were when the listener was started.
	heard string

	released atomic.Bool
	status   atomic.Pointer[Status]
}

type opened struct {
	ret    nvml.Return
	driver string
}

type counted struct {
	gpus int
	ret  nvml.Return
}

// New returns a reader that has not loaded anything yet.
func New(o Options) *Reader {
	r := &Reader{
		candidates: defaultLibraries(),
		observe:    o.Observe,
		retry:      lane.Backoff{First: retryFirst, Last: retryLast},
		reopen:     lane.Backoff{First: reopenFirst, Last: reopenLast},
		xids:       xidLog{heard: map[string]xids{}},
	}
	if o.LibraryPath != "" {
		r.candidates = []string{o.LibraryPath}
	}
	if r.observe == nil {
		r.observe = func(string, time.Duration) {}
	}
	r.status.Store(&Status{State: StateStarting, Message: "nothing was read yet"})
	return r
}

// Status returns what the last Read found. It may be called at any time, also while a Read is stuck in the driver.
func (r *Reader) Status() Status { return *r.status.Load() }

// SetReleased says whether NVML shall be given back, so that the driver can be unloaded, or used again. It takes effect at the
// next Read, and may be called at any time.
func (r *Reader) SetReleased(released bool) { r.released.Store(released) }

// Read returns one sample per GPU and MIG instance that answers, and names everything that could not be read. Samples are
// ordered by index, a GPU before its instances. It returns when ctx ends; a GPU that has not answered by then is named, and
// left alone until it has.
func (r *Reader) Read(ctx context.Context, now time.Time) ([]telemetry.Sample, []string) {
	if r.released.Load() {
		r.release(ctx, now)
		return nil, []string{"nvml: " + r.Status().Message}
	}
	if !r.open(ctx, now) {
		return nil, []string{"nvml: " + r.Status().Message}
	}
	count, problems, ok := r.count(ctx, now)
	if !ok {
		return nil, problems
	}
	for i := len(r.gpus); i < count; i++ {
		r.gpus = append(r.gpus, &gpu{index: i})
	}
	outcomes, unread, hanging := r.readAll(ctx, count, now)
	problems = append(problems, unread...)
	var samples []telemetry.Sample
	loss := "" // of the first GPU that does not answer
	readable := 0
	for i, out := range outcomes {
		if out == nil {
			continue
		}
		problems = append(problems, out.problems...)
		if out.loss != "" {
			loss = cmp.Or(loss, out.loss)
			continue
		}
		readable++
		r.gpus[i].known = out.samples[0].Device
		r.xids.put(out.samples[0].Device.UUID, out.samples[0].Values)
		samples = append(samples, out.samples...)
	}
	if len(unread) == 0 {
		r.reopenAfterLoss(ctx, loss != "", now)
		r.listen(count)
	} else if readable == 0 {
		loss = cmp.Or(loss, unread[0])
	}
	r.answered(now, count, readable, hanging, loss)
	return samples, problems
}

// readAll reads the first count GPUs, each in its lane, and names those that it has nothing of. Of a GPU that took longer than it had the last
// time, that reading counts now. Hanging counts those that have not answered since an earlier one.
func (r *Reader) readAll(ctx context.Context, count int, now time.Time) (outcomes []*outcome, unread []string, hanging int) {
	outcomes = make([]*outcome, count)
	var jobs []lane.Job
	for i, g := range r.gpus[:count] {
		if late, ok := g.lane.Take(); ok {
			outcomes[i] = &late
		} else if g.lane.Busy() {
			hanging++
			unread = append(unread, fmt.Sprintf("%s: the driver has not answered since %s", g.name(), g.lane.Began().UTC().Format(time.TimeOnly)))
		} else {
			jobs = append(jobs, g.lane.Prepare(now, func() outcome { return g.read(r, now) }))
		}
	}
	crew := lane.NewCrew(jobs)
	for i, g := range r.gpus[:count] {
		if outcomes[i] != nil || !g.lane.Began().Equal(now) {
			continue
		}
		if out, inTime := g.lane.Wait(ctx, crew); inTime {
			outcomes[i] = &out
		} else {
			unread = append(unread, fmt.Sprintf("%s: was not read in time", g.name()))
		}
	}
	crew.Dismiss()
	return outcomes, unread, hanging
}

// count asks how many GPUs there are. Where that hangs, those known before are read all the same.
func (r *Reader) count(ctx context.Context, now time.Time) (gpus int, problems []string, ok bool) {
	r.counting.Take() // an answer that came too late
	ask := func() (c counted) {
		c.ret = timed(r.observe, "nvmlDeviceGetCount", func() (ret nvml.Return) { c.gpus, ret = r.lib.api.DeviceGetCount(); return ret })
		return c
	}
	if r.counting.Start(now, ask) {
		if got, inTime := r.counting.Wait(ctx, nil); inTime {
			if got.ret == nvml.SUCCESS {
				return got.gpus, nil, true
			}
			r.close(ctx)
			r.retry.Failed(now)
			r.fail(now, StateFailed, fmt.Sprintf("count devices: %v", got.ret))
			return 0, []string{"nvml: " + r.Status().Message}, false
		}
	}
	return len(r.gpus), []string{"nvml: the driver does not say how many devices there are"}, true
}

// listen makes sure that the events of all GPUs are listened to. It is called when no lane is busy.
func (r *Reader) listen(count int) {
	if !r.initialized { // it has just been given back
		return
	}
	handles := map[string]nvml.Device{}
	var uuids []string
	for _, g := range r.gpus[:count] {
		if g.whole != nil {
			handles[g.whole.device.UUID] = g.whole.handle
			uuids = append(uuids, g.whole.device.UUID)
		}
	}
	if all := strings.Join(uuids, " "); all != r.heard && r.listener.close() {
		r.heard, r.listener = all, listen(r.lib, &r.xids, handles)
	}
}

// Close gives NVML back, unless a call hangs in the driver. The reader may be used again afterwards.
func (r *Reader) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	r.close(ctx)
}

// answered notes that NVML knows of count GPUs, and how many of them could be read; loss is why the first could not.
func (r *Reader) answered(now time.Time, count, readable, hanging int, loss string) {
	state, message := StateOK, ""
	switch {
	case count == 0:
		state = StateNoDevices
	case readable == 0 && loss != "":
		state, message = StateFailed, "no device answers: "+loss
	}
	r.update(now, state, message, readable, hanging)
}

func (r *Reader) fail(now time.Time, state State, message string) {
	r.update(now, state, message, 0, 0)
}

func (r *Reader) update(now time.Time, state State, message string, readable, hanging int) {
	before := r.Status()
	s := before
	s.State, s.Message, s.Devices, s.Hanging = state, message, readable, hanging
	// Asked where a new library could help: when there is no use in the old one.
	s.LibraryReplaced = !state.Up() && r.lib != nil && r.lib.replaced()
	if state != before.State {
		s.Since = now
	}
	switch {
	case state.Up():
		s.DownSince = time.Time{}
	case before.State.Up() || before.DownSince.IsZero():
		s.DownSince = now
	}
	if s != before {
		r.status.Store(&s)
	}
}
