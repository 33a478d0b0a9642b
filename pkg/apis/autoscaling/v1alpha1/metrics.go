package v1alpha1

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MetricSpecType says where a metric comes from.
//
// +kubebuilder:validation:Enum=Resource;Pods;External
type MetricSpecType string

// Where metrics come from.
const (
	// MetricSourceResource is a resource of the target's own pods.
	MetricSourceResource MetricSpecType = "Resource"
	// MetricSourcePods is what the target's pods say of themselves, as the agents scrape it.
	MetricSourcePods MetricSpecType = "Pods"
	// MetricSourceExternal is any number that the history can tell.
	MetricSourceExternal MetricSpecType = "External"
)

// MetricSpec is one thing a decision is made on.
//
// +kubebuilder:validation:XValidation:rule="has(self.resource) == (self.type == 'Resource') && has(self.pods) == (self.type == 'Pods') && has(self.external) == (self.type == 'External')",messageExpression="'type is %s: must have the field that it names (resource, pods or external), and no other of them'.format([self.type])"
type MetricSpec struct {
	// Where the metric comes from: `Resource`, a resource of the target's pods; `Pods`, what these say of themselves, such as
	// the length of their queues; `External`, any number that PromQL over the aggregator's history tells.
	// +required
	Type MetricSpecType `json:"type"`

	// The resource and its target, for the type `Resource`.
	// +optional
	Resource *ResourceMetric `json:"resource,omitempty"`

	// The pods' metric and its target, for the type `Pods`.
	// +optional
	Pods *PodsMetric `json:"pods,omitempty"`

	// The number and its target, for the type `External`.
	// +optional
	External *ExternalMetric `json:"external,omitempty"`

	// Whether this metric is forecast, default true. What is forecast of `gpu` is known from the moment the agents run; any other
	// metric is recorded from the moment a policy names it, and the proactive half acts on it a day later. Set it to false where
	// the past says nothing of what is to come.
	// +kubebuilder:default=true
	// +optional
	Forecast *bool `json:"forecast,omitempty"`
}

// ResourceName is a resource of a pod.
//
// +kubebuilder:validation:Enum=gpu;gpu-memory;gpu-sm-active;gpu-tensor-active;cpu;memory
type ResourceName string

// The resources.
const (
	// ResourceGPU is the share of time the GPUs held by a pod are busy.
	ResourceGPU ResourceName = "gpu"
	// ResourceGPUMemory is the memory of the GPUs held by a pod, in bytes.
	ResourceGPUMemory ResourceName = "gpu-memory"
	// ResourceGPUSMActive is the share of the multiprocessors of its GPUs that work.
	ResourceGPUSMActive ResourceName = "gpu-sm-active"
	// ResourceGPUTensorActive is the share of time the tensor cores of its GPUs work.
	ResourceGPUTensorActive ResourceName = "gpu-tensor-active"
	// ResourceCPU is the CPU time of the pod's containers, in cores.
	ResourceCPU ResourceName = "cpu"
	// ResourceMemory is the working set of the pod's containers, in bytes.
	ResourceMemory ResourceName = "memory"
)

// ResourceMetric is a resource of the target's pods and the target for it.
//
// +kubebuilder:validation:XValidation:rule="self.target.type != 'Value'",message="Value: must be Utilization or AverageValue",fieldPath=".target.type"
// +kubebuilder:validation:XValidation:rule="!self.name.startsWith('gpu') || !has(self.target.averageUtilization) || self.target.averageUtilization <= 100",messageExpression="'%d: must be 1 to 100, percent of what the pods hold'.format([self.target.averageUtilization])",fieldPath=".target.averageUtilization"
type ResourceMetric struct {
	// The resource: `gpu`, the share of time in which at least one kernel runs on the GPUs a pod holds, mean over them;
	// `gpu-memory`, their memory that is used; `gpu-sm-active` and `gpu-tensor-active`, the share of their multiprocessors and
	// of the time of their tensor cores in use, which GPUs since Hopper tell of pods that hold them alone; `cpu` and `memory`,
	// what the metrics API (metrics-server) says of a pod's containers.
	// +required
	Name ResourceName `json:"name"`

	// The value that decisions aim for: `Utilization` of what pods hold (of `cpu` and `memory`, of what they request), or an
	// `AverageValue` by pod, such as busy GPUs, bytes or cores.
	// +required
	Target MetricTarget `json:"target"`
}

// PodsMetric is what the target's pods say of themselves and the target for it.
//
// +kubebuilder:validation:XValidation:rule="self.target.type == 'AverageValue'",messageExpression="'%s: must be AverageValue'.format([self.target.type])",fieldPath=".target.type"
type PodsMetric struct {
	// The metric: a gauge that the agents scrape from the pods (see the agent's --scrape flags), such as
	// `vllm:num_requests_waiting`. What a pod says more than once under the name, with other labels, is added up: its series have
	// the labels namespace, pod and node alone.
	// +required
	Metric MetricIdentifier `json:"metric"`

	// The value aimed for, by pod: `AverageValue`.
	// +required
	Target MetricTarget `json:"target"`
}

// ExternalMetric is a number and the target for it.
//
// +kubebuilder:validation:XValidation:rule="has(self.metric) != has(self.query)",message="must have either metric or query"
// +kubebuilder:validation:XValidation:rule="self.target.type != 'Utilization'",message="Utilization: must be Value or AverageValue",fieldPath=".target.type"
type ExternalMetric struct {
	// A metric whose series in the policy's namespace are added up.
	// +optional
	Metric *MetricIdentifier `json:"metric,omitempty"`

	// Or a PromQL query whose one answer is the number, such as `sum(rate(http_requests_total{namespace="chat"}[1m]))`. It is asked
	// of the aggregator's own history, of every namespace: the nodes' and pods' series, and what is written to it by remote write.
	// An answer of no series is not 0 but unknown; more than one series is an error. At most 2048 characters.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Query string `json:"query,omitempty"`

	// The value aimed for: `AverageValue`, what one replica can carry; or `Value`, however many replicas there are, such as a
	// latency: replicas are multiplied by as much as it is off.
	// +required
	Target MetricTarget `json:"target"`
}

// MetricIdentifier names a metric.
type MetricIdentifier struct {
	// Its name, such as `vllm:num_requests_waiting`.
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[a-zA-Z_:][a-zA-Z0-9_:]*$`
	// +required
	Name string `json:"name"`

	// Which of its series count, by their labels; all without it.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// MetricTargetType says how a target is read.
//
// +kubebuilder:validation:Enum=Utilization;AverageValue;Value
type MetricTargetType string

// The types of targets.
const (
	// UtilizationTarget is a percentage of what the pods hold.
	UtilizationTarget MetricTargetType = "Utilization"
	// AverageValueTarget is an amount by pod.
	AverageValueTarget MetricTargetType = "AverageValue"
	// ValueTarget is an amount of the whole.
	ValueTarget MetricTargetType = "Value"
)

// MetricTarget is the value that decisions aim for.
//
// +kubebuilder:validation:XValidation:rule="has(self.averageUtilization) == (self.type == 'Utilization') && has(self.averageValue) == (self.type == 'AverageValue') && has(self.value) == (self.type == 'Value')",messageExpression="'type is %s: must have the value that it names (averageUtilization, averageValue or value), and no other of them'.format([self.type])"
type MetricTarget struct {
	// How the target is read: `Utilization`, a percentage of what the pods hold; `AverageValue`, an amount by pod; `Value`, an
	// amount of the whole.
	// +required
	Type MetricTargetType `json:"type"`

	// The utilization aimed for, percent: 1 to 100 of the GPUs the pods hold, 1 to 1000 of the CPU and memory they request. With a
	// target of 50, a workload that keeps 2.0 GPUs busy gets 4 pods of one GPU each. A difference of up to a tenth of the target is
	// left alone, or what behavior has as tolerance. Pods whose GPUs are 95 % busy or more, under a target of less than that, hide
	// demand: they become more by half at least, unless a metric of another kind than `Resource` tells what waits. Above a target of
	// 75 it begins at four fifths of the way from there to 100: at 98 % for 90.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +optional
	AverageUtilization *int32 `json:"averageUtilization,omitempty"`

	// The amount aimed for by pod, more than 0, such as `20`, `500m` or `40Gi`.
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",messageExpression="'%s: must be more than 0'.format([string(self)])"
	// +optional
	AverageValue *resource.Quantity `json:"averageValue,omitempty"`

	// The amount aimed for in all, more than 0.
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",messageExpression="'%s: must be more than 0'.format([string(self)])"
	// +optional
	Value *resource.Quantity `json:"value,omitempty"`
}

// ID is the name of a metric: that of its resource, of what its pods say, or of the number. It is unique within a policy as long as
// two metrics do not ask for the same.
func (m MetricSpec) ID() string {
	switch {
	case m.Resource != nil:
		return string(m.Resource.Name)
	case m.Pods != nil:
		return m.Pods.Metric.ID()
	case m.External != nil && m.External.Metric != nil:
		return m.External.Metric.ID()
	case m.External != nil:
		return m.External.Query
	}
	return ""
}

// History is the name that the demand by a metric is kept under: its ID, and another one where that would be taken for a resource, and
// where the target is a Value, for that demand counts the pods.
func (m MetricSpec) History() string {
	name := m.ID()
	if m.Resource == nil && slices.Contains(resources, ResourceName(name)) {
		name += " (" + string(m.Type) + ")"
	}
	if t := m.Target(); t != nil && t.Type == ValueTarget {
		name += " times pods"
	}
	return name
}

// ID is the name with the selector, as in PromQL.
func (m MetricIdentifier) ID() string {
	if m.Selector == nil {
		return m.Name
	}
	return m.Name + "{" + metav1.FormatLabelSelector(m.Selector) + "}"
}

// Target is the value aimed for; nil where the metric has none.
func (m MetricSpec) Target() *MetricTarget {
	switch {
	case m.Resource != nil:
		return &m.Resource.Target
	case m.Pods != nil:
		return &m.Pods.Target
	case m.External != nil:
		return &m.External.Target
	}
	return nil
}

// Is tells whether the metric is a resource.
func (m MetricSpec) Is(name ResourceName) bool { return m.Resource != nil && m.Resource.Name == name }

// Forecasts tells whether the metric is forecast.
func (m MetricSpec) Forecasts() bool { return m.Forecast == nil || *m.Forecast }
