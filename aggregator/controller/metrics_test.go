package controller

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// read is the Metrics of a test: what each metric is, by its id.
type read map[string]Amounts

func (r read) Metric(_ context.Context, _ Target, spec v1alpha1.MetricSpec, _ time.Time) (Amounts, error) {
	if a, ok := r[spec.ID()]; ok {
		return a, nil
	}
	return Amounts{}, errors.New("nobody reports it")
}

func tenEach() v1alpha1.MetricTarget {
	return v1alpha1.MetricTarget{Type: v1alpha1.AverageValueTarget, AverageValue: new(resource.MustParse("10"))}
}

func waiting(target v1alpha1.MetricTarget) v1alpha1.MetricSpec {
	return v1alpha1.MetricSpec{Type: v1alpha1.MetricSourceExternal, External: &v1alpha1.ExternalMetric{Query: "queue", Target: target}}
}

func gpuMemory(percent int32) v1alpha1.MetricSpec {
	return v1alpha1.MetricSpec{Type: v1alpha1.MetricSourceResource, Resource: &v1alpha1.ResourceMetric{
		Name: v1alpha1.ResourceGPUMemory, Target: v1alpha1.MetricTarget{Type: v1alpha1.UtilizationTarget, AverageUtilization: &percent},
	}}
}

// with gives a policy metrics, beside gpu or instead of it.
func with(beside bool, metrics ...v1alpha1.MetricSpec) func(*v1alpha1.AdvancedHorizontalPodAutoscaler) {
	return func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		if !beside {
			p.Spec.Metrics = nil
		}
		p.Spec.Metrics = append(p.Spec.Metrics, metrics...)
		p.Spec.Default()
	}
}

// eachPod has so much for each of the target's pods.
func eachPod(w *world, uses, holds float64) Amounts {
	out := Amounts{Pods: map[string]Amount{}}
	for _, pod := range w.target.Pods {
		out.Pods[pod.Name] = Amount{uses, holds}
	}
	return out
}

func TestTheMetricThatAsksForMostDecides(t *testing.T) {
	w := newWorld(4, 0.2) // of a target of 20 %
	for name, c := range map[string]struct {
		metric v1alpha1.MetricSpec
		read   Amounts
		want   int32
		demand float64
	}{
		"memory of the pods":      {gpuMemory(60), eachPod(w, 72e9, 80e9), 6, 288e9},
		"a queue by replica":      {waiting(tenEach()), Amounts{Whole: new(65.0)}, 7, 65},
		"a latency of the whole":  {waiting(v1alpha1.MetricTarget{Type: v1alpha1.ValueTarget, Value: new(resource.MustParse("200m"))}), Amounts{Whole: new(0.3)}, 6, 1.2},
		"one that asks for fewer": {waiting(tenEach()), Amounts{Whole: new(5.0)}, 4, 5},
	} {
		e := NewEvaluator(w, read{c.metric.ID(): c.read}, w, nil)
		got := e.Evaluate(t.Context(), policy(with(true, c.metric)), w.target, noon)
		m := got.Metrics[1]
		if got.Decision.Replicas != c.want || m.Demand == nil || math.Abs(*m.Demand-c.demand) > 1e-9*c.demand || got.Data.State != True {
			t.Errorf("%s: %d replicas, want %d; %+v, data %+v: %s", name, got.Decision.Replicas, c.want, m, got.Data, got.Decision.Message)
		}
	}
}

func TestAMetricThatCannotBeReadHoldsAndIsTold(t *testing.T) {
	w := newWorld(4, 0.01)
	p := policy(with(true, waiting(tenEach())), func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { *p.Spec.StabilizationWindowSeconds = 0 })
	e := NewEvaluator(w, read{}, w, nil)
	got := e.Evaluate(t.Context(), p, w.target, noon)
	if got.Decision.Replicas != 4 || got.Decision.Reason != scaling.PartialData {
		t.Errorf("%d %s", got.Decision.Replicas, got.Decision.Reason)
	}
	if got.Data.State != False || got.Data.Note.Reason != "MissingMetrics" || got.Data.Note.Message != "queue: nobody reports it" {
		t.Errorf("data %+v", got.Data)
	}
	e = NewEvaluator(w, read{"queue": {Whole: new(1.0)}}, w, nil)
	e.Evaluate(t.Context(), p, w.target, noon)
	if got := e.Evaluate(t.Context(), p, w.target, noon.Add(2*time.Second)); got.Decision.Replicas != 1 {
		t.Errorf("when it can be read again: %d %s", got.Decision.Replicas, got.Decision.Message)
	}
}

func TestOfAMetricThatOnePodDoesNotTellNothingIsRemoved(t *testing.T) {
	w := newWorld(4, 0.01)
	some := eachPod(w, 8e9, 80e9)
	delete(some.Pods, "bert-3")
	e := NewEvaluator(w, read{"gpu-memory": some}, w, nil)
	got := e.Evaluate(t.Context(), policy(with(true, gpuMemory(80))), w.target, noon)
	if got.Decision.Replicas != 4 || got.Metrics[1].Demand != nil || got.Data.Note.Message != "gpu-memory: not known of all ready pods" {
		t.Errorf("%d, demand %v, data %+v", got.Decision.Replicas, got.Metrics[1].Demand, got.Data)
	}
}

func TestAPolicyWithoutGPUMetricsNeedsNoGPUs(t *testing.T) {
	w := newWorld(2, 0)
	clear(w.loads)
	for i := range w.target.Pods {
		w.target.Pods[i].GPUs = 0
	}
	e := NewEvaluator(w, read{"queue": {Whole: new(45.0)}}, w, nil)
	got := e.Evaluate(t.Context(), policy(with(false, waiting(tenEach()))), w.target, noon)
	if got.Decision.Replicas != 5 || got.Data.State != True || got.TargetPercent != 0 {
		t.Errorf("%d replicas, data %+v, target %d%%: %s", got.Decision.Replicas, got.Data, got.TargetPercent, got.Decision.Message)
	}
}

func TestEachMetricIsForecastFromItsOwnDemand(t *testing.T) {
	w := newWorld(4, 0.2)
	w.demand = func(at time.Time) float64 { return 0.8 }
	tide := workday(days(14))
	w.metric = func(metric string, at time.Time) float64 {
		if metric == "queue" {
			return 10 * tide(at)
		}
		return math.NaN()
	}
	e := NewEvaluator(w, read{"queue": {Whole: new(10 * tide(noon))}}, w, nil)
	p := policy(with(true, waiting(tenEach())))
	got := e.Evaluate(t.Context(), p, w.target, noon)
	gpus, queued := got.Metrics[0].Forecast, got.Metrics[1].Forecast
	if !gpus.Acts || !queued.Acts || math.Abs(gpus.PeakGPUs-0.8) > 0.2 || queued.PeakGPUs < 5*tide(noon) {
		t.Errorf("peaks of %g GPUs and %g waiting: %+v, %+v", gpus.PeakGPUs, queued.PeakGPUs, gpus.Note, queued.Note)
	}
	p.Spec.Metrics[1].Forecast = new(false)
	got = e.Evaluate(t.Context(), p, w.target, noon)
	if m := got.Metrics[1]; m.Forecast.Acts || m.Forecast.Lost || got.Decision.Metrics[1].Proactive != nil || !strings.Contains(got.Decision.Message, "no forecast of queue: it is switched off in the policy") {
		t.Errorf("switched off: %+v, %s", m.Forecast, got.Decision.Message)
	}
}

func TestAMetricWithoutHistoryLeavesTheForecastOfTheOthersInForce(t *testing.T) {
	w := newWorld(4, 0.01)
	w.demand = func(time.Time) float64 { return 1 }
	w.metric = func(string, time.Time) float64 { return math.NaN() }
	e := NewEvaluator(w, read{"queue": {Whole: new(1.0)}}, w, nil)
	got := e.Evaluate(t.Context(), policy(with(true, waiting(tenEach()))), w.target, noon)
	if got.Decision.Proactive == nil || *got.Decision.Proactive < 5 || got.Metrics[1].Forecast.Lost {
		t.Errorf("proactive %v, %+v", got.Decision.Proactive, got.Metrics[1].Forecast.Note)
	}
}

func TestTheForecastIsReadyWhenThatOfEachMetricIs(t *testing.T) {
	spec := func(name v1alpha1.ResourceName, on bool) v1alpha1.MetricSpec {
		return v1alpha1.MetricSpec{Resource: &v1alpha1.ResourceMetric{Name: name}, Forecast: &on}
	}
	acts := Prediction{Acts: true, Note: Note{"ForecastReady", "known"}}
	learns := Prediction{Note: Note{"LearningDailyPattern", "3h are known"}}
	gpu, cpu := MetricEvaluation{ID: "gpu", Spec: spec("gpu", true), Forecast: acts}, MetricEvaluation{ID: "cpu", Spec: spec("cpu", true), Forecast: learns}
	off := MetricEvaluation{ID: "memory", Spec: spec("memory", false)}
	for _, c := range []struct {
		metrics []MetricEvaluation
		acts    bool
		note    Note
	}{
		{[]MetricEvaluation{gpu}, true, Note{"ForecastReady", "known"}},
		{[]MetricEvaluation{cpu}, false, Note{"LearningDailyPattern", "3h are known"}}, // that of busy GPUs is known, and not asked for
		{[]MetricEvaluation{gpu, off}, true, Note{"ForecastReady", "gpu: known"}},
		{[]MetricEvaluation{gpu, cpu, off}, false, Note{"LearningDailyPattern", "gpu: known; cpu: 3h are known"}},
		{[]MetricEvaluation{off}, false, Note{"SwitchedOff", "no metric is forecast: the policy has it so"}},
	} {
		if got, note := (Evaluation{Metrics: c.metrics, Forecast: acts}).Foretold(); got != c.acts || note != c.note {
			t.Errorf("%d metrics: %v %q, want %v %q", len(c.metrics), got, note, c.acts, c.note)
		}
	}
}
