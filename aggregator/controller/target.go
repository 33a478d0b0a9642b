package controller

import (
	"context"
	"time"

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
	// GPUs is how many devices it asks for.
	GPUs float64
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
	// Version is the resource version of this reading.
	Version string
	Pods    []Pod
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
	// Demand is in busy GPUs.
	Demand(ctx context.Context, workload Workload, from, to time.Time, step time.Duration) ([]float64, error)
	// Pods is how many pods shared it.
	Pods(ctx context.Context, workload Workload, from, to time.Time, step time.Duration) ([]float64, error)
	// Filled is how often values that were missing in the past have been found, of any workload.
	Filled() uint64
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
