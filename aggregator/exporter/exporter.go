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
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// DefaultStaleAfter is how long the numbers of a policy are shown after it was last decided.
const DefaultStaleAfter = time.Minute

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
	// DecisionReasons and LimitReasons are the words that a Policy's Reason and Limited may be; others are shown while they hold.
	DecisionReasons, LimitReasons []string
	// AHPANames shows policies under the names of Alibaba Cloud's AHPA as well: six series for each.
	AHPANames bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// StaleAfter is how long a policy's numbers are shown after it was last decided; 0 means DefaultStaleAfter.
	StaleAfter time.Duration
}

// Exporter is a prometheus.Collector.
type Exporter struct {
	opts Options
	took prometheus.Histogram
	age  prometheus.Histogram
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
		desc: newDescriptions(opts.DecisionReasons, opts.LimitReasons),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "foretide_aggregator_decision_duration_seconds",
			Help:    "How long a decision took, from reading the scale target to having applied it.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}),
		age: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "foretide_aggregator_decision_telemetry_age_seconds",
			Help:    "How old the newest telemetry of its pods was when a policy was decided: since the end of its window, by the node's clock.",
			Buckets: []float64{0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32},
		}),
		policies: make(map[policyName]Policy),
	}, nil
}

// Observe takes a policy as it was just decided.
func (e *Exporter) Observe(p Policy) {
	e.took.Observe(p.Took.Seconds())
	if p.Age != nil {
		e.age.Observe(max(0, p.Age.Seconds())) // a node's clock may be ahead
	}
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
	for _, desc := range e.desc.all(e.opts.AHPANames) {
		out <- desc
	}
	e.took.Describe(out)
	e.age.Describe(out)
}

// Collect implements prometheus.Collector.
func (e *Exporter) Collect(out chan<- prometheus.Metric) {
	now := e.opts.Now()
	policies := e.fresh(now)
	for _, p := range policies {
		e.desc.policies.collect(out, p)
		if e.opts.AHPANames {
			e.desc.ahpa.collect(out, p)
		}
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
	e.age.Collect(out)
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

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
