package app

import (
	"math"
	"testing"
	"time"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/aggregator/simulate"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// offered is two busy GPUs at night and twelve by day: the minute of each, for so long from midnight on.
func offered(length, step time.Duration) (out []float64) {
	for i := range int(length / step) {
		out = append(out, 7-5*math.Cos(2*math.Pi*float64(i)*step.Hours()/24))
	}
	return out
}

func simulatedPolicy(strategy v1alpha1.ScaleStrategy) *v1alpha1.AdvancedHorizontalPodAutoscaler {
	p := &v1alpha1.AdvancedHorizontalPodAutoscaler{}
	p.Namespace, p.Name, p.UID, p.Generation = "default", "sim", "sim", 1
	p.Spec = v1alpha1.AdvancedHorizontalPodAutoscalerSpec{
		ScaleStrategy: strategy, ScaleTargetRef: v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, MaxReplicas: 50,
		Metrics: []v1alpha1.MetricSpec{{Type: v1alpha1.MetricSourceResource, Resource: &v1alpha1.ResourceMetric{
			Name: v1alpha1.ResourceGPU, Target: v1alpha1.MetricTarget{Type: v1alpha1.UtilizationTarget, AverageUtilization: new(int32(80))},
		}}},
	}
	p.Spec.Default()
	return p
}

func TestTheForecastHasPodsThereThatTheLoadAloneWouldWaitFor(t *testing.T) {
	const step = 15 * time.Second
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	world := simulate.World{Step: step, Sync: step, Lag: 15 * time.Second, GPUsPerPod: 1, Startup: simulate.Always(7 * time.Minute), Replicas: 4}
	trace := simulate.Trace{Start: start, Offered: offered(24*time.Hour, step)}
	play := func(strategy v1alpha1.ScaleStrategy) simulate.Result {
		policy := simulatedPolicy(strategy)
		policy.Spec.Prediction.ScaleUpForward.IntVal = 420
		r, err := Fly(world, trace, policy, offered(7*24*time.Hour, time.Minute), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %+v", strategy, r)
		return r
	}
	auto, reactive := play(v1alpha1.StrategyAuto), play(v1alpha1.StrategyReactive)
	if auto.Short > 0 || auto.GPUHours > 1.25*reactive.GPUHours {
		t.Errorf("auto %+v, reactive %+v", auto, reactive)
	}
}

func TestAPolicyIsShownWhichPodsServeStartAndLackGPUs(t *testing.T) {
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	world := simulate.World{GPUsPerPod: 1}
	s := newSimulated(t.Context(), world, simulate.Trace{Start: start}, simulatedPolicy(v1alpha1.StrategyAuto), nil)
	s.Decide(simulate.View{Now: start, Replicas: 4, Ready: 1, Settled: 1, Starting: 3, Pending: 2, Utilization: 1, Busy: 1})
	for i, pod := range s.pods {
		ready, lacks := i == 0, i >= 2
		if (pod.State == scaling.Ready) != ready || pod.LacksGPUs != lacks || (pod.Node == "") != lacks {
			t.Errorf("pod %d: %+v", i, pod)
		}
	}
	if len(s.pods) != 4 {
		t.Errorf("%d pods", len(s.pods))
	}
}

func TestAPodThatJustBecameReadyIsSeenAsIdle(t *testing.T) {
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	world := simulate.World{GPUsPerPod: 1, Lag: 15 * time.Second}
	s := newSimulated(t.Context(), world, simulate.Trace{Start: start}, simulatedPolicy(v1alpha1.StrategyReactive), nil)
	view := simulate.View{Replicas: 10, Ready: 5, Settled: 5, Starting: 5, Utilization: 0.94, Busy: 4.7}
	for i := range 3 { // five of ten become ready in the second look, in the third their load is still of before
		view.Now = start.Add(time.Duration(i) * 15 * time.Second)
		if i > 0 {
			view.Ready, view.Starting = 10, 0
		}
		if got := s.Decide(view); got != 10 {
			t.Errorf("4.7 busy GPUs, held to 80 %%, with pods that are %d of 10 ready: %d replicas", view.Ready, got)
		}
	}
}
