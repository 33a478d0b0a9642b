package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AdvancedHorizontalPodAutoscalerStatus is what was seen, forecast and decided. A field that is not there is not known, which
// is something else than 0.
type AdvancedHorizontalPodAutoscalerStatus struct {
	// The metadata.generation this status was computed for.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Replicas the target is set to (spec.replicas of its scale subresource), as last read.
	// +optional
	CurrentReplicas *int32 `json:"currentReplicas,omitempty"`

	// Replicas decided. Under the strategy `observer` this is what `auto` would set now.
	// +optional
	DesiredReplicas *int32 `json:"desiredReplicas,omitempty"`

	// The lower bound in force: spec.minReplicas, or that of spec.instanceBounds now and within the lead time.
	// +optional
	MinReplicas *int32 `json:"minReplicas,omitempty"`

	// The upper bound in force: spec.maxReplicas, or that of spec.instanceBounds now.
	// +optional
	MaxReplicas *int32 `json:"maxReplicas,omitempty"`

	// The metrics as last read, in the order of spec.metrics; what of them is unknown has no value.
	// +listType=atomic
	// +optional
	CurrentMetrics []MetricStatus `json:"currentMetrics,omitempty"`

	// Replicas the forecast asks for, before bounds and stabilization; absent while the forecast may not act.
	// +optional
	ProactiveReplicas *int32 `json:"proactiveReplicas,omitempty"`

	// Replicas the current load asks for, before bounds and stabilization; absent while the load is unknown.
	// +optional
	ReactiveReplicas *int32 `json:"reactiveReplicas,omitempty"`

	// The forecast of the workload's busy GPUs, which the metric `gpu` uses. Those of other metrics are in the condition ForecastReady.
	// +optional
	Forecast *ForecastStatus `json:"forecast,omitempty"`

	// How far ahead pods are asked for, seconds: prediction.scaleUpForward, or what it is measured to be.
	// +optional
	LeadTimeSeconds *int32 `json:"leadTimeSeconds,omitempty"`

	// How many pods leadTimeSeconds was measured on; absent when it was not.
	// +optional
	LeadTimePods int32 `json:"leadTimePods,omitempty"`

	// The period of the strongest pattern in the workload's demand, seconds: 86400 is a day; 0 when nothing repeats. Absent while
	// there is no forecast.
	// +optional
	Periodicity *int32 `json:"periodicity,omitempty"`

	// How good the forecasts of this workload were.
	// +optional
	Accuracy *AccuracyStatus `json:"accuracy,omitempty"`

	// Since when the ready pods have been busy nearly all the time, so that there may be more demand than is seen; to ten seconds.
	// Absent while they are not, and while their load is not known.
	// +optional
	SaturatedSince *metav1.Time `json:"saturatedSince,omitempty"`

	// How many placeholder pods are asked for; absent when there is no Deployment of them.
	// +optional
	PlaceholderReplicas *int32 `json:"placeholderReplicas,omitempty"`

	// When the target was last scaled by this policy.
	// +optional
	LastScaleTime *metav1.Time `json:"lastScaleTime,omitempty"`

	// Replicas that someone else set, such as with `kubectl scale`, and that stand until something else is decided than when they
	// were set; absent when none do. What is outside the bounds is set right at once all the same.
	// +optional
	ManualOverride *ManualOverrideStatus `json:"manualOverride,omitempty"`

	// Why desiredReplicas is what it is.
	// +optional
	Decision *DecisionStatus `json:"decision,omitempty"`

	// AbleToScale, ScalingActive, ScalingLimited, ForecastReady, DataFresh and TargetConflict, each with a reason and the numbers
	// behind it.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// MetricStatus is a metric as last read.
type MetricStatus struct {
	// Where the metric comes from, as in spec.metrics.
	Type MetricSpecType `json:"type"`
	// The resource and its value, for the type Resource.
	// +optional
	Resource *ResourceMetricStatus `json:"resource,omitempty"`
	// The pods' metric and its value, for the type Pods.
	// +optional
	Pods *NamedMetricStatus `json:"pods,omitempty"`
	// The number and its value, for the type External.
	// +optional
	External *NamedMetricStatus `json:"external,omitempty"`
	// Replicas that this metric asks for now; absent while it is unknown.
	// +optional
	ReactiveReplicas *int32 `json:"reactiveReplicas,omitempty"`
	// Replicas that its forecast asks for; absent while that may not act.
	// +optional
	ProactiveReplicas *int32 `json:"proactiveReplicas,omitempty"`
}

// Current is the metric's value, whatever its type; what is written into that of a metric without one is lost.
func (s *MetricStatus) Current() *MetricValueStatus {
	switch {
	case s.Resource != nil:
		return &s.Resource.Current
	case s.Pods != nil:
		return &s.Pods.Current
	case s.External != nil:
		return &s.External.Current
	}
	return &MetricValueStatus{}
}

// NamedMetricStatus is a metric as last read.
type NamedMetricStatus struct {
	// The name of the metric, or the query.
	Name string `json:"name"`
	// Its value.
	Current MetricValueStatus `json:"current"`
}

// ResourceMetricStatus is a resource of the target's pods as last read.
type ResourceMetricStatus struct {
	// The resource.
	Name ResourceName `json:"name"`
	// Its value.
	Current MetricValueStatus `json:"current"`
}

// MetricValueStatus is the value of a metric.
type MetricValueStatus struct {
	// Utilization of what the ready pods hold, percent, mean over them.
	// +optional
	AverageUtilization *int32 `json:"averageUtilization,omitempty"`
	// The amount by ready pod, or of a number that is not the pods' by replica.
	// +optional
	AverageValue *resource.Quantity `json:"averageValue,omitempty"`
	// The amount of a number that is not the pods'.
	// +optional
	Value *resource.Quantity `json:"value,omitempty"`
}

// ForecastStatus sums up a forecast.
type ForecastStatus struct {
	// The method that made it.
	Method string `json:"method"`
	// How much known history went into it, seconds, rounded down to full hours once there is an hour.
	HistorySeconds int64 `json:"historySeconds"`
	// The largest demand within the lead time at the policy's quantile, in busy GPUs, such as "3.5".
	// +optional
	PeakGPUs string `json:"peakGPUs,omitempty"`
	// When the forecast starts. It moves when something else in this status changes, so that an unchanged forecast is not
	// written again each minute.
	At metav1.Time `json:"at"`
}

// DecisionStatus says why desiredReplicas is what it is.
type DecisionStatus struct {
	// One word for it, the same in events and metrics.
	Reason string `json:"reason"`
	// The same in plain words with the numbers, as of the last write of this status.
	Message string `json:"message"`
	// Until when it holds if load and forecast stay as they are, to the minute: then the bounds change, or a stabilization window
	// ends that keeps replicas. Absent when neither is known to come within a day.
	// +optional
	ValidUntil *metav1.Time `json:"validUntil,omitempty"`
}

// The conditions of a policy.
const (
	// ConditionAbleToScale: the target can be read and, under `auto`, set.
	ConditionAbleToScale = "AbleToScale"
	// ConditionScalingActive: a recommendation can be made.
	ConditionScalingActive = "ScalingActive"
	// ConditionScalingLimited: more or fewer replicas were wanted than the bounds, the rate limit or the data allow, or than the
	// cluster has GPUs for.
	ConditionScalingLimited = "ScalingLimited"
	// ConditionForecastReady: the forecast of a metric takes part in the decision, and that of none is lost.
	ConditionForecastReady = "ForecastReady"
	// ConditionDataFresh: there is fresh telemetry of every ready pod, and each metric is known.
	ConditionDataFresh = "DataFresh"
	// ConditionTargetConflict: something else scales the target, so that this policy scales nothing; the reason names it. Under
	// `observer`, so that it would scale nothing if it acted.
	ConditionTargetConflict = "TargetConflict"
)
