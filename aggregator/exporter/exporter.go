// Package exporter shows what the aggregator knows and decides as Prometheus metrics.
//
//	policies as they are decided ──────┐
//	demand of workloads, forecasts ────┼─► /metrics
//	newest batch of nodes ─────────────┘
//
// What is not known has no series: a missing series is something else than a 0.
package exporter

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// DefaultStaleAfter is how long the numbers of a policy are shown after it was last decided.
const DefaultStaleAfter = time.Minute

// Policy is one policy as it was last decided. Pointers are nil when the value is not known.
type Policy struct {
	Namespace, Name string
	At              time.Time
	// Took is how long the decision took, from reading the target to applying it.
	Took time.Duration

	Min, Max                              int32
	Current, Desired, Proactive, Reactive *int32
	TargetPercent                         int32
	UtilizationPercent                    *int32
	// Lead is how far ahead pods are asked for. Saturated: the ready pods are busy all the time; nil while their load is not known.
	Lead      time.Duration
	Saturated *bool
	// Reason is the decision's, or that of the problem which prevented one.
	Reason string
	// ForecastReady: the forecast takes part in the decision. DataFresh: there is telemetry of every ready pod; nil where
	// there is none to wait for.
	ForecastReady bool
	DataFresh     *bool
	Peaks         []Peak
}

// Peak is the largest demand forecast within the policy's lead time at a quantile (0 to 1).
type Peak struct {
	Quantile, GPUs float64
}

// Demand is what a workload's pods do now, in busy GPUs, and how many ready pods share it.
type Demand struct {
	Namespace, Kind, Name string
	BusyGPUs, Pods        float64
}

// Node is when the newest batch of a node ended, by the node's clock.
type Node struct {
	Name      string
	LastBatch time.Time
}

// Options is what an Exporter needs.
type Options struct {
	// Demands, Forecasts and Nodes are asked at each scrape.
	Demands   func(now time.Time) []Demand
	Forecasts func(now time.Time) []Forecast
	Nodes     func(now time.Time) []Node
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// StaleAfter is how long a policy's numbers are shown after it was last decided; 0 means DefaultStaleAfter.
	StaleAfter time.Duration
}

// Exporter is a prometheus.Collector.
type Exporter struct {
	opts Options
	took prometheus.Histogram
	desc descriptions

	mu       sync.Mutex
	policies map[policyName]Policy
}

type policyName struct{ namespace, name string }

// New returns an Exporter, to be registered by the caller.
func New(opts Options) (*Exporter, error) {
	if opts.Demands == nil || opts.Forecasts == nil || opts.Nodes == nil {
		return nil, errors.New("exporter: Options.Demands, Forecasts and Nodes are all needed")
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.StaleAfter == 0 {
		opts.StaleAfter = DefaultStaleAfter
	}
	return &Exporter{
		opts: opts,
		desc: newDescriptions(),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "foretide_aggregator_decision_duration_seconds",
			Help:    "How long a decision took, from reading the scale target to having applied it.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}),
		policies: make(map[policyName]Policy),
	}, nil
}

// Observe takes a policy as it was just decided.
func (e *Exporter) Observe(p Policy) {
	e.took.Observe(p.Took.Seconds())
	e.mu.Lock()
	defer e.mu.Unlock()
	e.policies[policyName{p.Namespace, p.Name}] = p
}

// Forget takes a policy that is gone.
func (e *Exporter) Forget(namespace, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.policies, policyName{namespace, name})
}

// Describe implements prometheus.Collector.
func (e *Exporter) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range e.desc.all() {
		out <- desc
	}
	e.took.Describe(out)
}

// Collect implements prometheus.Collector.
func (e *Exporter) Collect(out chan<- prometheus.Metric) {
	now := e.opts.Now()
	policies := e.fresh(now)
	for _, p := range policies {
		e.collectPolicy(out, p)
	}
	e.desc.collectPass(out, policies, now)
	for _, f := range e.opts.Forecasts(now) {
		e.desc.forecasts.collect(out, f)
	}
	for _, d := range e.opts.Demands(now) {
		out <- gauge(e.desc.demand, d.BusyGPUs, d.Namespace, d.Kind, d.Name)
		out <- gauge(e.desc.pods, d.Pods, d.Namespace, d.Kind, d.Name)
	}
	for _, n := range e.opts.Nodes(now) {
		out <- gauge(e.desc.lastBatch, float64(n.LastBatch.UnixMilli())/1000, n.Name)
	}
	e.took.Collect(out)
}

func (e *Exporter) fresh(now time.Time) []Policy {
	e.mu.Lock()
	defer e.mu.Unlock()
	policies := make([]Policy, 0, len(e.policies))
	for _, p := range e.policies {
		if now.Sub(p.At) <= e.opts.StaleAfter {
			policies = append(policies, p)
		}
	}
	return policies
}

func (e *Exporter) collectPolicy(out chan<- prometheus.Metric, p Policy) {
	d := e.desc
	put := func(desc *prometheus.Desc, value float64) { out <- gauge(desc, value, p.Namespace, p.Name) }
	count := func(desc *prometheus.Desc, value *int32) {
		if value != nil {
			put(desc, float64(*value))
		}
	}
	count(d.current, p.Current)
	count(d.desired, p.Desired)
	count(d.proactive, p.Proactive)
	count(d.reactive, p.Reactive)
	put(d.min, float64(p.Min))
	put(d.max, float64(p.Max))
	put(d.target, float64(p.TargetPercent)/100)
	if p.UtilizationPercent != nil {
		put(d.utilization, float64(*p.UtilizationPercent)/100)
	}
	put(d.lead, p.Lead.Seconds())
	if p.Saturated != nil {
		put(d.saturated, number(*p.Saturated))
	}
	put(d.forecastReady, number(p.ForecastReady))
	for _, peak := range p.Peaks {
		out <- gauge(d.peak, peak.GPUs, p.Namespace, p.Name, strconv.FormatFloat(peak.Quantile, 'g', -1, 64))
	}
	if p.DataFresh != nil {
		put(d.dataFresh, number(*p.DataFresh))
	}
	if p.Reason != "" {
		out <- gauge(d.decision, 1, p.Namespace, p.Name, p.Reason)
	}
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
