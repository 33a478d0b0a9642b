package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
	"github.com/foretide/foretide/test/forecastbench"
)

// runningWorkloads is how many are followed by the running aggregator's parts: their histories take seconds to write.
const runningWorkloads = 12

// running returns the CPU time that a workload takes each minute in a running aggregator: its controller's evaluation, over an hour in
// which every workload has its look at four weeks, read from a history on disk.
func running(ctx context.Context, cases []forecastbench.Case) (time.Duration, error) {
	dir, err := os.MkdirTemp("", "foretide-bench")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	const hour = time.Hour / time.Minute
	var recorded [][]float64
	for i := range runningWorkloads {
		recorded = append(recorded, byMinute(series(cases[i*len(cases)/runningWorkloads])).Values)
	}
	begin := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	end := begin.Add(time.Duration(len(recorded[0])) * time.Minute)
	if err := record(ctx, dir, begin, recorded); err != nil {
		return 0, err
	}
	store, err := storage.Open(storage.Options{Dir: dir, Now: func() time.Time { return end }})
	if err != nil {
		return 0, err
	}
	defer func() { _ = store.Close() }()

	evaluator := controller.NewEvaluator(idle{}, nil, history{store}, nil)
	minute := func(now time.Time) error {
		for i := range recorded {
			if e := evaluator.Evaluate(ctx, policy(i), target(i), now); e.Forecast.Forecast == nil {
				return fmt.Errorf("workload %d has no forecast: %+v", i, e.Forecast.Note)
			}
		}
		return nil
	}
	from := end.Add(-(2*hour + 1) * time.Minute)
	var before time.Duration
	for i := range 2 * hour { // in the first every workload comes to its own minute of the hour
		if i == hour {
			before = cpuTime()
		}
		if err := minute(from.Add(i*time.Minute + 30*time.Second)); err != nil {
			return 0, err
		}
	}
	return (cpuTime() - before) / (hour * runningWorkloads), nil
}

// record writes the demand as it would come, minute by minute.
func record(ctx context.Context, dir string, begin time.Time, demand [][]float64) error {
	now := begin
	store, err := storage.Open(storage.Options{Dir: dir, Now: func() time.Time { return now }})
	if err != nil {
		return err
	}
	for m := range demand[0] {
		now = now.Add(time.Minute)
		for i := range demand {
			if err := store.AppendDemand(ctx, storage.Workload(workload(i)), now, demand[i][m], 4); err != nil {
				return err
			}
		}
	}
	return store.Close()
}

// history is the store as the controller's, as the aggregator has it.
type history struct{ store *storage.Store }

func (h history) Demand(ctx context.Context, w controller.Workload, _ string, from, to time.Time, step time.Duration) ([]float64, error) {
	return h.store.Demand(ctx, storage.Workload(w), from, to, step)
}

func (history) Filled() uint64 { return 0 }

func (h history) Pods(ctx context.Context, w controller.Workload, from, to time.Time, step time.Duration) ([]float64, error) {
	return h.store.Pods(ctx, storage.Workload(w), from, to, step)
}

// idle are pods that do nothing.
type idle struct{}

func (idle) Load(string, string, string, time.Time, time.Time) (controller.Load, bool) {
	return controller.Load{GPUs: 1, Settled: true}, true
}
func (idle) Trouble(string, time.Time) string { return "" }

func workload(i int) controller.Workload {
	return controller.Workload{Namespace: "default", Kind: "Deployment", Name: fmt.Sprint("web-", i)}
}

func target(i int) controller.Target {
	return controller.Target{Workload: workload(i), Replicas: 1, Pods: []controller.Pod{{Name: "web", Node: "node", State: scaling.Ready, GPUs: 1}}}
}

func policy(i int) *v1alpha1.AdvancedHorizontalPodAutoscaler {
	p := &v1alpha1.AdvancedHorizontalPodAutoscaler{}
	p.Namespace, p.Name, p.UID = "default", workload(i).Name, types.UID(workload(i).Name)
	p.Spec.ScaleTargetRef = v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: workload(i).Name}
	p.Spec.MaxReplicas = 8
	p.Spec.Default()
	return p
}
