package storage

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// forecastSeries is what was forecast of a workload's demand, labels namespace, kind, name, quantile and lead. Its samples are
// stamped with when the forecast was made, so that one of lead="1h" is of the minute that ended an hour after its stamp.
const forecastSeries = "foretide_forecast_demand_gpus"

// ForecastName names the forecasts of one workload's demand at one quantile, such as "0.95", and one lead, such as "1h".
type ForecastName struct {
	Workload       Workload
	Quantile, Lead string
}

// ForecastPoint is one of them.
type ForecastPoint struct {
	ForecastName
	// Made is when the forecast was made.
	Made time.Time
	// GPUs is the demand forecast, in GPU units.
	GPUs float64
}

// AppendForecasts writes what was forecast, to one part in 8192; writing the newest again changes nothing. A wrong point is an error before anything is
// written; after another some of the points may have been.
func (s *Store) AppendForecasts(ctx context.Context, points []ForecastPoint) error {
	now := s.opts.Now()
	for _, p := range points {
		if err := p.Workload.check(); err != nil {
			return err
		}
		if p.Quantile == "" || p.Lead == "" {
			return refuse(ClassInvalid, "forecast has quantile %q, lead %q: neither may be empty", p.Quantile, p.Lead)
		}
		if err := checkValue("forecast GPUs", p.GPUs); err != nil {
			return err
		}
		if err := checkTime("forecast time", p.Made, now, s.opts.WorkloadRetention); err != nil {
			return err
		}
	}
	db, err := s.workload.useToWrite()
	if err != nil {
		return err
	}
	defer db.release()
	for part := range slices.Chunk(points, historyCommit) {
		if err := ctx.Err(); err != nil {
			return err
		}
		samples := make([]sample, 0, len(part))
		for _, p := range part {
			samples = append(samples, sample{p.series(), p.Made, coarse(p.GPUs)})
		}
		if err := db.write(ctx, samples); err != nil {
			return err
		}
	}
	return nil
}

// Forecasts returns what was forecast under a name, on the grid of [Store.Demand]: value i was made after from + i × step and up to
// the end of that step. NaN means that none was.
func (s *Store) Forecasts(ctx context.Context, name ForecastName, from, to time.Time, step time.Duration) ([]float64, error) {
	if err := name.Workload.check(); err != nil {
		return nil, err
	}
	return s.grid(ctx, matchersOf(name.series()), from, to, step)
}

func (n ForecastName) series() labels.Labels {
	return labels.FromStrings(model.MetricNameLabel, forecastSeries, "namespace", n.Workload.Namespace, "kind", n.Workload.Kind,
		"name", n.Workload.Name, "quantile", n.Quantile, "lead", n.Lead)
}

// dropped is how many of the 52 bits of a number's fraction are not kept of a forecast: nobody knows the future that well, and a
// block takes two bytes for a sample instead of seven.
const dropped = 40

// coarse rounds to the bits that are kept.
func coarse(v float64) float64 {
	return math.Float64frombits((math.Float64bits(v) + 1<<(dropped-1)) >> dropped << dropped)
}
