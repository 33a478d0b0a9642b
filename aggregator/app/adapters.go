package app

import (
	"context"
	"time"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/live"
	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/aggregator/workload"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// The rooms do not know each other; these say what one room's words are in another's.

// loads is the live view as the controller's Loads.
type loads struct{ view *live.View }

func (l loads) Load(namespace, pod string, now time.Time) (controller.Load, bool) {
	load, ok := l.view.Pod(namespace, pod, now)
	return controller.Load{GPUs: load.GPUs, BusyGPUs: load.BusyGPUs}, ok
}

// history is the store as the controller's History.
type history struct{ store *storage.Store }

func (h history) Demand(ctx context.Context, w controller.Workload, from, to time.Time, step time.Duration) ([]float64, error) {
	return h.store.Demand(ctx, storage.Workload(w), from, to, step)
}

// targets is the directory of workloads as the controller's Targets.
type targets struct{ directory *workload.Directory }

func (t targets) Target(ctx context.Context, namespace string, ref v1alpha1.ScaleTargetRef) (controller.Target, error) {
	found, err := t.directory.Target(ctx, namespace, workload.Reference(ref))
	if err != nil {
		return controller.Target{}, err
	}
	return toTarget(found), nil
}

func (t targets) Scale(ctx context.Context, namespace string, ref v1alpha1.ScaleTargetRef, replicas int32, version string) error {
	return t.directory.Scale(ctx, namespace, workload.Reference(ref), replicas, version)
}

func toTarget(t workload.Target) controller.Target {
	out := controller.Target{Workload: controller.Workload(t.ID), Replicas: t.Replicas, Version: t.Version}
	for _, p := range t.Pods {
		out.Pods = append(out.Pods, controller.Pod{Name: p.Name, Node: p.Node, State: toState(p.State), GPUs: p.GPUs, ReadySince: p.ReadySince})
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
