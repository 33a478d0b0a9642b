// Package exporter serves what this node knows in Prometheus' exposition: the latest batch under the catalogue's names and
// under those NVIDIA's dcgm-exporter uses, and how the agent itself is doing.
//
//	latest batch → foretide_device_*, foretide_pod_*, foretide_unattributed_*, DCGM_FI_*
//	rooms' states → foretide_agent_*
//
// What inference servers say of themselves is in the batch too and is not shown: it is on their own pages, where those who
// want it have it already.
package exporter

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foretide/foretide/pkg/telemetry"
)

// staleAfter is after how many intervals without a new batch the old one is no longer shown. A series that stops says that
// nothing is known; one that repeats its last value would say that nothing changed.
const staleAfter = 3

// Options configures an [Exporter].
type Options struct {
	// Node is the value of the labels Hostname and hostname.
	Node string
	// Version is the agent's own.
	Version string
	// Interval says how long batches are apart at present. One may come earlier and then span less.
	Interval func() time.Duration
	// WithoutDCGM leaves out the series under DCGM's names.
	WithoutDCGM bool
	// Self is asked at each scrape how the agent is doing.
	Self       func() Self
	Registerer prometheus.Registerer
	// Now is the clock; nil takes the system's.
	Now func() time.Time
}

// Exporter holds the latest batch.
type Exporter struct {
	o       Options
	devices devices
	dcgm    *dcgm // nil where its names are not wanted
	ticks   prometheus.Histogram
	calls   *prometheus.HistogramVec

	mu     sync.Mutex
	latest telemetry.Batch
	came   time.Time
}

// New registers everything with the registerer.
func New(o Options) (*Exporter, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	e := &Exporter{o: o, devices: newDevices(), ticks: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "foretide_agent_tick_duration_seconds",
		Help: "Time one tick took: reading every device and asking the kubelet.",
		Unit: "seconds",
		// From a few devices on an idle node to a driver that hardly answers.
		Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10},
	}), calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "foretide_agent_nvml_call_duration_seconds",
		Help: "Time the driver took to answer one call, by NVML function.",
		Unit: "seconds",
		// Few, for there is a histogram for each of some dozens of functions: an answer from memory, from the device, from a
		// device that must be woken.
		Buckets: []float64{10e-6, 100e-6, 1e-3, 10e-3, 100e-3, 1},
	}, []string{"function"})}
	if !o.WithoutDCGM {
		e.dcgm = newDCGM(o.Node)
	}
	return e, errors.Join(
		o.Registerer.Register(e.ticks),
		o.Registerer.Register(e.calls),
		o.Registerer.Register(newSelfCollector(o.Version, o.Self)),
		o.Registerer.Register(e),
	)
}

// Put replaces the batch that is shown.
func (e *Exporter) Put(b telemetry.Batch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.latest, e.came = b, e.o.Now()
}

// ObserveTick counts one tick of the sampler.
func (e *Exporter) ObserveTick(d time.Duration) { e.ticks.Observe(d.Seconds()) }

// ObserveCall counts one call of an NVML function, such as nvmlDeviceGetSamples. It may be called by many at a time.
func (e *Exporter) ObserveCall(function string, d time.Duration) {
	e.calls.WithLabelValues(function).Observe(d.Seconds())
}

// Describe implements prometheus.Collector.
func (e *Exporter) Describe(out chan<- *prometheus.Desc) {
	e.devices.describe(out)
	if e.dcgm != nil {
		e.dcgm.describe(out)
	}
}

// Collect implements prometheus.Collector.
func (e *Exporter) Collect(out chan<- prometheus.Metric) {
	e.mu.Lock()
	b, came := e.latest, e.came
	e.mu.Unlock()
	interval := max(e.o.Interval(), b.End.Sub(b.Start))
	if e.o.Now().Sub(came) > staleAfter*interval {
		return
	}
	e.devices.collect(b, out)
	if e.dcgm != nil {
		e.dcgm.collect(b, out)
	}
}
