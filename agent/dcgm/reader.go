// Package dcgm reads the GPUs of this node from a host engine of NVIDIA's Data Center GPU Manager, for nodes where one runs
// already, and for the profiling metrics of GPUs from Volta to Ampere, which NVML does not have.
//
//	nv-hostengine → libdcgm.so.4 → GPUs and MIG instances → one sample each, or a state that says why there is none
//
// A library or an engine that is missing is a state to come back from, never an error that ends the agent. Of a process DCGM
// says what it used as a mean over its whole life (the driver's accounting), and not over the last second; so samples name no
// processes, and a GPU that several pods share cannot be divided. Use NVML there.
package dcgm

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/foretide/foretide/pkg/lane"
	"github.com/foretide/foretide/pkg/telemetry"
)

const (
	// Waiting times between attempts to connect, doubled from the first to the last.
	retryFirst, retryLast = 2 * time.Second, 30 * time.Second
	// closeWithin is how long Close waits for a library that may hang.
	closeWithin = 2 * time.Second
)

// Options configures a [Reader].
type Options struct {
	// Address is where the host engine listens: host:port or unix:///path. There is no engine inside the agent.
	Address string
	// LibraryPath is the libdcgm.so.4 to load; empty looks in the usual places.
	LibraryPath string
	// Interval is how often the engine shall read the devices; zero is one second. A value of more than three intervals is
	// not used.
	Interval time.Duration
}

// Reader reads every device, over and over. There can be one in a process, as go-dcgm knows one connection. All methods but
// Status must be called from one goroutine at a time.
type Reader struct {
	engine engine
	lane   lane.Lane[outcome]
	retry  lane.Backoff
	status atomic.Pointer[Status]
}

// New returns a reader that has not loaded anything yet. An address that cannot be used is found by the first Read.
func New(o Options) *Reader {
	r := &Reader{
		engine: engine{address: o.Address, candidates: defaultLibraries(), interval: o.Interval, table: fieldTable()},
		retry:  lane.Backoff{First: retryFirst, Last: retryLast},
	}
	if o.LibraryPath != "" {
		r.engine.candidates = []string{o.LibraryPath}
	}
	if o.Interval <= 0 {
		r.engine.interval = time.Second
	}
	r.status.Store(&Status{State: StateStarting, Message: "nothing was read yet"})
	return r
}

// Status returns what the last Read found. It may be called at any time, also while a Read is running.
func (r *Reader) Status() Status { return *r.status.Load() }

// Read returns one sample per GPU and MIG instance that answers, and names everything that could not be read. A GPU comes
// before its instances. It returns when ctx ends; a call that has not returned by then is left alone until it has, and there
// are no samples until then.
func (r *Reader) Read(ctx context.Context, now time.Time) ([]telemetry.Sample, []string) {
	if r.lane.Busy() {
		return nil, r.hangs(now)
	}
	if !r.retry.Due(now) {
		return nil, []string{"dcgm: " + r.Status().Message}
	}
	r.lane.Start(now, func() outcome { return r.engine.read(now) })
	out, inTime := r.lane.Wait(ctx, nil)
	if !inTime {
		return nil, r.hangs(now)
	}
	r.update(now, out)
	if !out.connected {
		r.retry.Failed(now)
		return nil, []string{"dcgm: " + out.message}
	}
	r.retry.Succeeded()
	return out.samples, out.problems
}

// Close ends the connection, unless a call hangs. The reader may be used again afterwards.
func (r *Reader) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	if r.lane.Start(time.Now(), func() outcome { r.engine.close(); return outcome{} }) {
		r.lane.Wait(ctx, nil)
	}
}

// hangs notes that a call does not return. What was known of library and driver stays.
func (r *Reader) hangs(now time.Time) []string {
	before := r.Status()
	// The same words as long as it lasts, for each other text is another problem in the log.
	message := fmt.Sprintf("the host engine at %s has not answered since %s", r.engine.address, r.lane.Began().UTC().Format(time.TimeOnly))
	r.update(now, outcome{state: StateHanging, message: message, library: before.Library, driver: before.Driver})
	return []string{"dcgm: " + message}
}

func (r *Reader) update(now time.Time, out outcome) {
	before := r.Status()
	s := Status{State: out.state, Since: before.Since, Message: out.message, Devices: out.gpus, Library: out.library, Driver: out.driver}
	if s.State != before.State {
		s.Since = now
	}
	if s != before {
		r.status.Store(&s)
	}
}
