package workload

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A minute's demand is the mean of six slices of ten seconds, told by what the nodes' clocks say and not by when it arrived: every
// replica of the aggregator that was told the same writes the same, to the last bit.
//
//	at :12, :22, … the pods are looked at → the slice before waits for their nodes → its demand → six of them → written
//	                                                                                                  (kept while that fails)
//
// With fewer than four slices whose demand can be known the minute is not known well enough and stays absent. It also does where
// something is missing that another replica may have.
const (
	recordEvery     = time.Minute
	slice           = 10 * time.Second
	slicesPerMinute = int(recordEvery / slice)
	neededSlices    = 4
)

const (
	// lookAfter is how long after a slice the pods are looked at: by then what the API server said before its end has come.
	lookAfter = 2 * time.Second
	// lookUntil is how long after a slice a look still tells which pods it had.
	lookUntil = 8 * time.Second
	// waitUntil is how long after a slice its nodes are waited for: a report of a minute, and time to send it again. The live view
	// holds two minutes.
	waitUntil = 90 * time.Second
	// freshDemand is how long after a slice its demand still says what the workload does now. Reports come up to 15 s late.
	freshDemand = 45 * time.Second
)

// RecorderOptions is what a Recorder needs.
type RecorderOptions struct {
	// Workloads lists the workloads to record, with their GPU pods: Directory.Workloads. Nil means they are not known yet.
	Workloads func() []Workload
	// Load is what the devices of a pod on a node did between two moments of the node's clock, also of a pod that is gone since.
	Load loadOf
	// Append writes the demand of a workload over the minute that ended at a time. An error with a method Refusal() (class, reason
	// string) is for good; after any other it is called again.
	Append     func(ctx context.Context, id ID, at time.Time, busyGPUs, pods float64) error
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

type loadOf = func(namespace, pod, node string, from, to time.Time) Load

// Reports says how much of what a node had to say of a time has arrived.
type Reports string

const (
	// ReportsComplete means: all of it. Every replica that has all of it is told the same.
	ReportsComplete Reports = "complete"
	// ReportsRestarted means: all of it, except for what an agent that ended meanwhile may have left to be sent by the next.
	ReportsRestarted Reports = "restarted"
	// ReportsMissing means: some may be under way, or is lost.
	ReportsMissing Reports = "missing"
	// ReportsSilent means: none, and the node had fallen silent long before.
	ReportsSilent Reports = "silent"
)

// Load is what the devices of one pod did between two moments.
type Load struct {
	Reports Reports
	// Known is false when the pod held no device, or when of one it held the utilization is not known.
	Known bool
	// GPUs is how many devices were read, BusyGPUs the sum of their mean utilization (1 = one device busy all the time) and Held
	// for how long the pod held them.
	GPUs     int
	BusyGPUs float64
	Held     time.Duration
}

// Demand is what a workload's pods did of late.
type Demand struct {
	ID ID
	// BusyGPUs is how many GPUs' worth of work there is; Pods how many ready pods share it.
	BusyGPUs, Pods float64
	// At is the end of the ten seconds it is of.
	At time.Time
}

// Recorder writes the demand of every workload with GPU pods into the history, policy or not, once a minute.
type Recorder struct {
	opts    RecorderOptions
	results *prometheus.CounterVec

	// looked is the end of the slice whose pods were looked at last, and before what was seen; nil when nothing was.
	looked time.Time
	before map[ID][]Pod
	// minutes are those not yet known, oldest first, and unwritten what is known of them and not in the store.
	minutes   []*minute
	unwritten []point
	// failing and dropping: it was logged that the store cannot take any now, and that some is lost for it.
	failing, dropping bool

	mu     sync.Mutex
	latest map[ID]Demand
}

// NewRecorder prepares a Recorder; Start runs it.
func NewRecorder(opts RecorderOptions) (*Recorder, error) {
	if opts.Workloads == nil || opts.Load == nil || opts.Append == nil || opts.Logger == nil || opts.Registerer == nil {
		return nil, errors.New("workload: RecorderOptions needs all of its fields")
	}
	r := &Recorder{
		opts:   opts,
		latest: make(map[ID]Demand),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "foretide_aggregator_demand_minutes_total",
			Help: "Minutes of a workload's demand by what became of them: written, unknown (telemetry of a ready pod was missing) or failed (the store refused it, or could not take it for hours).",
		}, []string{"result"}),
	}
	for _, result := range []string{"written", "unknown", "failed"} {
		r.results.WithLabelValues(result)
	}
	if err := opts.Registerer.Register(r.results); err != nil {
		return nil, err
	}
	return r, nil
}

// Start records at each full second of the clock until ctx is done.
func (r *Recorder) Start(ctx context.Context) error {
	for {
		now := time.Now()
		timer := time.NewTimer(now.Truncate(time.Second).Add(time.Second).Sub(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
			r.Record(ctx, time.Now())
		}
	}
}

// Record does what is due: looks at the pods once in each slice, adds up what has arrived since, and writes the minutes that
// wait for nothing more. It must be called by one goroutine.
func (r *Recorder) Record(ctx context.Context, now time.Time) {
	if end := now.Add(-lookAfter).Truncate(slice); !end.Equal(r.looked) {
		r.look(end, now)
	}
	r.add(now)
	r.write(ctx)
}

// add adds up what has arrived.
func (r *Recorder) add(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.minutes {
		for id, d := range m.demands {
			r.settle(id, d, m.end, now)
		}
	}
	for id, demand := range r.latest {
		if now.Sub(demand.At) > freshDemand {
			delete(r.latest, id)
		}
	}
}

// Demands returns what each workload did of late, as far as it is known.
func (r *Recorder) Demands(now time.Time) []Demand {
	r.mu.Lock()
	defer r.mu.Unlock()
	demands := make([]Demand, 0, len(r.latest))
	for _, demand := range r.latest {
		if now.Sub(demand.At) <= freshDemand {
			demands = append(demands, demand)
		}
	}
	return demands
}
