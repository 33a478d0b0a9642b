package app

import (
	"context"
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
	evaluator *controller.Evaluator
	policy    *v1alpha1.AdvancedHorizontalPodAutoscaler
	gpus      int           // of a pod
	lag       time.Duration // how long after a change the load is of the pods that are ready

	view  simulate.View
	pods  []controller.Pod
	names []string // of pods, by number
	begin time.Time
	// demand and ready are by the minute since begin; NaN is not known.
	demand, ready []float64
	sums          minuteSum
}

// Fly plays a load against a policy, which decides by the very code that decides in a cluster. before is the workload's demand in busy
// GPUs of the minutes before the trace begins (NaN is not known), from which it forecasts. What watch is told of each step may be nil.
func Fly(world simulate.World, trace simulate.Trace, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, before []float64, watch func(simulate.View)) (simulate.Result, error) {
	s := newSimulated(policy, int(world.GPUsPerPod), world.Lag, before, trace.Start)
	return simulate.Run(world, trace, s, func(v simulate.View) {
		s.watch(v)
		if watch != nil {
			watch(v)
		}
	})
}

// minuteSum adds up a minute.
type minuteSum struct {
	end         time.Time
	busy, ready float64
	known, all  int
}

// newSimulated returns the policy with the demand of the minutes before start.
func newSimulated(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, gpus int, lag time.Duration, before []float64, start time.Time) *simulated {
	s := &simulated{policy: policy, gpus: gpus, lag: lag, begin: start.Truncate(time.Minute).Add(-time.Duration(len(before)) * time.Minute), demand: before}
	s.ready = make([]float64, len(before))
	for i := range s.ready {
		s.ready[i] = math.NaN()
	}
	s.evaluator = controller.NewEvaluator(s, nil, s, nil)
	return s
}

// watch takes a step into the history.
func (s *simulated) watch(v simulate.View) {
	if end := v.Now.Truncate(time.Minute).Add(time.Minute); !end.Equal(s.sums.end) {
		s.close()
		s.sums = minuteSum{end: end}
	}
	s.sums.all++
	if !math.IsNaN(v.Busy) {
		s.sums.busy, s.sums.ready, s.sums.known = s.sums.busy+v.Busy, s.sums.ready+float64(v.Ready), s.sums.known+1
	}
}

// close writes the minute that is over.
func (s *simulated) close() {
	if s.sums.all == 0 {
		return
	}
	busy, ready := math.NaN(), math.NaN()
	if 2*s.sums.known > s.sums.all {
		busy, ready = s.sums.busy/float64(s.sums.known), s.sums.ready/float64(s.sums.known)
	}
	s.demand, s.ready = append(s.demand, busy), append(s.ready, ready)
}

// Decide implements simulate.Decider.
func (s *simulated) Decide(v simulate.View) int32 {
	s.view = v
	s.pods = s.pods[:0]
	for i := range v.Ready + v.Starting {
		pod := controller.Pod{Name: s.name(int(i)), Node: "node", State: scaling.Unready, GPUs: float64(s.gpus)}
		if i < v.Ready {
			pod.State, pod.ReadySince = scaling.Ready, s.begin
		}
		s.pods = append(s.pods, pod)
	}
	target := controller.Target{
		Workload: controller.Workload{Namespace: s.policy.Namespace, Kind: s.policy.Spec.ScaleTargetRef.Kind, Name: s.policy.Spec.ScaleTargetRef.Name},
		Replicas: v.Replicas, Pods: s.pods,
	}
	return s.evaluator.Evaluate(context.Background(), s.policy, target, v.Now).Decision.Replicas
}

func (s *simulated) name(i int) string {
	for len(s.names) <= i {
		s.names = append(s.names, fmt.Sprintf("pod-%05d", len(s.names)))
	}
	return s.names[i]
}

// Load implements controller.Loads: the load is shared evenly.
func (s *simulated) Load(_, _, _ string, since, now time.Time) (controller.Load, bool) {
	if math.IsNaN(s.view.Utilization) {
		return controller.Load{}, false
	}
	return controller.Load{GPUs: s.gpus, BusyGPUs: s.view.Utilization * float64(s.gpus), Settled: now.Sub(since) >= s.lag, At: now}, true
}

// Trouble implements controller.Loads.
func (s *simulated) Trouble(string, time.Time) string { return "" }

// Demand implements controller.History.
func (s *simulated) Demand(_ context.Context, _ controller.Workload, _ string, from, to time.Time, step time.Duration) ([]float64, error) {
	return s.grid(s.demand, from, to, step)
}

// Pods implements controller.History.
func (s *simulated) Pods(_ context.Context, _ controller.Workload, from, to time.Time, step time.Duration) ([]float64, error) {
	return s.grid(s.ready, from, to, step)
}

// Filled implements controller.History.
func (s *simulated) Filled() uint64 { return 0 }

func (s *simulated) grid(minutes []float64, from, to time.Time, step time.Duration) ([]float64, error) {
	if step != time.Minute {
		return nil, fmt.Errorf("step is %v; the simulation has minutes", step)
	}
	out := make([]float64, int(to.Sub(from)/step))
	first := int(from.Sub(s.begin) / step)
	for i := range out {
		if k := first + i; k >= 0 && k < len(minutes) {
			out[i] = minutes[k]
		} else {
			out[i] = math.NaN()
		}
	}
	return out, nil
}
