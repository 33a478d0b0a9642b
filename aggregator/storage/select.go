package storage

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// maxGridSteps bounds what one call of Demand or Forecasts may allocate: 90 days of 10 s steps are 777,600.
const maxGridSteps = 1 << 20

// Demand returns the demand history of a workload in GPU units on a regular grid: from and to are rounded down to whole steps
// since the Unix epoch, and value i is the mean of what was recorded for the interval of one step that starts at
// from + i × step, that is of the samples stamped after its start and up to its end. NaN means nothing is known of that step;
// a workload nobody has heard of is all NaN.
func (s *Store) Demand(ctx context.Context, workload Workload, from, to time.Time, step time.Duration) ([]float64, error) {
	if err := workload.check(); err != nil {
		return nil, err
	}
	return s.grid(ctx, workload.matchers(demandSeries), from, to, step)
}

// Pods returns how many pods shared the demand of a workload, in the same way.
func (s *Store) Pods(ctx context.Context, workload Workload, from, to time.Time, step time.Duration) ([]float64, error) {
	if err := workload.check(); err != nil {
		return nil, err
	}
	return s.grid(ctx, workload.matchers(podsSeries), from, to, step)
}

// grid is [Store.Demand] of any series of the workload tier.
func (s *Store) grid(ctx context.Context, matchers []*labels.Matcher, from, to time.Time, step time.Duration) ([]float64, error) {
	if step < time.Second || step%time.Millisecond != 0 {
		return nil, fmt.Errorf("step is %v: it must be at least 1s, in whole milliseconds", step)
	}
	width := step.Milliseconds()
	first, last := floorTo(from.UnixMilli(), width), floorTo(to.UnixMilli(), width)
	n := (last - first) / width
	if n <= 0 || n > maxGridSteps {
		return nil, fmt.Errorf("range [%s, %s) in steps of %v has %d steps: between 1 and %d are allowed",
			from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339), step, n, maxGridSteps)
	}
	db, err := s.workload.use()
	if err != nil {
		return nil, err
	}
	defer db.release()
	sums, counts := make([]float64, n), make([]int, n)
	err = db.each(ctx, first+1, last, func(t int64, v float64) {
		i := (t - first - 1) / width
		sums[i] += v
		counts[i]++
	}, matchers...)
	if err != nil {
		return nil, err
	}
	for i, c := range counts {
		if c == 0 {
			sums[i] = math.NaN()
		} else {
			sums[i] /= float64(c)
		}
	}
	return sums, nil
}

// Total tells of many values whether they are the same as others, without them.
type Total struct {
	Values int
	Sum    float64
}

// DemandTotals returns how much demand of all workloads is recorded for each step of (from, to], which are whole steps since the Unix
// epoch.
func (s *Store) DemandTotals(ctx context.Context, from, to time.Time, step time.Duration) ([]Total, error) {
	return s.totals(ctx, demandSeries, from, to, step)
}

// PodsTotals returns the same of how many pods shared the demand.
func (s *Store) PodsTotals(ctx context.Context, from, to time.Time, step time.Duration) ([]Total, error) {
	return s.totals(ctx, podsSeries, from, to, step)
}

func (s *Store) totals(ctx context.Context, name string, from, to time.Time, step time.Duration) ([]Total, error) {
	out := make([]Total, to.Sub(from)/step)
	if len(out) == 0 {
		return nil, nil
	}
	db, err := s.workload.use()
	if err != nil {
		return nil, err
	}
	defer db.release()
	first := from.UnixMilli()
	last := first + int64(len(out))*step.Milliseconds()
	err = db.each(ctx, first+1, last, func(t int64, v float64) {
		total := &out[(t-first-1)/step.Milliseconds()]
		total.Values++
		total.Sum += v
	}, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name))
	return out, err
}

// each calls f for every sample of the series that match within [first, last] milliseconds, of each series oldest first.
func (d *database) each(ctx context.Context, first, last int64, f func(t int64, v float64), matchers ...*labels.Matcher) error {
	q, err := d.Querier(first, last)
	if err != nil {
		return fmt.Errorf("read tier %s: %w", d.name, err)
	}
	defer func() { _ = q.Close() }()
	set := q.Select(ctx, false, nil, matchers...)
	for set.Next() {
		samples := set.At().Iterator(nil)
		for samples.Next() == chunkenc.ValFloat {
			if t, v := samples.At(); t >= first && t <= last {
				f(t, v)
			}
		}
		if err := samples.Err(); err != nil {
			return fmt.Errorf("read %v: %w", matchers, err)
		}
	}
	if err := set.Err(); err != nil {
		return fmt.Errorf("read %v: %w", matchers, err)
	}
	return nil
}

// floorTo rounds down to a multiple of width, also below zero.
func floorTo(v, width int64) int64 {
	return v - ((v%width)+width)%width
}
