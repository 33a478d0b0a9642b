package app

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/exporter"
	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/aggregator/workload"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

func TestNeedIsOfEachWorkloadOnceByThePolicyThatActs(t *testing.T) {
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	steps := func(busy float64) []float64 { // from two hours on
		out := make([]float64, 288)
		for i := range out {
			if i >= 24 {
				out[i] = busy
			}
		}
		return out
	}
	made := &forecast.Forecast{Start: now, Step: outlookStep, Mean: steps(2), Levels: []float64{0.5, 0.95, 0.99}, Quantiles: [][]float64{steps(2), steps(3), steps(4)}}
	decided := func(name, workload string, replicas int32, change func(*controller.Evaluation)) controller.Evaluation {
		e := controller.Evaluation{
			Namespace: "default", Name: name, At: now.Add(-2 * time.Second), Strategy: v1alpha1.StrategyAuto, Min: 1, Max: 9, Metrics: gpuAt(50),
			Workload: controller.Workload{Namespace: "default", Kind: "Deployment", Name: workload},
			Decision: &scaling.Decision{Replicas: replicas}, GPUs: controller.GPUs{Type: "A100", PerPod: 2},
			Forecast: controller.Prediction{Forecast: made, Acts: true},
		}
		if change != nil {
			change(&e)
		}
		return e
	}
	b := board{latest: map[string]controller.Evaluation{}}
	for _, e := range []controller.Evaluation{
		decided("acts", "bert", 2, nil),
		decided("a-observer", "bert", 7, func(e *controller.Evaluation) { e.Strategy = v1alpha1.StrategyObserver }),
		decided("young", "tide", 3, func(e *controller.Evaluation) { e.Forecast.Acts = false }),
		decided("other-type", "llama", 1, func(e *controller.Evaluation) { e.GPUs.Type = "H100" }),
		decided("long-ago", "gone", 5, func(e *controller.Evaluation) { e.At = now.Add(-time.Hour) }),
		decided("unknown-type", "dra", 5, func(e *controller.Evaluation) { e.GPUs.Type = "" }),
		decided("no-target", "lost", 5, func(e *controller.Evaluation) { e.Decision = nil }),
	} {
		b.latest[e.Name] = e
	}
	over := func(name string, mean, upper float64) exporter.Horizon {
		return exporter.Horizon{Name: name, Mean: mean, Upper: upper}
	}
	want := []exporter.Needed{
		// bert: 4 GPUs now (2 at least), later 2/0.5 and 3/0.5; tide 6 all the time
		{Type: "A100", Now: 10, Ever: []exporter.Horizon{over("1h", 8, 8), over("6h", 10, 12), over("24h", 10, 12)}},
		{Type: "H100", Now: 2, Ever: []exporter.Horizon{over("1h", 2, 2), over("6h", 4, 6), over("24h", 4, 6)}},
	}
	if diff := cmp.Diff(want, b.needed(now), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Errorf("needed (-want +got):\n%s", diff)
	}
}

// claimed has pods hold two GPUs each; of one nothing is known.
type claimed struct{}

func (claimed) Load(_, pod, _ string, _, _ time.Time) (controller.Load, bool) {
	return controller.Load{GPUs: 2}, pod != "silent"
}

func (claimed) Trouble(string, time.Time) string { return "" }

func TestGPUsOfResourceClaimsAreThoseThatAPodIsSeenToHold(t *testing.T) {
	pods := []workload.Pod{
		{Name: "asks", GPUs: 1}, {Name: "asks-and-claims", GPUs: 1, Claims: true}, {Name: "claims", Claims: true},
		{Name: "silent", Claims: true}, {Name: "neither"},
	}
	got := withClaimed(toTarget(workload.Target{Pods: pods}), pods, claimed{}, time.Now())
	for i, want := range []float64{1, 1, 2, 0, 0} {
		if got.Pods[i].GPUs != want {
			t.Errorf("%s has %v GPUs, want %v", got.Pods[i].Name, got.Pods[i].GPUs, want)
		}
	}
}

// gpuAt is the one metric gpu with a target in percent.
func gpuAt(percent int32) []controller.MetricEvaluation {
	return []controller.MetricEvaluation{{ID: controller.GPU, Spec: v1alpha1.MetricSpec{Type: v1alpha1.MetricSourceResource, Resource: &v1alpha1.ResourceMetric{
		Name: v1alpha1.ResourceGPU, Target: v1alpha1.MetricTarget{Type: v1alpha1.UtilizationTarget, AverageUtilization: &percent},
	}}}}
}
