package app

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/engine"
	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/aggregator/workload"
)

// shared is the engine that all shards of the aggregator write to. Each of them has the telemetry of its own nodes alone, so
// what is decided from comes from there.
type shared struct {
	client *engine.Client
	loads  *engine.Loads
}

// readEngine adds the reading of the shared engine, where there is one.
func (a *aggregator) readEngine() error {
	o := a.options
	if o.EngineURL == "" {
		return nil
	}
	var access engine.Access
	if o.EngineHTTPFile != "" {
		var err error
		if access, err = engine.LoadAccess(o.EngineHTTPFile); err != nil {
			return fmt.Errorf("--engine.http-config-file: %w", err)
		}
	}
	client, err := engine.New(engine.Options{URL: o.EngineURL, Access: access})
	if err != nil {
		return fmt.Errorf("--engine.url: %w", err)
	}
	loads, err := engine.NewLoads(client, engine.LoadsOptions{Namespaces: func() []string { return a.namespaces() },
		Interval: o.SyncInterval, Window: o.LiveWindow, StaleAfter: o.LiveStaleAfter, Logger: a.log})
	if err != nil {
		return err
	}
	a.shared = &shared{client, loads}
	a.add("engine", func(ctx context.Context) error {
		loads.Run(ctx)
		return nil
	})
	return nil
}

// loadBetween is what the engine says of a pod now: it has the newest of each pod, not stretches of the past. As long as it has
// nothing of the time after from, that is waited for.
func (s *shared) loadBetween(namespace, pod, node string, from, to time.Time) workload.Load {
	load, ok := s.loads.Load(namespace, pod, node, from, time.Now())
	if !ok || !load.Settled {
		return workload.Load{Reports: workload.ReportsMissing}
	}
	return workload.Load{Reports: workload.ReportsComplete, Known: true, GPUs: load.GPUs, BusyGPUs: load.BusyGPUs, Held: to.Sub(from)}
}

// sharedLoads is the engine's view as the controller's Loads.
type sharedLoads struct{ *engine.Loads }

func (l sharedLoads) Load(namespace, pod, node string, since, now time.Time) (controller.Load, bool) {
	load, ok := l.Loads.Load(namespace, pod, node, since, now)
	return controller.Load{GPUs: load.GPUs, BusyGPUs: load.BusyGPUs, Settled: load.Settled}, ok
}

// sharedHistory is what was recorded here, and where that has holes, what another shard recorded.
type sharedHistory struct {
	store  *storage.Store
	client *engine.Client
	filled *atomic.Uint64
}

func (h sharedHistory) Filled() uint64 { return h.filled.Load() }

func (h sharedHistory) Demand(ctx context.Context, w controller.Workload, metric string, from, to time.Time, step time.Duration) ([]float64, error) {
	if metric != controller.GPU {
		own, err := h.store.MetricDemand(ctx, storage.MetricName{Workload: storage.Workload(w), Metric: metric}, from, to, step)
		if err != nil {
			return nil, err
		}
		return fillHoles(own, func() ([]float64, error) {
			return h.client.MetricDemand(ctx, engine.Name{Workload: engine.Workload(w), Metric: metric}, from, to, step)
		})
	}
	own, err := h.store.Demand(ctx, storage.Workload(w), from, to, step)
	if err != nil {
		return nil, err
	}
	return fillHoles(own, func() ([]float64, error) { return h.client.Demand(ctx, engine.Workload(w), from, to, step) })
}

func (h sharedHistory) Pods(ctx context.Context, w controller.Workload, from, to time.Time, step time.Duration) ([]float64, error) {
	own, err := h.store.Pods(ctx, storage.Workload(w), from, to, step)
	if err != nil {
		return nil, err
	}
	return fillHoles(own, func() ([]float64, error) { return h.client.Pods(ctx, engine.Workload(w), from, to, step) })
}

// fillHoles takes from the others what is not known here; they are asked only if there is such.
func fillHoles(own []float64, ask func() ([]float64, error)) ([]float64, error) {
	whole := true
	for _, v := range own {
		whole = whole && !math.IsNaN(v)
	}
	if whole {
		return own, nil
	}
	others, err := ask()
	if err != nil {
		return nil, err
	}
	for i, v := range own {
		if math.IsNaN(v) && i < len(others) {
			own[i] = others[i]
		}
	}
	return own, nil
}

// namespacesOf lists each namespace once.
func namespacesOf[T any](all []T, of func(T) string) []string {
	out := make([]string, 0, len(all))
	for _, one := range all {
		out = append(out, of(one))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
