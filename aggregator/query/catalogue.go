package query

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"

	"github.com/foretide/foretide/pkg/telemetry"
)

// catalogue is what is known of the series that are stored, in the form in which Prometheus keeps what it scraped.
type catalogue []scrape.MetricMetadata

// newCatalogueTarget returns a target that has the catalogue, since Prometheus' API looks for metadata at its targets.
func newCatalogueTarget() *scrape.Target {
	t := scrape.NewTarget(labels.EmptyLabels(), &config.ScrapeConfig{}, nil, nil)
	t.SetMetadataStore(newCatalogue())
	return t
}

func newCatalogue() catalogue {
	c := catalogue{
		{MetricFamily: "foretide_workload_demand_gpus", Type: model.MetricTypeGauge, Unit: "gpus",
			Help: "Demand of a workload's pods in busy GPUs, a sample a minute."},
		{MetricFamily: "foretide_forecast_demand_gpus", Type: model.MetricTypeGauge, Unit: "gpus",
			Help: "Demand forecast at a quantile, a sample a minute, stamped with when it was made: of the five minutes that end the lead after it (1m: of the first five)."},
		{MetricFamily: "foretide_workload_pods", Type: model.MetricTypeGauge, Unit: "pods",
			Help: "Ready pods that shared the workload's demand."},
		{MetricFamily: "foretide_workload_metric_demand", Type: model.MetricTypeGauge,
			Help: "Demand of a workload by a metric that a policy names, in that metric's unit: what all pods use of it, or its value of the whole (times the ready pods where the target is a Value). A sample a minute."},
	}
	for _, d := range telemetry.Catalogue() {
		c = c.with(d.Name, d, d.Help)
		c = c.with(d.UsageName(), d, d.Help+" What one container had of it.")
		c = c.with(d.UnattributedName(), d, d.Help+" The part of no container.")
	}
	slices.SortFunc(c, func(a, b scrape.MetricMetadata) int { return strings.Compare(a.MetricFamily, b.MetricFamily) })
	return c
}

// with adds a series of a metric; one without a name does not exist.
func (c catalogue) with(name string, d telemetry.Definition, help string) catalogue {
	if name == "" {
		return c
	}
	return append(c, scrape.MetricMetadata{MetricFamily: name, Type: model.MetricType(d.Kind), Unit: d.Unit, Help: help})
}

// ListMetadata implements scrape.MetricMetadataStore.
func (c catalogue) ListMetadata() []scrape.MetricMetadata { return c }

// GetMetadata implements scrape.MetricMetadataStore.
func (c catalogue) GetMetadata(name string) (scrape.MetricMetadata, bool) {
	i, found := slices.BinarySearchFunc(c, name, func(m scrape.MetricMetadata, name string) int { return strings.Compare(m.MetricFamily, name) })
	if !found {
		return scrape.MetricMetadata{}, false
	}
	return c[i], true
}

// LengthMetadata implements scrape.MetricMetadataStore.
func (c catalogue) LengthMetadata() int { return len(c) }

// SizeMetadata implements scrape.MetricMetadataStore.
func (c catalogue) SizeMetadata() (bytes int) {
	for _, m := range c {
		bytes += len(m.MetricFamily) + len(m.Help) + len(m.Unit)
	}
	return bytes
}
