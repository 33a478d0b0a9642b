package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

	// The metrics as last read, in the order of spec.metrics; empty while unknown.
	// +listType=atomic
	// +optional
	CurrentMetrics []MetricStatus `json:"currentMetrics,omitempty"`

	// Replicas the forecast asks for, before bounds and stabilization; absent while the forecast may not act.
	// +optional
	ProactiveReplicas *int32 `json:"proactiveReplicas,omitempty"`

	// Replicas the current load asks for, before bounds and stabilization; absent while the load is unknown.
	// +optional
	ReactiveReplicas *int32 `json:"reactiveReplicas,omitempty"`

	// The forecast the proactive half uses.
	// +optional
	Forecast *ForecastStatus `json:"forecast,omitempty"`

	// How far ahead pods are asked for, seconds: prediction.scaleUpForward, or what it is measured to be.
	// +optional
	LeadTimeSeconds *int32 `json:"leadTimeSeconds,omitempty"`

	// How many pods leadTimeSeconds was measured on; absent when it was not.
	// +optional
	LeadTimePods int32 `json:"leadTimePods,omitempty"`

	// How many placeholder pods are asked for; absent when there is no Deployment of them.
	// +optional
	PlaceholderReplicas *int32 `json:"placeholderReplicas,omitempty"`

	// When the target was last scaled by this policy.
	// +optional
	LastScaleTime *metav1.Time `json:"lastScaleTime,omitempty"`

	// Why desiredReplicas is what it is.
	// +optional
	Decision *DecisionStatus `json:"decision,omitempty"`

	// AbleToScale, ScalingActive, ScalingLimited, ForecastReady and DataFresh, each with a reason and the numbers behind it.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// MetricStatus is a metric as last read.
type MetricStatus struct {
	// Where the metric comes from, as in spec.metrics.
	Type MetricSpecType `json:"type"`
	// The resource and its value.
	Resource ResourceMetricStatus `json:"resource"`
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
	// Utilization of the GPUs the ready pods hold, percent, mean over them.
	// +optional
	AverageUtilization *int32 `json:"averageUtilization,omitempty"`
}

// ForecastStatus sums up a forecast.
type ForecastStatus struct {
	// The method that made it.
	Method string `json:"method"`
	// The period it found in the history, seconds; 0 for none.
	PeriodSeconds int64 `json:"periodSeconds"`
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
	// ConditionForecastReady: the forecast takes part in the decision.
	ConditionForecastReady = "ForecastReady"
	// ConditionDataFresh: there is fresh telemetry of every ready pod.
	ConditionDataFresh = "DataFresh"
)
