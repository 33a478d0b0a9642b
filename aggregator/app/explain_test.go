package app

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

func explained() *v1alpha1.AdvancedHorizontalPodAutoscaler {
	p := &v1alpha1.AdvancedHorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "fib-gpu"}}
	p.Spec.ScaleTargetRef = v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: "bert"}
	p.Spec.Metrics = []v1alpha1.MetricSpec{{Type: v1alpha1.MetricSourceResource, Resource: &v1alpha1.ResourceMetric{
		Name: v1alpha1.ResourceGPU, Target: v1alpha1.MetricTarget{Type: v1alpha1.UtilizationTarget, AverageUtilization: new(int32(60))},
	}}}
	p.Spec.ScaleStrategy, p.Spec.MaxReplicas = v1alpha1.StrategyAuto, 8
	p.Spec.Default()
	return p
}

func TestAPolicyIsExplained(t *testing.T) {
	p := explained()
	p.Status = v1alpha1.AdvancedHorizontalPodAutoscalerStatus{
		CurrentReplicas: new(int32(1)), DesiredReplicas: new(int32(6)), ReactiveReplicas: new(int32(2)), ProactiveReplicas: new(int32(6)),
		MinReplicas: new(int32(1)), MaxReplicas: new(int32(8)), LeadTimeSeconds: new(int32(240)), LeadTimePods: 12,
		CurrentMetrics: []v1alpha1.MetricStatus{{ReactiveReplicas: new(int32(2)), Resource: &v1alpha1.ResourceMetricStatus{Current: v1alpha1.MetricValueStatus{AverageUtilization: new(int32(90))}}}},
		Forecast:       &v1alpha1.ForecastStatus{Method: "seasonal", HistorySeconds: 12 * 86400, PeakGPUs: "3.1"},
		Decision:       &v1alpha1.DecisionStatus{Reason: "ForecastDemand", Message: "utilization is 90%: 2; the forecast peaks at 3.10 GPUs: 6; 6 replicas"},
		LastScaleTime:  &metav1.Time{Time: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)},
		Conditions:     []metav1.Condition{{Type: "AbleToScale", Status: "True", Reason: "ReadyForNewScale", Message: "the target can be read and set"}},
	}
	var out bytes.Buffer
	explain(&out, p)
	want := `Deployment bert in default: 1 replica, and 6 replicas decided; the strategy is auto

Why: ForecastDemand
     utilization is 90%: 2;
     the forecast peaks at 3.10 GPUs: 6;
     6 replicas.

Load       gpu is 90%, the target is 60%; that asks for 2 replicas
Forecast   seasonal, from 288h0m0s of history; its p95 peaks at 3.1 busy GPUs within 240 s (what nine in ten of 12 pods took to start); that asks for 6 replicas
Bounds     1 to 8
Scaled     last at 2026-03-02T12:00:00Z

AbleToScale True, ReadyForNewScale: the target can be read and set
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWhatIsNotKnownIsSaid(t *testing.T) {
	p := explained()
	p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionForecastReady, Status: metav1.ConditionFalse, Reason: "InsufficientHistory", Message: "7 known points"}}
	for want, change := range map[string]func(){
		"nothing is decided": func() {},
		"an unknown number of replicas, and 2 replicas decided; the strategy is observer, so nothing is set": func() { p.Status.DesiredReplicas, p.Spec.ScaleStrategy = new(int32(2)), v1alpha1.StrategyObserver },
		"the policy is paused, so nothing is set":                                                            func() { p.Status.DesiredReplicas, p.Spec.Paused = new(int32(2)), true },
		"gpu is not known, the target is 60%; that asks for an unknown number of replicas":                   func() {},
		"2 replicas decided; nothing is set: HorizontalPodAutoscaler \"bert\" scales the same target": func() {
			p.Status.DesiredReplicas = new(int32(2))
			p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAbleToScale, Status: metav1.ConditionFalse, Message: `HorizontalPodAutoscaler "bert" scales the same target`}}
		},
		"nothing is set: someone else set 8 replicas at 2026-03-02T12:00:00Z when 4 were decided": func() {
			p.Status.DesiredReplicas = new(int32(4))
			p.Status.ManualOverride = &v1alpha1.ManualOverrideStatus{Replicas: 8, DecidedReplicas: 4, Since: metav1.NewTime(time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC))}
		},
		"the strategy is observer, so nothing is set; policy \"old\" is older": func() {
			p.Status.DesiredReplicas, p.Spec.ScaleStrategy = new(int32(2)), v1alpha1.StrategyObserver
			p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionTargetConflict, Status: metav1.ConditionTrue, Message: `policy "old" is older`}}
		},
		"No aggregator has looked at it since it was last changed": func() { p.Generation = 2 },
		"Forecast   none: 7 known points":                          func() {},
	} {
		change()
		var out bytes.Buffer
		explain(&out, p)
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
		p = explained()
		p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionForecastReady, Status: metav1.ConditionFalse, Message: "7 known points"}}
	}
}

func TestExplainSaysWhatItNeeds(t *testing.T) {
	for _, name := range []string{"", "fib-gpu", "/fib-gpu", "default/"} {
		if err := Explain(t.Context(), []string{"--policy=" + name}, io.Discard); err == nil || !strings.Contains(err.Error(), "it must be namespace/name") {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := Explain(t.Context(), []string{"--policy=a/b", "--kubernetes.kubeconfig=/nowhere"}, io.Discard); err == nil || !strings.Contains(err.Error(), "--kubernetes.kubeconfig") {
		t.Errorf("no kubeconfig: %v", err)
	}
}
