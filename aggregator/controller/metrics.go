package controller

import (
	"context"
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
	readings   readings
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
	seen := MetricEvaluation{ID: spec.ID(), History: spec.History(), Spec: spec, Forecast: gpus}
	m := scaling.Metric{Name: seen.ID, Target: toTarget(spec.Target()), Pods: l.pods, PerReplica: l.gpusPerPod}
	if !spec.Is(v1alpha1.ResourceGPU) {
		amounts, err := e.reading(ctx, l, spec)
		if err != nil {
			seen.Problem = err.Error()
		}
		m.Pods, m.PerReplica, m.Whole = podsWith(l.target.Pods, amounts.Pods), perReplica(l.target.Pods, amounts.Pods), wholeOf(spec, amounts, err)
		seen.Demand, seen.missing = demandOf(m), missingOf(m, l.target.Pods, l.now)
		if spec.Forecasts() {
			seen.Forecast = e.forecasts.predict(ctx, l.asked(seen.History), l.ahead, l.now)
		}
	}
	if !spec.Forecasts() {
		seen.Forecast = Prediction{Note: Note{"SwitchedOff", "it is switched off in the policy"}}
	}
	f := seen.Forecast
	m.Forecast = scaling.Demand{Peak: f.PeakGPUs, Later: f.LaterGPUs, OK: f.Acts, Why: f.Note.Message, Lost: f.Lost}
	return seen, m
}

// tellsOfWaiting is true when a metric tells now how much more demand there is than busy pods show.
func tellsOfWaiting(metrics []MetricEvaluation) bool {
	for _, m := range metrics {
		if m.Spec.Resource == nil && m.Problem == "" {
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
		out[i] = scaling.Pod{Name: pod.Name, State: pod.State, Holds: a.Holds, Uses: a.Uses, Known: ok && scaling.IsAmount(a.Uses)}
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

// metricGrace is how long a pod may be ready before it is called a problem that a metric other than busy GPUs is not known of it: agents
// scrape once a minute at least, and metrics-server tells of a pod after one or two of its rounds of 15 s to a minute.
const metricGrace = 90 * time.Second

// missingOf tells whether a metric of the pods should be known of all that are ready and is not.
func missingOf(m scaling.Metric, pods []Pod, now time.Time) bool {
	for i, pod := range pods {
		if m.Whole == nil && pod.State == scaling.Ready && !m.Pods[i].Known && now.Sub(pod.ReadySince) >= metricGrace {
			return true
		}
	}
	return false
}

// ofGPUs tells whether a metric is of the pods' GPUs.
func ofGPUs(m v1alpha1.MetricSpec) bool { return m.Resource != nil && strings.HasPrefix(m.ID(), GPU) }

// and is the freshness with that of metrics other than busy GPUs; ready says whether any pod is. Where none of the metrics is of GPUs,
// these need not be known.
func (f Freshness) and(metrics []MetricEvaluation, ready bool) Freshness {
	gpus, telling := false, true
	var missing []string
	for _, m := range metrics {
		gpus = gpus || ofGPUs(m.Spec)
		telling = telling && (m.Demand != nil || ready)
		switch whole := m.Spec.External != nil; {
		case m.Problem != "" && (whole || m.missing):
			missing = append(missing, m.ID+": "+m.Problem)
		case m.missing:
			missing = append(missing, m.ID+": not known of all ready pods")
		}
	}
	switch {
	case gpus:
	case telling || len(missing) > 0:
		f.State, f.Note = True, Note{"FreshMetrics", "all metrics are known"}
	default:
		f.State, f.Note = Unknown, Note{"NoReadyPods", "none of the pods is ready"}
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
