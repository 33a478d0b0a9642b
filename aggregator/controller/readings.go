package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

const (
	// readEvery is how often a metric other than busy GPUs is read: it comes from scrapes, whose own interval is longer, and thousands of
	// policies would ask queries each two seconds.
	readEvery = 5 * time.Second
	// readHolds is how long what was read stands while it cannot be read again. A query that fails now and then is not worth an event and
	// a write of the status each time.
	readHolds = 15 * time.Second
)

// readings are the metrics of a policy as they were last read, by what their history is kept under.
type readings map[string]metricReading

type metricReading struct {
	amounts Amounts
	at      time.Time
}

// reading is a metric now: as it was read a moment ago where that tells of all pods that are ready, or as long as it cannot be read.
func (e *Evaluator) reading(ctx context.Context, l look, spec v1alpha1.MetricSpec) (Amounts, error) {
	last, known := l.readings[spec.History()]
	age := l.now.Sub(last.at)
	if known && age >= 0 && age < readEvery && last.covers(l.target.Pods) {
		return last.amounts, nil
	}
	a, err := e.read(ctx, l, spec)
	switch {
	case err == nil:
		l.readings[spec.History()] = metricReading{a, l.now}
	case known && age >= 0 && age < readHolds:
		return last.amounts, nil
	}
	return a, err
}

// covers tells whether it tells of all pods that are ready, as far as a metric is a pod's.
func (r metricReading) covers(pods []Pod) bool {
	if r.amounts.Whole != nil {
		return true
	}
	for _, pod := range pods {
		if _, ok := r.amounts.Pods[pod.Name]; !ok && pod.State == scaling.Ready {
			return false
		}
	}
	return true
}

func (e *Evaluator) read(ctx context.Context, l look, spec v1alpha1.MetricSpec) (Amounts, error) {
	if e.metrics == nil {
		return Amounts{}, fmt.Errorf("only %s is known here", GPU)
	}
	a, err := e.metrics.Metric(ctx, l.target, spec, l.now)
	if err == nil && a.Whole != nil && !scaling.IsAmount(*a.Whole) {
		return Amounts{}, fmt.Errorf("it is %g; it must be from 0 to %g", *a.Whole, scaling.MostAmount)
	}
	return a, err
}
