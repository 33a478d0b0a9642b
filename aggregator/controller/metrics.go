package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// look is what an evaluation begins with.
type look struct {
	policy     *v1alpha1.AdvancedHorizontalPodAutoscaler
	target     Target
	pods       []scaling.Pod // in the target's order, with their GPUs
	gpusPerPod float64       // 0 = unknown
	days       *calendar
	ahead      ahead
	now        time.Time
}

// asked is what is asked of a metric's forecast.
func (l look) asked(metric string) asked {
	a := asked{workload: l.target.Workload, metric: metric, level: l.policy.Spec.Prediction.Quantile.Level(), days: l.days}
	if metric == GPU {
		a.gpusPerPod = l.gpusPerPod
	}
	return a
}

// metric looks at one of the policy's metrics. What pods' GPUs do is known already, and what is forecast of them.
func (e *Evaluator) metric(ctx context.Context, spec v1alpha1.MetricSpec, l look, gpus Prediction) (MetricEvaluation, scaling.Metric) {
	seen := MetricEvaluation{ID: spec.ID(), Spec: spec, Forecast: gpus}
	m := scaling.Metric{Name: seen.ID, Target: toTarget(spec.Target()), Pods: l.pods, PerReplica: l.gpusPerPod}
	if spec.Is(v1alpha1.ResourceGPU) {
		m.Hides = !tellsOfWaiting(l.policy.Spec.Metrics)
	} else {
		amounts, err := e.read(ctx, l, spec)
		if err != nil {
			seen.Problem = err.Error()
		}
		m.Pods, m.PerReplica, m.Whole = podsWith(l.target.Pods, amounts.Pods), perReplica(l.target.Pods, amounts.Pods), wholeOf(spec, amounts, err)
		seen.Demand = demandOf(m)
		if spec.Forecasts() {
			seen.Forecast = e.forecasts.predict(ctx, l.asked(seen.ID), l.ahead, l.now)
		}
	}
	if !spec.Forecasts() {
		seen.Forecast = Prediction{Note: Note{"SwitchedOff", "it is switched off in the policy"}}
	}
	f := seen.Forecast
	m.Forecast = scaling.Demand{Peak: f.PeakGPUs, Later: f.LaterGPUs, OK: f.Acts, Why: f.Note.Message, Lost: f.Lost}
	return seen, m
}

func (e *Evaluator) read(ctx context.Context, l look, spec v1alpha1.MetricSpec) (Amounts, error) {
	if e.metrics == nil {
		return Amounts{}, fmt.Errorf("only %s is known here", GPU)
	}
	return e.metrics.Metric(ctx, l.target, spec, l.now)
}

// tellsOfWaiting is true when a metric tells how much more demand there is than busy pods show.
func tellsOfWaiting(metrics []v1alpha1.MetricSpec) bool {
	for _, m := range metrics {
		if m.Type == v1alpha1.MetricSourcePods || m.Type == v1alpha1.MetricSourceExternal {
			return true
		}
	}
	return false
}

// toTarget is a target as the decision knows it.
func toTarget(t *v1alpha1.MetricTarget) (out scaling.Target) {
	if t == nil {
		return out
	}
	switch t.Type {
	case v1alpha1.UtilizationTarget:
		if t.AverageUtilization != nil {
			out.Percent = *t.AverageUtilization
		}
	case v1alpha1.AverageValueTarget:
		if t.AverageValue != nil {
			out.Average = t.AverageValue.AsApproximateFloat64()
		}
	case v1alpha1.ValueTarget:
		if t.Value != nil {
			out.Value = t.Value.AsApproximateFloat64()
		}
	}
	return out
}

// podsWith are the target's pods with what they have of a metric.
func podsWith(pods []Pod, amounts map[string]Amount) []scaling.Pod {
	out := make([]scaling.Pod, len(pods))
	for i, pod := range pods {
		a, ok := amounts[pod.Name]
		out[i] = scaling.Pod{Name: pod.Name, State: pod.State, Holds: a.Holds, Uses: a.Uses, Known: ok}
	}
	return out
}

// perReplica is how much of a metric's resource a pod holds, mean over those of which it is known.
func perReplica(pods []Pod, amounts map[string]Amount) float64 {
	sum, n := 0.0, 0
	for _, pod := range pods {
		if a := amounts[pod.Name]; a.Holds > 0 {
			sum, n = sum+a.Holds, n+1
		}
	}
	return sum / float64(max(1, n))
}

// wholeOf is the value of a metric that is not a pod's; nil where it is.
func wholeOf(spec v1alpha1.MetricSpec, a Amounts, err error) *scaling.Whole {
	switch {
	case spec.Type != v1alpha1.MetricSourceExternal:
		return nil
	case err != nil:
		return &scaling.Whole{Why: err.Error()}
	case a.Whole == nil:
		return &scaling.Whole{Why: "it has no value"}
	}
	return &scaling.Whole{Value: *a.Whole, OK: true}
}

// demandOf is what a forecast of the metric is made of: it must not depend on how many replicas there happen to be. A latency of twice
// the target on four pods asks for eight, and so does one at the target on eight.
func demandOf(m scaling.Metric) *float64 {
	uses, ready := 0.0, 0
	for _, pod := range m.Pods {
		if pod.State != scaling.Ready {
			continue
		}
		if m.Whole == nil && !pod.Known {
			return nil
		}
		uses, ready = uses+pod.Uses, ready+1
	}
	switch {
	case m.Whole == nil && ready > 0:
		return &uses
	case m.Whole == nil || !m.Whole.OK:
		return nil
	case m.Target.Value == 0:
		return &m.Whole.Value
	case ready > 0:
		return new(m.Whole.Value * float64(ready))
	}
	return nil
}

// and is the freshness with that of metrics other than busy GPUs. Where none of the metrics is of GPUs, these need not be known.
func (f Freshness) and(metrics []MetricEvaluation) Freshness {
	gpus := false
	var missing []string
	for _, m := range metrics {
		gpus = gpus || strings.HasPrefix(m.ID, GPU) && m.Spec.Resource != nil
		switch {
		case m.Problem != "":
			missing = append(missing, m.ID+": "+m.Problem)
		case m.Demand == nil && !m.Spec.Is(v1alpha1.ResourceGPU) && f.Note.Reason != "NoPods" && f.Note.Reason != "NoReadyPods":
			missing = append(missing, m.ID+": not known of all ready pods")
		}
	}
	if !gpus {
		f.State, f.Note = True, Note{"FreshMetrics", "all metrics are known"}
	}
	if len(missing) == 0 {
		return f
	}
	said := strings.Join(missing, "; ")
	if f.State == False {
		f.Note.Message += "; " + said
		return f
	}
	f.State, f.Note = False, Note{"MissingMetrics", said}
	return f
}

// Foretold says whether the forecast of every metric that is forecast takes part in the decision, and how each was made or why it takes none.
func (e Evaluation) Foretold() (acts bool, note Note) {
	if len(e.Metrics) == 0 {
		return e.Forecast.Acts, e.Forecast.Note
	}
	acts, note = true, Note{Reason: "SwitchedOff", Message: "no metric is forecast: the policy has it so"}
	var said []string
	for _, m := range e.Metrics {
		if !m.Spec.Forecasts() {
			continue
		}
		if len(said) == 0 || acts && !m.Forecast.Acts {
			note = m.Forecast.Note
		}
		acts = acts && m.Forecast.Acts
		said = append(said, m.ID+": "+m.Forecast.Note.Message)
	}
	if len(e.Metrics) > 1 && len(said) > 0 {
		note.Message = strings.Join(said, "; ")
	}
	return acts && len(said) > 0, note
}
