package app

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/aggregator/simulate"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// simulated is a policy that decides in a simulation, by the very code that decides in a cluster. Its history is what was known before the
// simulation began, and what it has seen since, by the minute.
type simulated struct {
	ctx context.Context // of the flight: Run has none
	simulate.Minutes
	evaluator *controller.Evaluator
	policy    *v1alpha1.AdvancedHorizontalPodAutoscaler
	gpus      int           // of a pod
	lag       time.Duration // how long after a change the load is of the pods that are ready

	view  simulate.View
	pods  []controller.Pod
	names []string // of pods, by number
}

// The nodes of pods tell Load which of them served already when the load was what is seen of it.
const nodeOfServing, nodeOfNew = "serving", "new"

// Fly plays a load against a policy, which decides by the very code that decides in a cluster. before is the workload's demand in busy
// GPUs of the minutes before the trace begins (NaN is not known), from which it forecasts. What watch is told of each step may be nil.
func Fly(world simulate.World, trace simulate.Trace, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, before []float64, watch func(simulate.View)) (simulate.Result, error) {
	return fly(context.Background(), world, trace, policy, before, watch)
}

// fly is [Fly] until ctx ends, after which nothing is decided any more, and that is an error.
func fly(ctx context.Context, world simulate.World, trace simulate.Trace, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, before []float64, watch func(simulate.View)) (simulate.Result, error) {
	s := newSimulated(ctx, world, trace, policy, before)
	r, err := simulate.Run(world, trace, s, watch)
	return r, errors.Join(err, ctx.Err())
}

func newSimulated(ctx context.Context, world simulate.World, trace simulate.Trace, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, before []float64) *simulated {
	s := &simulated{ctx: ctx, Minutes: simulate.NewMinutes(before, trace.Start), policy: policy, gpus: int(world.GPUsPerPod), lag: world.Lag}
	s.evaluator = controller.NewEvaluator(s, nil, s, nil)
	return s
}

// Decide implements simulate.Decider.
func (s *simulated) Decide(v simulate.View) int32 {
	if s.ctx.Err() != nil {
		return v.Replicas
	}
	s.view = v
	s.pods = s.pods[:0]
	for i := range v.Ready + v.Starting {
		pod := controller.Pod{Name: s.name(int(i)), Node: nodeOfNew, State: scaling.Unready, GPUs: float64(s.gpus)}
		if i < v.Settled {
			pod.Node = nodeOfServing
		}
		switch {
		case i < v.Ready:
			pod.State, pod.ReadySince = scaling.Ready, s.Begin
		case i >= v.Ready+v.Starting-v.Pending:
			pod.Node, pod.LacksGPUs = "", true
		}
		s.pods = append(s.pods, pod)
	}
	target := controller.Target{
		Workload: controller.Workload{Namespace: s.policy.Namespace, Kind: s.policy.Spec.ScaleTargetRef.Kind, Name: s.policy.Spec.ScaleTargetRef.Name},
		Replicas: v.Replicas, Pods: s.pods,
	}
	return s.evaluator.Evaluate(s.ctx, s.policy, target, v.Now).Decision.Replicas
}

func (s *simulated) name(i int) string {
	for len(s.names) <= i {
		s.names = append(s.names, fmt.Sprintf("pod-%05d", len(s.names)))
	}
	return s.names[i]
}

// Load implements controller.Loads: the load is shared evenly by the pods that served then, and the others were idle.
func (s *simulated) Load(_, _, node string, since, now time.Time) (controller.Load, bool) {
	if math.IsNaN(s.view.Utilization) {
		return controller.Load{}, false
	}
	load := controller.Load{GPUs: s.gpus, Settled: now.Sub(since) >= s.lag, At: now}
	if node == nodeOfServing {
		load.BusyGPUs = s.view.Utilization * float64(s.gpus)
	}
	return load, true
}

// Trouble implements controller.Loads.
func (s *simulated) Trouble(string, time.Time) string { return "" }

// Demand implements controller.History.
func (s *simulated) Demand(_ context.Context, _ controller.Workload, _ string, from, to time.Time, step time.Duration) ([]float64, error) {
	return s.grid(s.Busy, from, to, step)
}

// Pods implements controller.History.
func (s *simulated) Pods(_ context.Context, _ controller.Workload, from, to time.Time, step time.Duration) ([]float64, error) {
	return s.grid(s.Ready, from, to, step)
}

// Filled implements controller.History.
func (s *simulated) Filled() uint64 { return 0 }

func (s *simulated) grid(minutes []float64, from, to time.Time, step time.Duration) ([]float64, error) {
	if step != time.Minute {
		return nil, fmt.Errorf("step is %v; the simulation has minutes", step)
	}
	out := make([]float64, int(to.Sub(from)/step))
	first := int(from.Sub(s.Begin) / step)
	for i := range out {
		if k := first + i; k >= 0 && k < len(minutes) {
			out[i] = minutes[k]
		} else {
			out[i] = math.NaN()
		}
	}
	return out, nil
}
