package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

func TestWhatABehaviorLeavesOutHasItsDefault(t *testing.T) {
	spec := policy().Spec
	spec.StabilizationWindowSeconds = ptr.To(int32(60))
	spec.Behavior = &v1alpha1.Behavior{
		ScaleUp: &v1alpha1.ScalingRules{
			Tolerance: ptr.To(resource.MustParse("0.05")), SelectPolicy: v1alpha1.SelectMin, StabilizationWindowSeconds: ptr.To(int32(30)),
		},
		ScaleDown: &v1alpha1.ScalingRules{Policies: []v1alpha1.ScalingPolicy{
			{Type: v1alpha1.PodsPolicy, Value: 2, PeriodSeconds: 60}, {Type: v1alpha1.PercentPolicy, Value: 10, PeriodSeconds: 120},
		}},
	}
	want := scaling.Policy{Up: scaling.DefaultUp(), Down: scaling.DefaultDown()}
	want.Up.Tolerance, want.Up.Select, want.Up.Stabilization = 0.05, scaling.SelectMin, 30*time.Second
	want.Down.Stabilization = time.Minute
	want.Down.Limits = []scaling.Limit{{Value: 2, Period: time.Minute}, {Percent: true, Value: 10, Period: 2 * time.Minute}}
	if diff := cmp.Diff(want, scalingPolicy(spec)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	spec.Behavior.ScaleUp.Policies = []v1alpha1.ScalingPolicy{}
	if got := scalingPolicy(spec); len(got.Up.Limits) != 2 {
		t.Errorf("a list of no policies limits by %v, want the default", got.Up.Limits)
	}
	spec.Behavior.ScaleDown.StabilizationWindowSeconds = ptr.To(int32(0))
	if got := scalingPolicy(spec); got.Down.Stabilization != 0 {
		t.Errorf("a window of none in behavior gives %v", got.Down.Stabilization)
	}
}

// Load asks for 4 of 2 replicas, then for 1 of 4; nothing is forecast.
func TestAStrategySaysWhichDecisionsAreApplied(t *testing.T) {
	for strategy, want := range map[v1alpha1.ScaleStrategy]string{
		v1alpha1.StrategyObserver:      "",
		v1alpha1.StrategyAuto:          "bert@1=4 bert@1=1",
		v1alpha1.StrategyScalingUpOnly: "bert@1=4",
		v1alpha1.StrategyReactive:      "bert@1=4 bert@1=1",
		v1alpha1.StrategyProactive:     "",
		"ofALaterVersion":              "",
	} {
		w := newWorld(2, 0.40)
		p := policy()
		p.Spec.ScaleStrategy, p.Spec.StabilizationWindowSeconds = strategy, ptr.To(int32(0))
		b := newBench(t, w, p)
		b.sync("fib-gpu", 0)
		w.run(4, 0.04)
		b.sync("fib-gpu", time.Minute) // waits, for the pods have just changed
		b.sync("fib-gpu", time.Minute)
		if got := strings.Join(w.scaled, " "); got != want {
			t.Errorf("%s: scaled %q, want %q", strategy, got, want)
		}
	}
}

func TestAPausedPolicyDecidesAndScalesNothing(t *testing.T) {
	w := newWorld(2, 0.40)
	p := policy()
	p.Spec.ScaleStrategy, p.Spec.Paused = v1alpha1.StrategyAuto, true
	got := newBench(t, w, p).sync("fib-gpu", 0)
	if len(w.scaled) > 0 || *got.Status.DesiredReplicas != 4 {
		t.Errorf("scaled %v, %d are decided", w.scaled, *got.Status.DesiredReplicas)
	}
	if c := got.Status.Conditions[0]; c.Type != v1alpha1.ConditionAbleToScale || c.Reason != "Paused" {
		t.Errorf("condition %+v", c)
	}
}
