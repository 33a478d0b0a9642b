package engine

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/common/model"
)

// The series of a workload, with the labels namespace, kind and name, one sample a minute: the demand in GPU units, and how many
// pods shared it.
const (
	demandSeries = "foretide_workload_demand_gpus"
	podsSeries   = "foretide_workload_pods"
	// metricSeries has a label more, metric: the demand by a metric that a policy names, in that one's unit.
	metricSeries = "foretide_workload_metric_demand"
)

const (
	// maxGridSteps bounds what one call of Demand may allocate: 90 days of 10 s steps are 777,600.
	maxGridSteps = 1 << 20
	// demandChunk and historyChunk are what one request reads: 10,080 samples of one workload and replica, 60 of each of all.
	demandChunk  = 7 * 24 * time.Hour
	historyChunk = time.Hour
)

// Workload names what a scale target's pods are, such as {default, Deployment, bert-intent-detection}.
type Workload struct {
	Namespace, Kind, Name string
}

// Name names what is recorded of a workload; Metric is empty but for its demand by a metric that a policy names.
type Name struct {
	Workload
	Metric string
}

// Demand returns the demand history of a workload in GPU units on a regular grid: from and to are rounded down to whole steps
// since the Unix epoch, and value i is the mean of what was recorded for the interval of one step that starts at
// from + i × step, that is of the samples stamped after its start and up to its end. NaN means the engine knows nothing of that
// step. It is what the local store answers for the same samples.
func (c *Client) Demand(ctx context.Context, workload Workload, from, to time.Time, step time.Duration) ([]float64, error) {
	return c.grid(ctx, demandSeries, Name{Workload: workload}, from, to, step)
}

// MetricDemand returns in the same way the demand by a metric that a policy names, in that one's unit.
func (c *Client) MetricDemand(ctx context.Context, name Name, from, to time.Time, step time.Duration) ([]float64, error) {
	return c.grid(ctx, metricSeries, name, from, to, step)
}

// Pods returns in the same way how many pods shared the demand.
func (c *Client) Pods(ctx context.Context, workload Workload, from, to time.Time, step time.Duration) ([]float64, error) {
	return c.grid(ctx, podsSeries, Name{Workload: workload}, from, to, step)
}

// grid is [Client.Demand] of any series of a workload.
func (c *Client) grid(ctx context.Context, series string, of Name, from, to time.Time, step time.Duration) ([]float64, error) {
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
	recorded := moments{}
	selector := fmt.Sprintf("%s{namespace=%q,kind=%q,name=%q,metric=%q}", series, of.Namespace, of.Kind, of.Name, of.Metric)
	err := c.chunks(ctx, selector, time.UnixMilli(first), time.UnixMilli(last), demandChunk, func(s *model.SampleStream, after, last int64) {
		recorded.take(s.Values, after, last)
	})
	if err != nil {
		return nil, fmt.Errorf("%s of %s/%s/%s: %w", series, of.Namespace, of.Kind, of.Name, err)
	}
	return means(recorded, first, width, int(n)), nil
}

// WorkloadHistory returns the recorded demand of every workload within (from, to], in the order of time. All of it is held in
// memory: of thousands of workloads ask for a day at a time.
func (c *Client) WorkloadHistory(ctx context.Context, from, to time.Time) (map[Name][]Point, error) {
	return c.history(ctx, demandSeries, from, to)
}

// WorkloadPods returns in the same way how many pods shared the demand.
func (c *Client) WorkloadPods(ctx context.Context, from, to time.Time) (map[Name][]Point, error) {
	return c.history(ctx, podsSeries, from, to)
}

// MetricHistory returns in the same way the demand by metrics that policies name.
func (c *Client) MetricHistory(ctx context.Context, from, to time.Time) (map[Name][]Point, error) {
	return c.history(ctx, metricSeries, from, to)
}

// Total tells of many values whether they are the same as others, without them.
type Total struct {
	Values int
	Sum    float64
}

// WorkloadTotals returns how much demand of all workloads is recorded for each step of (from, to], which are whole steps since the
// Unix epoch.
func (c *Client) WorkloadTotals(ctx context.Context, from, to time.Time, step time.Duration) ([]Total, error) {
	return c.totals(ctx, demandSeries, from, to, step)
}

// PodsTotals returns the same of how many pods shared the demand.
func (c *Client) PodsTotals(ctx context.Context, from, to time.Time, step time.Duration) ([]Total, error) {
	return c.totals(ctx, podsSeries, from, to, step)
}

// MetricTotals returns the same of the demand by metrics that policies name.
func (c *Client) MetricTotals(ctx context.Context, from, to time.Time, step time.Duration) ([]Total, error) {
	return c.totals(ctx, metricSeries, from, to, step)
}

func (c *Client) totals(ctx context.Context, series string, from, to time.Time, step time.Duration) ([]Total, error) {
	out := make([]Total, to.Sub(from)/step)
	if len(out) == 0 {
		return nil, nil
	}
	for function, set := range map[string]func(t *Total, v float64){
		"count_over_time": func(t *Total, v float64) { t.Values = int(v) },
		"sum_over_time":   func(t *Total, v float64) { t.Sum = v },
	} {
		answer, err := c.Range(ctx, fmt.Sprintf("sum(%s(%s[%dms]))", function, series, step.Milliseconds()), from.Add(step), to, step)
		if err != nil {
			return nil, fmt.Errorf("%s of all workloads: %w", series, err)
		}
		for _, s := range answer {
			for _, p := range s.Points {
				if i := int(p.Time.Sub(from)/step) - 1; i >= 0 && i < len(out) {
					set(&out[i], p.Value)
				}
			}
		}
	}
	return out, nil
}

func (c *Client) history(ctx context.Context, series string, from, to time.Time) (map[Name][]Point, error) {
	recorded := map[Name]moments{}
	err := c.chunks(ctx, series, from, to, historyChunk, func(s *model.SampleStream, after, last int64) {
		w := Workload{Namespace: string(s.Metric["namespace"]), Kind: string(s.Metric["kind"]), Name: string(s.Metric["name"])}
		name := Name{w, string(s.Metric["metric"])}
		if w.Namespace == "" || w.Kind == "" || w.Name == "" || (name.Metric == "") == (series == metricSeries) {
			return // not one of ours: it could be nobody's history
		}
		if recorded[name] == nil {
			recorded[name] = moments{}
		}
		recorded[name].take(s.Values, after, last)
	})
	if err != nil {
		return nil, fmt.Errorf("%s of all workloads: %w", series, err)
	}
	out := make(map[Name][]Point, len(recorded))
	for w, m := range recorded {
		for _, t := range m.times() {
			out[w] = append(out[w], Point{time.UnixMilli(t), m[t]})
		}
	}
	return out, nil
}

// chunks reads the samples within (from, to] piece by piece.
func (c *Client) chunks(ctx context.Context, selector string, from, to time.Time, size time.Duration, each func(s *model.SampleStream, after, last int64)) error {
	for from.Before(to) {
		end := earlier(to, from.Add(size))
		matrix, err := c.samples(ctx, tries, selector, from, end)
		if err != nil {
			return err
		}
		for _, s := range matrix {
			each(s, from.UnixMilli(), end.UnixMilli())
		}
		from = end
	}
	return nil
}

// means puts samples on a grid of n steps of a width that begins at first.
func means(recorded moments, first, width int64, n int) []float64 {
	sums, counts := make([]float64, n), make([]int, n)
	for _, t := range recorded.times() { // in order, so that the same samples give the same sum to the last bit
		i := (t - first - 1) / width
		sums[i] += recorded[t]
		counts[i]++
	}
	for i, k := range counts {
		if k == 0 {
			sums[i] = math.NaN()
		} else {
			sums[i] /= float64(k)
		}
	}
	return sums
}

// floorTo rounds down to a multiple of width, also below zero.
func floorTo(v, width int64) int64 {
	return v - ((v%width)+width)%width
}
