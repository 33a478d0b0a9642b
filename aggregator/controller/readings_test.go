package controller

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// counted is a metric that is read again and again, and cannot be at times.
type counted struct {
	value Amounts
	fails bool
	reads int
}

func (c *counted) Metric(context.Context, Target, v1alpha1.MetricSpec, time.Time) (Amounts, error) {
	c.reads++
	if c.fails {
		return Amounts{}, errors.New("the history is busy")
	}
	return c.value, nil
}

func TestAMetricIsReadOnceInAWhile(t *testing.T) {
	w, m := newWorld(4, 0.2), &counted{value: Amounts{Whole: new(65.0)}}
	e := NewEvaluator(w, m, w, nil)
	p := policy(with(true, waiting(tenEach())))
	for second := range 20 {
		if got := e.Evaluate(t.Context(), p, w.target, noon.Add(time.Duration(second)*time.Second)); got.Decision.Replicas != 7 {
			t.Fatalf("after %d s: %d replicas", second, got.Decision.Replicas)
		}
	}
	if m.reads != 4 {
		t.Errorf("%d reads in 20 s, want 4", m.reads)
	}
	e.Forget(p.UID)
	e.Evaluate(t.Context(), p, w.target, noon.Add(20*time.Second))
	if m.reads != 5 {
		t.Errorf("what was forgotten is still known")
	}
}

func TestAMetricThatFailsNowAndThenStandsForAMoment(t *testing.T) {
	w, m := newWorld(4, 0.01), &counted{value: Amounts{Whole: new(65.0)}}
	e := NewEvaluator(w, m, w, nil)
	p := policy(with(true, waiting(tenEach())))
	e.Evaluate(t.Context(), p, w.target, noon)
	m.fails = true
	for second, fresh := range map[int]State{5: True, 14: True, 15: False, 60: False} {
		got := e.Evaluate(t.Context(), p, w.target, noon.Add(time.Duration(second)*time.Second))
		if got.Data.State != fresh || fresh == True && got.Decision.Replicas != 7 || got.Decision.Replicas < 4 {
			t.Errorf("after %d s: %d replicas, data %+v", second, got.Decision.Replicas, got.Data)
		}
	}
}

func TestAPodThatHasJustBecomeReadyIsReadAtOnce(t *testing.T) {
	w := newWorld(2, 0.2)
	m := &counted{value: eachPod(w, 40e9)}
	e := NewEvaluator(w, m, w, nil)
	p := policy(with(true, gpuMemory(60)))
	e.Evaluate(t.Context(), p, w.target, noon)
	w.run(3, 0.2)
	m.value = eachPod(w, 40e9)
	got := e.Evaluate(t.Context(), p, w.target, noon.Add(time.Second))
	if m.reads != 2 || got.Metrics[1].Demand == nil || got.Decision.Reason == scaling.PartialData {
		t.Errorf("%d reads, demand %v, %s", m.reads, got.Metrics[1].Demand, got.Decision.Reason)
	}
}
