package storage

import (
	"context"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// metricSeries is the demand of a workload by a metric that a policy names, labels namespace, kind, name and metric, in the metric's
// own unit.
const metricSeries = "foretide_workload_metric_demand"

// MetricName names the demand of one workload by one metric, such as gpu-memory.
type MetricName struct {
	Workload Workload
	Metric   string
}

func (n MetricName) check() error {
	if n.Metric == "" {
		return refuse(ClassInvalid, "the metric of workload %s/%s/%s is empty", n.Workload.Namespace, n.Workload.Kind, n.Workload.Name)
	}
	return n.Workload.check()
}

func (n MetricName) series() labels.Labels {
	return labels.FromStrings(model.MetricNameLabel, metricSeries, "namespace", n.Workload.Namespace, "kind", n.Workload.Kind,
		"name", n.Workload.Name, "metric", n.Metric)
}

// AppendMetricDemand writes demands over the interval that ended at the given time; writing them again changes nothing. A wrong value is
// an error before anything is written.
func (s *Store) AppendMetricDemand(ctx context.Context, at time.Time, demands map[MetricName]float64) error {
	if err := checkTime("metric time", at, s.opts.Now(), s.opts.WorkloadRetention); err != nil {
		return err
	}
	samples := make([]sample, 0, len(demands))
	for name, value := range demands {
		if err := name.check(); err != nil {
			return err
		}
		if err := checkValue("demand by "+name.Metric, value); err != nil {
			return err
		}
		samples = append(samples, sample{name.series(), at, value})
	}
	db, err := s.workload.useToWrite()
	if err != nil {
		return err
	}
	defer db.release()
	return db.write(ctx, samples)
}

// AppendMetricHistory writes a recorded demand beside what is there, as [Store.AppendDemandHistory] does.
func (s *Store) AppendMetricHistory(ctx context.Context, name MetricName, points []Point) (int, error) {
	if err := name.check(); err != nil {
		return 0, err
	}
	return s.appendHistory(ctx, name.series(), points)
}

// MetricTotals returns how much of it is recorded, as [Store.DemandTotals] does.
func (s *Store) MetricTotals(ctx context.Context, from, to time.Time, step time.Duration) ([]Total, error) {
	return s.totals(ctx, metricSeries, from, to, step)
}

// MetricDemand returns the demand of a workload by a metric, on the grid of [Store.Demand].
func (s *Store) MetricDemand(ctx context.Context, name MetricName, from, to time.Time, step time.Duration) ([]float64, error) {
	if err := name.check(); err != nil {
		return nil, err
	}
	return s.grid(ctx, matchersOf(name.series()), from, to, step)
}
