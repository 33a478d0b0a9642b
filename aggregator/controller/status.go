package controller

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// report writes an evaluation, and what became of its decision, into a status. What could not be seen this time is taken out:
// an old number beside a new problem would mislead. Only what has a time of its own stays: lastScaleTime and accuracy.
func report(status *v1alpha1.AdvancedHorizontalPodAutoscalerStatus, generation int64, e Evaluation, act action) {
	status.ObservedGeneration = generation
	status.CurrentReplicas = e.Current
	status.DesiredReplicas, status.ProactiveReplicas, status.ReactiveReplicas = nil, nil, nil
	status.CurrentMetrics, status.Forecast, status.MinReplicas, status.MaxReplicas = nil, nil, nil, nil
	status.LeadTimeSeconds, status.LeadTimePods, status.Periodicity = nil, 0, nil
	status.ManualOverride = act.override
	saturated := status.SaturatedSince
	status.SaturatedSince = nil
	status.Decision = &v1alpha1.DecisionStatus{Reason: e.Problem.Reason, Message: e.Problem.Message}
	if d := e.Decision; d != nil {
		status.DesiredReplicas, status.ProactiveReplicas, status.ReactiveReplicas = &d.Replicas, d.Proactive, d.Reactive
		status.CurrentMetrics = metrics(e)
		status.MinReplicas, status.MaxReplicas = &e.Min, &e.Max
		status.LeadTimeSeconds, status.LeadTimePods = new(int32(e.Lead/time.Second)), int32(e.LeadPods)
		status.Forecast = forecastStatus(e.Forecast)
		if f := e.Forecast.Forecast; f != nil {
			status.Periodicity = new(int32(f.Period / time.Second))
		}
		if d.Saturated {
			status.SaturatedSince = cmp.Or(saturated, &metav1.Time{Time: e.At})
		}
		status.Decision = &v1alpha1.DecisionStatus{Reason: string(d.Reason), Message: d.Message, ValidUntil: minuteOf(e.ValidUntil)}
	}
	if act.scaled {
		at := metav1.NewTime(e.At)
		status.LastScaleTime = &at
	}
	for kind, c := range conditions(e, act) {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: kind, Status: metav1.ConditionStatus(c.State), Reason: c.Note.Reason, Message: c.Note.Message,
			ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(e.At),
		})
	}
	sortConditions(status.Conditions)
}

// minuteOf is the end of the minute in which a moment lies, so that what moves on with each look is not written each time; nil for none.
func minuteOf(at time.Time) *metav1.Time {
	if at.IsZero() {
		return nil
	}
	return &metav1.Time{Time: at.Add(time.Minute - 1).Truncate(time.Minute)}
}

func forecastStatus(p Prediction) *v1alpha1.ForecastStatus {
	if p.Forecast == nil {
		return nil
	}
	history := p.Forecast.History.Truncate(time.Hour)
	if history == 0 {
		history = p.Forecast.History
	}
	out := &v1alpha1.ForecastStatus{
		Method:         p.Forecast.Method,
		HistorySeconds: int64(history.Seconds()),
		At:             metav1.NewTime(p.Forecast.Start),
	}
	if p.HasPeak {
		out.PeakGPUs = strconv.FormatFloat(p.PeakGPUs, 'f', 1, 64)
	}
	return out
}

// stated is a condition before it is written.
type stated struct {
	State State
	Note  Note
}

// conditions says, for each condition, whether it holds and why.
//
//	                target not read   switched off   no load, no forecast   outside limits   else
//	AbleToScale     False             True           True                   True             True   (act says more)
//	ScalingActive   False             False          False                  True             True
//	ScalingLimited  Unknown           False          False                  True             False
func conditions(e Evaluation, act action) map[string]stated {
	out := map[string]stated{
		v1alpha1.ConditionAbleToScale:    {act.able, act.note},
		v1alpha1.ConditionTargetConflict: act.conflict,
	}
	if e.Decision == nil {
		for _, kind := range []string{v1alpha1.ConditionScalingLimited, v1alpha1.ConditionForecastReady, v1alpha1.ConditionDataFresh} {
			out[kind] = stated{Unknown, e.Problem}
		}
		out[v1alpha1.ConditionScalingActive] = stated{False, e.Problem}
		return out
	}
	out[v1alpha1.ConditionScalingActive] = active(*e.Decision)
	out[v1alpha1.ConditionScalingLimited] = limited(*e.Decision, e)
	out[v1alpha1.ConditionDataFresh] = stated{e.Data.State, e.Data.Note}
	acts, note := e.Foretold()
	ready := False
	if acts {
		ready = True
	}
	out[v1alpha1.ConditionForecastReady] = stated{ready, note}
	return out
}

func active(d scaling.Decision) stated {
	switch d.Reason {
	case scaling.Disabled, scaling.InvalidPolicy, scaling.NoTelemetry:
		return stated{False, Note{string(d.Reason), d.Message}}
	}
	return stated{True, Note{"ValidMetricFound", "a recommendation can be made"}}
}

func limited(d scaling.Decision, e Evaluation) stated {
	switch {
	case e.WrongBounds != "":
		return stated{True, Note{invalidBounds, e.WrongBounds + "; it holds at no time, and nothing is removed until it is mended"}}
	case e.Shortage.Reason != "":
		return stated{True, e.Shortage}
	case d.Reason == scaling.OutsideBounds:
		return stated{True, Note{string(d.Limited), d.Message}}
	case d.Limited == scaling.ScaleUpLimit:
		return stated{True, Note{string(d.Limited), fmt.Sprintf("more than %d replicas are wanted, the most that may be added to %d by now", d.Replicas, *e.Current)}}
	case d.Limited == scaling.ScaleDownLimit:
		return stated{True, Note{string(d.Limited), fmt.Sprintf("fewer than %d replicas are wanted, the most that may be taken from %d by now", d.Replicas, *e.Current)}}
	case d.Limited == scaling.TooManyReplicas:
		return stated{True, Note{string(d.Limited), fmt.Sprintf("more than maxReplicas (%d) are wanted", e.Max)}}
	case d.Limited == scaling.TooFewReplicas:
		return stated{True, Note{string(d.Limited), fmt.Sprintf("fewer than minReplicas (%d) are wanted", e.Min)}}
	case d.Held:
		return stated{True, Note{string(d.Reason), fmt.Sprintf("fewer than %d replicas would do by what is known, but not all is known", d.Replicas)}}
	}
	return stated{False, Note{"DesiredWithinRange", "what is wanted is within the limits"}}
}

// sortConditions keeps the conditions in the order people read them in.
func sortConditions(conditions []metav1.Condition) {
	order := []string{
		v1alpha1.ConditionAbleToScale, v1alpha1.ConditionScalingActive, v1alpha1.ConditionScalingLimited,
		v1alpha1.ConditionForecastReady, v1alpha1.ConditionDataFresh, v1alpha1.ConditionTargetConflict,
	}
	next := 0
	for _, kind := range order {
		for i := next; i < len(conditions); i++ {
			if conditions[i].Type == kind {
				conditions[next], conditions[i] = conditions[i], conditions[next]
				next++
				break
			}
		}
	}
}

// sameToTheEye reports whether nothing changed that is worth a write. The sentence of a decision and of ScalingActive carries
// numbers that move with every sample, and a forecast starts anew each minute; what they say is also in fields of their own.
func sameToTheEye(a, b v1alpha1.AdvancedHorizontalPodAutoscalerStatus) bool {
	return equality.Semantic.DeepEqual(visible(a), visible(b))
}

func visible(s v1alpha1.AdvancedHorizontalPodAutoscalerStatus) *v1alpha1.AdvancedHorizontalPodAutoscalerStatus {
	v := s.DeepCopy()
	if v.Decision != nil {
		v.Decision.Message = ""
	}
	if v.Forecast != nil {
		v.Forecast.At = metav1.Time{}
	}
	if v.Accuracy != nil {
		v.Accuracy.At = metav1.Time{}
	}
	for i := range v.Conditions {
		v.Conditions[i].LastTransitionTime = metav1.Time{}
		if v.Conditions[i].Type == v1alpha1.ConditionScalingActive {
			v.Conditions[i].Message = ""
		}
	}
	return v
}

// onlyNumbersMoved reports whether two statuses say the same but for measured numbers: the utilization and whether that saturates the
// pods, the forecast's peak and how good it was, for how long a decision holds, and the sentences that carry them.
func onlyNumbersMoved(a, b v1alpha1.AdvancedHorizontalPodAutoscalerStatus) bool {
	return equality.Semantic.DeepEqual(withoutNumbers(a), withoutNumbers(b))
}

func withoutNumbers(s v1alpha1.AdvancedHorizontalPodAutoscalerStatus) *v1alpha1.AdvancedHorizontalPodAutoscalerStatus {
	v := visible(s)
	v.SaturatedSince, v.Accuracy = nil, nil
	if v.Decision != nil {
		v.Decision.ValidUntil = nil
	}
	for i := range v.CurrentMetrics {
		*v.CurrentMetrics[i].Current() = v1alpha1.MetricValueStatus{}
	}
	if v.Forecast != nil {
		v.Forecast.PeakGPUs = ""
	}
	for i := range v.Conditions {
		v.Conditions[i].Message = ""
	}
	return v
}
