package app

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/live"
	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/aggregator/workload"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// The rooms do not know each other; these say what one room's words are in another's.

// evaluator decides from the live view, the metrics and the stored demand.
func (a *aggregator) evaluator(metrics controller.Metrics) *controller.Evaluator {
	return controller.NewEvaluator(a.loads(), metrics, a.history(), a.outside)
}

// loads is what pods do now, here or by all shards.
func (a *aggregator) loads() controller.Loads {
	if a.shared != nil {
		return sharedLoads{a.shared.loads}
	}
	return loads{a.view}
}

// history is what is known of the past of workloads, here or by all shards.
func (a *aggregator) history() controller.History {
	if a.shared != nil {
		return sharedHistory{a.store, a.shared.client, &a.filled}
	}
	return history{a.store, &a.filled}
}

// loads is the live view as the controller's Loads.
type loads struct{ view *live.View }

func (l loads) Load(namespace, pod, node string, since, now time.Time) (controller.Load, bool) {
	load, settled, ok := l.view.PodSince(namespace, pod, node, 0, since, now)
	return controller.Load{GPUs: load.GPUs, BusyGPUs: load.BusyGPUs, RecentBusyGPUs: load.RecentBusyGPUs, HasRecent: load.HasRecent, Settled: settled, At: load.At}, ok
}

func (l loads) Trouble(node string, now time.Time) string {
	state, ok := l.view.Node(node, now)
	switch {
	case !ok:
		return "its agent has not reported within the last hour, or since this aggregator started"
	case state.Stale:
		return "its agent last reported at " + state.LastBatch.UTC().Format(time.TimeOnly) + " UTC"
	}
	if more := len(state.Problems) - troublesNamed; more > 0 {
		return fmt.Sprintf("%s, and %d more", strings.Join(state.Problems[:troublesNamed], ", "), more)
	}
	return strings.Join(state.Problems, ", ")
}

// troublesNamed is how many of a node's problems a message names.
const troublesNamed = 2

// history is the store as the controller's History.
type history struct {
	store  *storage.Store
	filled *atomic.Uint64
}

func (h history) Demand(ctx context.Context, w controller.Workload, metric string, from, to time.Time, step time.Duration) ([]float64, error) {
	if metric != controller.GPU {
		return h.store.MetricDemand(ctx, storage.MetricName{Workload: storage.Workload(w), Metric: metric}, from, to, step)
	}
	return h.store.Demand(ctx, storage.Workload(w), from, to, step)
}

func (h history) Pods(ctx context.Context, w controller.Workload, from, to time.Time, step time.Duration) ([]float64, error) {
	return h.store.Pods(ctx, storage.Workload(w), from, to, step)
}

func (h history) Filled() uint64 { return h.filled.Load() }

// targets is the directory of workloads as the controller's Targets.
type targets struct {
	directory *workload.Directory
	loads     controller.Loads
}

func (t targets) Target(ctx context.Context, namespace string, ref v1alpha1.ScaleTargetRef) (controller.Target, error) {
	found, err := t.directory.Target(ctx, namespace, workload.Reference(ref))
	if err != nil {
		return controller.Target{}, err
	}
	return withClaimed(toTarget(found), found.Pods, t.loads, time.Now()), nil
}

// withClaimed fills in how many GPUs pods have by ResourceClaims: that is not in the pod, so that it is only known while it holds them.
func withClaimed(target controller.Target, pods []workload.Pod, loads controller.Loads, now time.Time) controller.Target {
	for i, p := range pods {
		if p.GPUs > 0 || !p.Claims {
			continue
		}
		if load, ok := loads.Load(target.Workload.Namespace, p.Name, p.Node, time.Time{}, now); ok {
			target.Pods[i].GPUs = float64(load.GPUs)
		}
	}
	return target
}

func (t targets) Scale(ctx context.Context, namespace string, ref v1alpha1.ScaleTargetRef, replicas int32, version string) error {
	return t.directory.Scale(ctx, namespace, workload.Reference(ref), replicas, version)
}

func toTarget(t workload.Target) controller.Target {
	out := controller.Target{Workload: controller.Workload(t.ID), Replicas: t.Replicas, Floor: t.Floor, ScaledBy: t.ScaledBy, Version: t.Version, Shape: t.Shape}
	for _, p := range t.Pods {
		out.Pods = append(out.Pods, controller.Pod{
			Name: p.Name, Node: p.Node, State: toState(p.State), GPUs: p.GPUs, CPU: p.CPU, Memory: p.Memory, LacksGPUs: p.LacksGPUs,
			Created: p.Created, ReadySince: p.ReadySince,
		})
	}
	return out
}

func toState(s workload.State) scaling.PodState {
	switch s {
	case workload.Ready:
		return scaling.Ready
	case workload.Gone:
		return scaling.Gone
	}
	return scaling.Unready
}
