package v1alpha1

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// AdvancedHorizontalPodAutoscaler scales a workload on the load of its GPUs and on other metrics: by what they are now (reactive,
// with the arithmetic of the HorizontalPodAutoscaler) and by what their own history says they will be (proactive). The larger of
// the two wins, within minReplicas and maxReplicas. Missing or stale telemetry never scales down.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=advancedhorizontalpodautoscalers,singular=advancedhorizontalpodautoscaler,shortName=ahpa,categories=all
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Strategy",type=string,JSONPath=`.spec.scaleStrategy`,description="observer computes and shows, the others also scale"
// +kubebuilder:printcolumn:name="Reference",type=string,JSONPath=`.spec.scaleTargetRef.name`,description="name of the workload that is scaled"
// +kubebuilder:printcolumn:name="Metric",type=string,JSONPath=`.spec.metrics[0].resource.name`,description="the first metric, where it is a resource"
// +kubebuilder:printcolumn:name="Target(%)",type=integer,JSONPath=`.spec.metrics[0].resource.target.averageUtilization`,description="utilization wanted of the first metric, percent; empty where it is no resource or its target is another"
// +kubebuilder:printcolumn:name="Current(%)",type=integer,JSONPath=`.status.currentMetrics[0].resource.current.averageUtilization`,description="utilization of the ready pods by that metric now, percent; empty while unknown"
// +kubebuilder:printcolumn:name="DesiredPods",type=integer,JSONPath=`.status.desiredReplicas`,description="replicas decided"
// +kubebuilder:printcolumn:name="Replicas",type=integer,JSONPath=`.status.currentReplicas`,description="replicas the workload is set to"
// +kubebuilder:printcolumn:name="MinPods",type=integer,JSONPath=`.spec.minReplicas`,description="lower bound, but for instanceBounds"
// +kubebuilder:printcolumn:name="MaxPods",type=integer,JSONPath=`.spec.maxReplicas`,description="upper bound, but for instanceBounds"
// +kubebuilder:printcolumn:name="Proactive",type=integer,JSONPath=`.status.proactiveReplicas`,priority=1,description="replicas the forecast asks for"
// +kubebuilder:printcolumn:name="Reactive",type=integer,JSONPath=`.status.reactiveReplicas`,priority=1,description="replicas the present load asks for"
// +kubebuilder:printcolumn:name="Lead(s)",type=integer,JSONPath=`.status.leadTimeSeconds`,priority=1,description="how far ahead pods are asked for, seconds"
// +kubebuilder:printcolumn:name="Accuracy(%)",type=integer,JSONPath=`.status.accuracy.day.accuracyPercent`,priority=1,description="how much of the last day's demand was forecast right, percent; empty while that is not known"
// +kubebuilder:printcolumn:name="Decision",type=string,JSONPath=`.status.decision.reason`,priority=1,description="why the decision is what it is, in a word"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AdvancedHorizontalPodAutoscaler struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is wanted.
	// +required
	Spec AdvancedHorizontalPodAutoscalerSpec `json:"spec"`

	// What was seen, forecast and decided. Written by the aggregator, and only when something visible in it changed.
	// +optional
	Status AdvancedHorizontalPodAutoscalerStatus `json:"status,omitzero"`
}

// AdvancedHorizontalPodAutoscalerList is a list of policies.
//
// +kubebuilder:object:root=true
type AdvancedHorizontalPodAutoscalerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AdvancedHorizontalPodAutoscaler `json:"items"`
}

// ScaleStrategy says what a decision is made from and what is done with it.
//
// +kubebuilder:validation:Enum=observer;auto;scalingUpOnly;proactive;reactive
type ScaleStrategy string

// The strategies.
const (
	// StrategyObserver computes and shows everything and scales nothing.
	StrategyObserver ScaleStrategy = "observer"
	// StrategyAuto applies each decision to the scale target.
	StrategyAuto ScaleStrategy = "auto"
	// StrategyScalingUpOnly applies those that add replicas.
	StrategyScalingUpOnly ScaleStrategy = "scalingUpOnly"
	// StrategyProactive applies what the forecast asks for, whatever the load is.
	StrategyProactive ScaleStrategy = "proactive"
	// StrategyReactive applies what the load asks for, whatever is forecast.
	StrategyReactive ScaleStrategy = "reactive"
)

// strategies are all there are.
var strategies = []ScaleStrategy{StrategyObserver, StrategyAuto, StrategyScalingUpOnly, StrategyProactive, StrategyReactive}

// Acts reports whether decisions are applied. Those of a strategy that is not known, such as a later version's, are not.
func (s ScaleStrategy) Acts() bool { return s != StrategyObserver && slices.Contains(strategies, s) }

// AdvancedHorizontalPodAutoscalerSpec is what the user wants.
//
// +kubebuilder:validation:XValidation:rule="self.maxReplicas >= self.minReplicas",messageExpression="'%d: must be minReplicas (%d) or more'.format([self.maxReplicas, self.minReplicas])",fieldPath=".maxReplicas"
type AdvancedHorizontalPodAutoscalerSpec struct {
	// What is done with a decision. `observer` (the default) computes it and shows it in status and metrics, and
	// scales nothing: watch it for a while, then switch. `auto` applies it through the target's scale subresource: the larger
	// of what the present load (the reactive half) and the forecast (the proactive half) ask for. `scalingUpOnly` is `auto`
	// that never removes a replica, but for those beyond maxReplicas. `reactive` and `proactive` act on one half alone and
	// show the other; without a forecast `proactive` holds the replicas.
	// +kubebuilder:default=observer
	// +optional
	ScaleStrategy ScaleStrategy `json:"scaleStrategy,omitempty"`

	// The workload to scale, in the policy's own namespace: anything with a scale subresource whose status names a pod
	// selector (Deployment, StatefulSet, ReplicaSet and most custom kinds), or a Knative Service (`serving.knative.dev/v1`), of whose
	// latest ready Revision the annotation autoscaling.knative.dev/min-scale is set; Knative may run more. One autoscaler acts on a target: of several
	// policies that act the oldest, paused or not, and none while a HorizontalPodAutoscaler (a KEDA ScaledObject has one) is on the same
	// target. The others get the condition TargetConflict=True, whose reason names what scales it, and AbleToScale=False, reason
	// TargetConflict. `observer` may run beside any of them and shows the same condition. A HorizontalPodAutoscaler that the
	// annotation autoscaling.foretide.dev/takeover-hpa names is taken over while the policy acts, and handed back after that.
	// Replicas that someone else sets, such as with `kubectl scale`, stand until something else is decided than when they were set.
	// +required
	ScaleTargetRef ScaleTargetRef `json:"scaleTargetRef"`

	// What the decision is made on: 1 to 10 metrics. Each recommends replicas, and the largest recommendation counts. While one of
	// them is not known, or not for all ready pods, replicas may rise and do not fall.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	// +listType=atomic
	// +required
	Metrics []MetricSpec `json:"metrics"`

	// The fewest replicas a decision may ask for. At least 1, default 1. A target found below it is raised to it, except a
	// target with 0 replicas: that one is switched off and is left alone.
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +optional
	MinReplicas *int32 `json:"minReplicas,omitempty"`

	// The most replicas a decision may ask for. At least minReplicas. A target found above it is lowered to it.
	// +kubebuilder:validation:Minimum=1
	// +required
	MaxReplicas int32 `json:"maxReplicas"`

	// Bounds that hold at certain times instead of minReplicas and maxReplicas. Where several hold at once, the largest
	// minReplicas and the largest maxReplicas of them count.
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	// +optional
	InstanceBounds []InstanceBounds `json:"instanceBounds,omitempty"`

	// Whose clock the people live by who make the demand: a name of the IANA time zone database, such as `Europe/Berlin`,
	// default `UTC`. instanceBounds and prediction.days are read by it; the forecast's days begin at its midnight, and where its
	// clocks change, habits move with them. A name that is not known is told in the conditions: the forecast takes it for UTC,
	// and where there are instanceBounds, none of them holds and nothing is removed.
	// +kubebuilder:default=UTC
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$`
	// +optional
	TimeZone string `json:"timeZone,omitempty"`

	// For how long, in seconds, the largest recommendation seen is kept before replicas are removed: 0 to 3600, default 300.
	// It delays scaling down only; behavior.scaleDown.stabilizationWindowSeconds counts instead where it is given. After a restart of
	// the aggregator the window starts from the replicas found.
	// +kubebuilder:default=300
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3600
	// +optional
	StabilizationWindowSeconds *int32 `json:"stabilizationWindowSeconds,omitempty"`

	// How readily and how fast replicas are added and removed, as in a HorizontalPodAutoscaler (autoscaling/v2). Without it,
	// replicas rise by four or to twice as many within 15 seconds, whichever is more, and fall after stabilizationWindowSeconds.
	// +optional
	Behavior *Behavior `json:"behavior,omitempty"`

	// While true, nothing is scaled; decisions are made and shown as under `observer`. Set it for an incident or a migration
	// and the strategy stays as it is.
	// +optional
	Paused bool `json:"paused,omitempty"`

	// How many replicas may wait for GPUs at a time: 0 to 100000. Default: any number. Whenever more are wanted than can be scheduled
	// now, the condition ScalingLimited says so (reason NoFreeGPUs) with the numbers; what is asked for is not cut by default, because a
	// pending pod is what a cluster autoscaler brings a node for, what takes the next GPU that another workload gives back, and does no
	// harm else, whereas a pod that was not asked for because of what cannot be seen here (a node group that grows from zero, a quota just
	// raised) is missing at the peak. Without a cluster autoscaler set it to 0, and with one to as many as nodes come for at a time, if
	// pending pods set off alarms or hold up rollouts: replicas then rise no further than to what runs, can be scheduled now, and may
	// wait. It removes no replica, and minReplicas are asked for all the same. Pods with ResourceClaims are not counted and not limited.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	// +optional
	MaxPendingReplicas *int32 `json:"maxPendingReplicas,omitempty"`

	// A cap on the GPUs that the replicas of several policies of the namespace hold together. When they want more, it is divided:
	// everyone keeps what runs and gets minReplicas, and the rest goes replica by replica to whoever holds the fewest GPUs, so that
	// small wants are met in full and large ones get equal parts. The condition ScalingLimited then says so (reason BudgetExceeded). A
	// budget holds growth and evicts nothing: where more runs already, or minReplicas add up to more, it is exceeded until the
	// policies' own decisions fall. Under `observer`, while paused and beside another autoscaler, a policy's running replicas count and
	// nothing more is granted to it; replicas that someone else set count as long as they stand. Extended resources
	// count, one for each device; a replica whose GPUs are not known counts as one.
	// +optional
	ReplicaBudget *ReplicaBudget `json:"replicaBudget,omitempty"`

	// Pods of a low priority that make a cluster autoscaler bring nodes before the replicas come that need them: they ask for what a
	// replica asks for and do nothing. There are as many as are forecast beyond the present replicas for the time when a node that
	// is asked for now is there, no more than maxReplicas leave, and none while the policy does not act, is held by its replicaBudget,
	// has no forecast, or names no utilization for `gpu`, by which alone they are counted. They give way to replicas at once, and go when they are not needed, or with the policy. Default: none. They
	// are the Deployment `<policy>-placeholder`; it needs the component deploy/components/placeholders, without which an
	// event says what is missing. Pods with ResourceClaims have none.
	// +optional
	Placeholders *Placeholders `json:"placeholders,omitempty"`

	// How the forecasts of the metrics are used. A metric's forecast acts once 24 hours of its demand are known; before that it is
	// shown (condition ForecastReady=False, reason LearningDailyPattern or InsufficientHistory) and the present load decides.
	// +kubebuilder:default={}
	// +optional
	Prediction Prediction `json:"prediction,omitzero"`
}

// ScaleTargetRef names a workload in the policy's namespace.
type ScaleTargetRef struct {
	// API group and version of the workload, such as `apps/v1`. Its version is a hint: the version the API server prefers
	// is used.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	// +required
	APIVersion string `json:"apiVersion"`

	// Kind of the workload, such as `Deployment`.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Kind string `json:"kind"`

	// Name of the workload.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`
}

// Prediction says how the forecast is used.
type Prediction struct {
	// Which quantile of the forecast the pods must be able to carry: 1 to 99 in percent or 0.01 to 0.99 as a share, so that 95 and
	// 0.95 mean the same; default 80. It asks for so many pods that demand is expected to stay below what they carry at the target
	// 80 % of the time; 50 follows the middle of the forecast. What is left above the target is there for the rest of the time: the
	// nearer the target is to 100, the higher the quantile should be.
	// +kubebuilder:default=80
	// +kubebuilder:validation:Type=number
	// +kubebuilder:validation:Minimum=0.01
	// +kubebuilder:validation:Maximum=99
	// +kubebuilder:validation:XValidation:rule="self >= 1.0 || self <= 0.99",messageExpression="'%s: must be 1 to 99 (percent) or 0.01 to 0.99'.format([string(self)])"
	// +optional
	Quantile *Quantile `json:"quantile,omitempty"`

	// How far ahead, in seconds, pods are asked for: 0 to 3600, default 180; or `auto`. Set it to what a new pod takes from
	// created to ready. `auto` is what nine in ten of this workload's pods have taken (status.leadTimeSeconds), as soon as three
	// of them are known, and 180 before. The decision uses the largest demand forecast from now until so many seconds, and one
	// step of the forecast (five minutes), ahead.
	// +kubebuilder:default=180
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 && self <= 3600 : self == 'auto'",message="must be 0 to 3600, or auto"
	// +optional
	ScaleUpForward *intstr.IntOrString `json:"scaleUpForward,omitempty"`

	// How far ahead, in seconds, the forecast must allow it before a replica is removed: 0 to 3600. Without it, as far as
	// scaleUpForward and the stabilization window of going down together: who removes a pod that is wanted again by then pays for
	// its start for nothing.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3600
	// +optional
	ScaleDownForward *int32 `json:"scaleDownForward,omitempty"`

	// Days on which demand is not that of their weekday, such as holidays and sales: at most 100, past and coming ones.
	// +kubebuilder:validation:MaxItems=100
	// +listType=map
	// +listMapKey=date
	// +optional
	Days []SpecialDay `json:"days,omitempty"`

	// Files of such days: at most 10. Where several speak of a day the first counts, and what days says of it before all.
	// +kubebuilder:validation:MaxItems=10
	// +listType=atomic
	// +optional
	Calendars []Calendar `json:"calendars,omitempty"`
}

// Weekday is a day of the week by its English name.
//
// +kubebuilder:validation:Enum=Sunday;Monday;Tuesday;Wednesday;Thursday;Friday;Saturday
type Weekday string

// SpecialDay is a day on which demand is not that of its weekday. It is like another weekday's, or scaled, or both: what it is like,
// times its scale.
//
// +kubebuilder:validation:XValidation:rule="has(self.like) || has(self.scale)",message="must have like, scale or both"
type SpecialDay struct {
	// The day in spec.timeZone, such as `2026-12-25`.
	// +kubebuilder:validation:Format=date
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`
	// +required
	Date string `json:"date"`

	// The weekday whose demand it has, such as `Sunday`. Default: its own.
	// +optional
	Like Weekday `json:"like,omitempty"`

	// How much demand there is, percent of what is forecast else: 1 to 1000, default 100. A sale of 250 asks for pods for two and a half
	// times the demand. Of a past day what is known is divided by it, so that it does not teach the forecast a habit.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +optional
	Scale int32 `json:"scale,omitempty"`
}

// Calendar is a calendar file in a ConfigMap, whose all-day events are special days.
//
// +kubebuilder:validation:XValidation:rule="has(self.like) || has(self.scale)",message="must have like, scale or both"
type Calendar struct {
	// The ConfigMap, in the policy's namespace. The aggregator's ServiceAccount needs the right to get it: see
	// deploy/examples/calendar.yaml. It is read anew every five minutes; while it cannot be read the condition ForecastReady says
	// so, and the forecast goes on without it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	ConfigMapName string `json:"configMapName"`

	// The file in it, in the format of iCalendar (RFC 5545), as calendar programs export it. Default `calendar.ics`. Its all-day
	// events count, also those that repeat by the year, month, week or day; events with a time of day do not.
	// +kubebuilder:default=calendar.ics
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Key string `json:"key,omitempty"`

	// The weekday whose demand its days have, such as `Sunday`. Default: each its own.
	// +optional
	Like Weekday `json:"like,omitempty"`

	// How much demand there is on its days, percent of what is forecast else: 1 to 1000, default 100.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +optional
	Scale int32 `json:"scale,omitempty"`
}
