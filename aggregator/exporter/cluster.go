package exporter

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// GPUs are those of a type that the cluster has.
type GPUs struct {
	Type                         string
	Allocatable, Requested, Free float64
}

// Needed are the GPUs of a type that policies need: now, and at most at one time within each horizon.
type Needed struct {
	Type string
	Now  float64
	Ever []Horizon
}

// Horizon is the most that is needed at one time within a time from now on, such as "24h": the sum of what is expected of each
// workload, and of a quantile of each.
type Horizon struct {
	Name        string
	Mean, Upper float64
}

// ClusterOptions is what a Cluster needs; both are asked at each scrape.
type ClusterOptions struct {
	GPUs   func() []GPUs
	Needed func(now time.Time) []Needed
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Cluster is a prometheus.Collector of the GPUs that the cluster has and that its policies need.
type Cluster struct {
	opts                                ClusterOptions
	gpus, needed, forecast, upperBounds *prometheus.Desc
}

// NewCluster returns a Cluster, to be registered by the caller.
func NewCluster(opts ClusterOptions) *Cluster {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("foretide_cluster_"+name, help, append([]string{"type"}, labels...), nil)
	}
	return &Cluster{
		opts: opts,
		gpus: desc("gpus", "GPUs (for MIG and shares: extended resources) by type: allocatable on all nodes, requested by pods on them, and free on those that are ready "+
			"and not cordoned. Those of ResourceClaims are not counted.", "state"),
		needed: desc("needed_gpus", "GPUs that the replicas decided by all policies hold; under the strategy observer they are not applied."),
		forecast: desc("forecast_gpus", "Most GPUs needed at one time within the horizon, as forecast: the sum over workloads of mean demand "+
			"by the target utilization, between minReplicas and maxReplicas.", "horizon"),
		upperBounds: desc("forecast_upper_gpus", "The same of the p95 of each workload's demand. That is the p95 of the sum if all workloads are surprised "+
			"at the same time, and more than it where their surprises have little to do with each other.", "horizon"),
	}
}

// Describe implements prometheus.Collector.
func (c *Cluster) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.gpus, c.needed, c.forecast, c.upperBounds} {
		out <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *Cluster) Collect(out chan<- prometheus.Metric) {
	for _, g := range c.opts.GPUs() {
		out <- gauge(c.gpus, g.Allocatable, g.Type, "allocatable")
		out <- gauge(c.gpus, g.Requested, g.Type, "requested")
		out <- gauge(c.gpus, g.Free, g.Type, "free")
	}
	for _, n := range c.opts.Needed(c.opts.Now()) {
		out <- gauge(c.needed, n.Now, n.Type)
		for _, h := range n.Ever {
			out <- gauge(c.forecast, h.Mean, n.Type, h.Name)
			out <- gauge(c.upperBounds, h.Upper, n.Type, h.Name)
		}
	}
}
