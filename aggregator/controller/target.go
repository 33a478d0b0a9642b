package controller

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// Workload names what a scale target's pods are, such as {default, Deployment, bert-intent-detection}.
type Workload struct {
	Namespace, Kind, Name string
}

// Pod is what is known of one pod of a target.
type Pod struct {
	Name string
	// Node is where it is scheduled, empty before.
	Node  string
	State scaling.PodState
	// GPUs is how many devices it asks for; CPU and Memory are the cores and bytes that it requests.
	GPUs, CPU, Memory float64
	// LacksGPUs is true while no node has enough free GPUs for it.
	LacksGPUs bool
	// Created is when the pod was made; zero when that is not known.
	Created time.Time
	// ReadySince is when it last became ready; zero when it is not, or when that is not known.
	ReadySince time.Time
}

// Target is a scale target as it was read.
type Target struct {
	Workload Workload
	// Replicas is what it is set to.
	Replicas int32
	// Floor is the fewest replicas it may have, where that is what can be set: a Knative Service runs more when it is asked more.
	Floor *int32
	// ScaledBy names what scales the target itself, whatever is set; "" when nothing does.
	ScaledBy string
	// Version is the resource version of this reading.
	Version string
	Pods    []Pod
	// Shape is what its newest pod asks of a node; nil when that is not known. It is not to be changed.
	Shape *corev1.PodSpec
}

// set is what the target is set to.
func (t Target) set() int32 {
	if t.Floor != nil {
		return *t.Floor
	}
	return t.Replicas
}

// Load is what the devices of one pod do now.
type Load struct {
	// GPUs is how many devices were read, BusyGPUs the sum of their utilization (1 = one device busy all the time).
	GPUs     int
	BusyGPUs float64
	// RecentBusyGPUs is the same over the last seconds alone, noise and all; only when HasRecent.
	RecentBusyGPUs float64
	HasRecent      bool
	// Settled is true when BusyGPUs tells only of the time after the moment asked for; else nothing does yet.
	Settled bool
	// At is the end of the newest window that tells of it, by the node's clock; zero when that is not known.
	At time.Time
}

// Targets reads and sets scale targets. A target that is not there, or that changed since it was read, is told by an error that
// wraps the API server's NotFound, NoMatch or Conflict.
type Targets interface {
	Target(ctx context.Context, namespace string, ref v1alpha1.ScaleTargetRef) (Target, error)
	Scale(ctx context.Context, namespace string, ref v1alpha1.ScaleTargetRef, replicas int32, version string) error
}

// Loads knows what pods do now.
type Loads interface {
	// Load is what a pod on a node does, averaged over a while that does not reach back beyond since as soon as that can be
	// said. False means unknown or stale, never idle. What another node says of the pod does not count.
	Load(namespace, pod, node string, since, now time.Time) (Load, bool)
	// Trouble says in words what is wrong with a node's telemetry, "" when nothing is known to be.
	Trouble(node string, now time.Time) string
}

// History knows what workloads did on a grid from, from+step, …, to; NaN where it is unknown.
type History interface {
	// Demand is in busy GPUs for the metric GPU; that of another metric is in its own unit, as the Evaluation had it.
	Demand(ctx context.Context, workload Workload, metric string, from, to time.Time, step time.Duration) ([]float64, error)
	// Pods is how many pods shared it.
	Pods(ctx context.Context, workload Workload, from, to time.Time, step time.Duration) ([]float64, error)
	// Filled is how often values that were missing in the past have been found, of any workload.
	Filled() uint64
}

// GPU is the id of the metric whose demand is in busy GPUs.
const GPU = string(v1alpha1.ResourceGPU)

// Metrics reads what policies name besides how busy GPUs are.
type Metrics interface {
	// Metric is what the target's pods have of a metric now, or what it is of the whole. An error says why nothing of it is known.
	Metric(ctx context.Context, target Target, metric v1alpha1.MetricSpec, now time.Time) (Amounts, error)
}

// Amounts is a metric as it was read.
type Amounts struct {
	// Pods has it by the name of the pod; one that is not in it is unknown.
	Pods map[string]Amount
	// Whole is its value where it is not a pod's.
	Whole *float64
}

// Amount is what one pod has of a metric.
type Amount struct {
	// Uses is how much it uses, and Holds of how much at most; 0 where there is no such, or that is not known.
	Uses, Holds float64
}

// Outside is a forecaster elsewhere, which is asked ahead of time: neither method waits.
type Outside interface {
	// Ask has a series forecast, some time later, under a name that is the same each time. It may keep the series.
	Ask(id string, series forecast.Series, horizon int, levels []float64)
	// Answer is the newest forecast under a name that is sound and fresh; false when there is none. Its history is not told.
	Answer(id string) (forecast.Forecast, bool)
}

// Observer is shown each evaluation as it is made, and told when a policy is gone. It must not block.
type Observer interface {
	Observed(Evaluation)
	Forgotten(namespace, name string)
}
