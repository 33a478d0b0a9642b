package workload

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A minute's demand is the mean of six samples, taken at :10, :20, … :00, each of which the live view averages over the ten
// seconds before it. With fewer than four complete ones the minute is not known well enough and stays absent.
const (
	recordEvery   = time.Minute
	sampleEvery   = 10 * time.Second
	neededSamples = 4
)

// freshDemand is how old the newest sample of a workload may be and still say what it does now.
const freshDemand = 3 * sampleEvery

// RecorderOptions is what a Recorder needs.
type RecorderOptions struct {
	// Workloads lists the workloads to record, with their GPU pods: Directory.Workloads.
	Workloads func() []Workload
	// Load is what the devices of a pod on a node do, averaged over ten seconds that end with the node's newest batch, but not
	// beyond since. False when it is not known or stale.
	Load func(namespace, pod, node string, since, now time.Time) (Load, bool)
	// Append writes the demand of a workload over the minute that ended at a time.
	Append     func(ctx context.Context, id ID, at time.Time, busyGPUs, pods float64) error
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Load is what the devices of one pod do.
type Load struct {
	// GPUs is how many of its devices were read, BusyGPUs the sum of their utilization (1 = one device busy all the time).
	GPUs     int
	BusyGPUs float64
	// Settled is true when BusyGPUs tells only of the time after since; else nothing does yet.
	Settled bool
}

// Demand is what a workload's pods do now.
type Demand struct {
	ID ID
	// BusyGPUs is how many GPUs' worth of work there is; Pods how many ready pods share it.
	BusyGPUs, Pods float64
	At             time.Time
}

// Recorder writes the demand of every workload with GPU pods into the history, policy or not, once a minute.
type Recorder struct {
	opts    RecorderOptions
	minutes *prometheus.CounterVec

	mu     sync.Mutex
	end    time.Time // of the minute being added up
	sums   map[ID]*sum
	latest map[ID]Demand
}

// sum adds up the complete samples of one workload in one minute.
type sum struct {
	busy, pods float64
	samples    int
}

// NewRecorder prepares a Recorder; Start runs it.
func NewRecorder(opts RecorderOptions) (*Recorder, error) {
	if opts.Workloads == nil || opts.Load == nil || opts.Append == nil || opts.Logger == nil || opts.Registerer == nil {
		return nil, errors.New("workload: RecorderOptions needs all of its fields")
	}
	r := &Recorder{
		opts:   opts,
		sums:   make(map[ID]*sum),
		latest: make(map[ID]Demand),
		minutes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "foretide_aggregator_demand_minutes_total",
			Help: "Minutes of a workload's demand by what became of them: written, unknown (telemetry of a ready pod was missing) or failed (the store refused).",
		}, []string{"result"}),
	}
	for _, result := range []string{"written", "unknown", "failed"} {
		r.minutes.WithLabelValues(result)
	}
	if err := opts.Registerer.Register(r.minutes); err != nil {
		return nil, err
	}
	return r, nil
}

// Start samples at each full ten seconds of the clock until ctx is done.
func (r *Recorder) Start(ctx context.Context) error {
	for {
		now := time.Now()
		timer := time.NewTimer(now.Truncate(sampleEvery).Add(sampleEvery).Sub(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
			r.Sample(ctx, time.Now())
		}
	}
}

// Sample looks at every workload once, and writes the minute when it is over.
func (r *Recorder) Sample(ctx context.Context, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := now.Round(sampleEvery)
	end := at.Add(recordEvery - 1).Truncate(recordEvery)
	if !end.Equal(r.end) {
		r.write(ctx)
		r.end = end
	}
	for _, workload := range r.opts.Workloads() {
		total, ok := r.sums[workload.ID]
		if !ok {
			total = &sum{}
			r.sums[workload.ID] = total
		}
		busy, pods, complete := demandOf(workload, r.opts.Load, now)
		if !complete {
			continue
		}
		total.busy += busy
		total.pods += pods
		total.samples++
		r.latest[workload.ID] = Demand{ID: workload.ID, BusyGPUs: busy, Pods: pods, At: now}
	}
	if at.Equal(end) {
		r.write(ctx)
	}
	for id, demand := range r.latest {
		if now.Sub(demand.At) > freshDemand {
			delete(r.latest, id)
		}
	}
}

// demandOf adds up the work of a workload's pods. It is complete when there is a ready pod and the load of every ready pod is
// known, on each of its devices: one lost device hides a part of the demand. Starting pods are left out, and of a pod that
// became ready within the sample's ten seconds only the part since then counts: what a pod computes while it warms up is not
// demand. Pods on their way out still finish theirs, so theirs counts where it is known.
func demandOf(w Workload, loadOf func(namespace, pod, node string, since, now time.Time) (Load, bool), now time.Time) (busy, pods float64, complete bool) {
	for _, pod := range w.Pods {
		if pod.State == Unready {
			continue
		}
		load, ok := loadOf(w.ID.Namespace, pod.Name, pod.Node, pod.ReadySince, now)
		if pod.State == Ready {
			// A pod that has long been ready and of which nothing was read since has a node that lags: unknown, not idle.
			if !ok || float64(load.GPUs) < pod.GPUs || !load.Settled && now.Sub(pod.ReadySince) >= sampleEvery {
				return 0, 0, false
			}
			pods++
		}
		switch ready := now.Sub(pod.ReadySince); {
		case !ok || !load.Settled:
		case ready < sampleEvery:
			busy += load.BusyGPUs * ready.Seconds() / sampleEvery.Seconds()
		default:
			busy += load.BusyGPUs
		}
	}
	return busy, pods, pods > 0
}

// write hands the minute that ended to the store and starts a new one.
func (r *Recorder) write(ctx context.Context) {
	var failed int
	var failure error
	for id, total := range r.sums {
		if total.samples < neededSamples {
			r.minutes.WithLabelValues("unknown").Inc()
			continue
		}
		n := float64(total.samples)
		if err := r.opts.Append(ctx, id, r.end, total.busy/n, total.pods/n); err != nil {
			r.minutes.WithLabelValues("failed").Inc()
			failed, failure = failed+1, err
			continue
		}
		r.minutes.WithLabelValues("written").Inc()
	}
	clear(r.sums)
	if failed > 0 {
		r.opts.Logger.Error("demand not recorded", "workloads", failed, "minute", r.end, "err", failure)
	}
}

// Demands returns what each workload does now, as far as it is known.
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
