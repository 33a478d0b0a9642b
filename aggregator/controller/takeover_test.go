package controller

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

func takes(hpa string) func(*v1alpha1.AdvancedHorizontalPodAutoscaler) {
	return func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		p.Annotations = map[string]string{v1alpha1.TakeoverAnnotation: hpa}
	}
}

// bertHPA scales bert on its CPU.
func bertHPA() *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "bert-hpa", Annotations: map[string]string{"team": "nlp"}},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "bert"},
			MinReplicas:    new(int32(2)), MaxReplicas: 5,
			Metrics: []autoscalingv2.MetricSpec{{
				Type: autoscalingv2.ResourceMetricSourceType,
				Resource: &autoscalingv2.ResourceMetricSource{
					Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(60))},
				},
			}},
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{
				ScaleDown: &autoscalingv2.HPAScalingRules{
					StabilizationWindowSeconds: new(int32(60)),
					Policies:                   []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 1, PeriodSeconds: 30}},
				},
			},
		},
	}
}

func (b *bench) create(objects ...client.Object) {
	b.t.Helper()
	for _, o := range objects {
		if err := b.Client.Create(b.t.Context(), o); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) hpa() *autoscalingv2.HorizontalPodAutoscaler {
	b.t.Helper()
	var hpa autoscalingv2.HorizontalPodAutoscaler
	if err := b.Client.Get(b.t.Context(), client.ObjectKey{Namespace: "default", Name: "bert-hpa"}, &hpa); err != nil {
		b.t.Fatal(err)
	}
	return &hpa
}

// change updates the policy fib-gpu.
func (b *bench) change(how func(*v1alpha1.AdvancedHorizontalPodAutoscaler)) {
	b.t.Helper()
	var p v1alpha1.AdvancedHorizontalPodAutoscaler
	if err := b.Client.Get(b.t.Context(), client.ObjectKey{Namespace: "default", Name: "fib-gpu"}, &p); err != nil {
		b.t.Fatal(err)
	}
	how(&p)
	if err := b.Client.Update(b.t.Context(), &p); err != nil {
		b.t.Fatal(err)
	}
}

// expectBack checks that the HorizontalPodAutoscaler is as it was, and that nothing is left on it.
func (b *bench) expectBack() {
	b.t.Helper()
	got := b.hpa()
	if diff := cmp.Diff(bertHPA().Spec, got.Spec); diff != "" {
		b.t.Errorf("spec (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(bertHPA().Annotations, got.Annotations); diff != "" {
		b.t.Errorf("annotations (-before +after):\n%s", diff)
	}
}

func TestAHorizontalPodAutoscalerIsTakenOverWhileThePolicyActs(t *testing.T) {
	b := newBench(t, newWorld(1, 0.60), policy(takes("bert-hpa")))
	b.create(bertHPA())
	p := b.sync("fib-gpu", 0)
	expectCondition(t, p, v1alpha1.ConditionTargetConflict, "False ToBeTakenOver")
	b.expectBack()

	b.change(auto)
	p = b.sync("fib-gpu", 2*time.Second) // it could decide at the last look
	expectCondition(t, p, v1alpha1.ConditionTargetConflict, "Unknown TakingOver")
	b.expectScaled()
	b.expectEvents(`TookOver: HorizontalPodAutoscaler "bert-hpa" scales nothing`)
	if hpa := b.hpa(); !isInert(hpa.Spec) || hpa.Annotations[v1alpha1.TakenOverByAnnotation] != "fib-gpu" || len(p.Finalizers) != 1 {
		t.Errorf("taken over: %+v, finalizers %q", hpa, p.Finalizers)
	}
	p = b.sync("fib-gpu", 2*time.Second)
	b.expectScaled("bert@1=3")
	expectCondition(t, p, v1alpha1.ConditionTargetConflict, "False TakenOver")
	expectCondition(t, p, v1alpha1.ConditionAbleToScale, "True SucceededRescale")
}

func TestAHorizontalPodAutoscalerIsHandedBackHoweverThePolicyStops(t *testing.T) {
	stops := map[string]func(*v1alpha1.AdvancedHorizontalPodAutoscaler){
		"the annotation goes": func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Annotations = nil },
		"observer":            func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.ScaleStrategy = v1alpha1.StrategyObserver },
		"paused":              func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.Paused = true },
		"another target":      func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.ScaleTargetRef.Name = "other" },
		"another one":         takes("other-hpa"),
	}
	for name, stop := range stops {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, newWorld(3, 0.20), policy(auto, takes("bert-hpa")))
			b.create(bertHPA())
			b.sync("fib-gpu", 0)
			if p := b.sync("fib-gpu", 2*time.Second); !isInert(b.hpa().Spec) {
				t.Fatalf("not taken over: %+v", p.Status.Conditions)
			}
			b.change(stop)
			p := b.sync("fib-gpu", 2*time.Second)
			b.expectBack()
			if len(p.Finalizers) != 0 {
				t.Errorf("finalizers %q", p.Finalizers)
			}
		})
	}
	t.Run("deleted", func(t *testing.T) {
		b := newBench(t, newWorld(3, 0.20), policy(auto, takes("bert-hpa")))
		b.create(bertHPA())
		b.sync("fib-gpu", 0)
		p := b.sync("fib-gpu", 2*time.Second)
		if err := b.Client.Delete(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if p := b.sync("fib-gpu", 2*time.Second); p != nil {
			t.Errorf("the policy is still there: %v", p.Finalizers)
		}
		b.expectBack()
	})
}

func TestWhatWasChangedDuringATakeoverStays(t *testing.T) {
	b := newBench(t, newWorld(3, 0.20), policy(auto, takes("bert-hpa")))
	b.create(bertHPA())
	b.sync("fib-gpu", 0)
	b.sync("fib-gpu", 2*time.Second)
	b.sync("fib-gpu", 2*time.Second)
	hpa := b.hpa()
	hpa.Spec.MaxReplicas = 9
	if err := b.Client.Update(t.Context(), hpa); err != nil {
		t.Fatal(err)
	}
	b.records = nil
	p := b.sync("fib-gpu", 2*time.Second)
	expectCondition(t, p, v1alpha1.ConditionTargetConflict, "True TakeoverUndone") // its bound of 9 holds even now
	b.change(func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Annotations = nil })
	b.sync("fib-gpu", 2*time.Second)
	want := bertHPA().Spec
	want.MaxReplicas = 9
	if diff := cmp.Diff(want, b.hpa().Spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if !strings.Contains(strings.Join(b.records, "\n"), "it was changed while it was taken over") {
		t.Errorf("events %q", b.records)
	}
}

func TestNothingIsTakenOverByAPolicyThatCannotDecide(t *testing.T) {
	b := newBench(t, newWorld(3, 0.20), policy(auto, takes("bert-hpa")))
	b.create(bertHPA())
	clear(b.loads)
	b.sync("fib-gpu", 0)
	p := b.sync("fib-gpu", 2*time.Second)
	expectCondition(t, p, v1alpha1.ConditionTargetConflict, "Unknown TakingOver")
	b.expectBack()
}

func TestNothingIsTakenOverBesideAnother(t *testing.T) {
	b := newBench(t, newWorld(3, 0.20), policy(auto, takes("bert-hpa")))
	second := bertHPA()
	second.Name = "second"
	b.create(bertHPA(), second)
	b.sync("fib-gpu", 0)
	p := b.sync("fib-gpu", 2*time.Second)
	expectCondition(t, p, v1alpha1.ConditionTargetConflict, "True HorizontalPodAutoscaler")
	b.expectBack()
}

func TestWhatKEDAScalesIsNotTakenOver(t *testing.T) {
	b := newBench(t, newWorld(3, 0.20), policy(auto, takes("bert-hpa")))
	hpa := bertHPA()
	hpa.OwnerReferences = []metav1.OwnerReference{{APIVersion: "keda.sh/v1alpha1", Kind: "ScaledObject", Name: "bert", UID: "1", Controller: new(true)}}
	b.create(hpa)
	b.sync("fib-gpu", 0)
	p := b.sync("fib-gpu", 2*time.Second)
	expectCondition(t, p, v1alpha1.ConditionTargetConflict, "True ScaledObject")
	b.expectBack()
}

func TestAYoungerPolicyTakesNothingOver(t *testing.T) {
	b := newBench(t, newWorld(3, 0.20), policy(auto, takes("bert-hpa")), policy(auto, named("old", 2*time.Hour)))
	b.create(bertHPA())
	b.sync("fib-gpu", 0)
	p := b.sync("fib-gpu", 2*time.Second)
	expectCondition(t, p, v1alpha1.ConditionTargetConflict, "True OlderPolicy")
	b.expectBack()
}

func TestAnObserverSaysWhatWouldStopIt(t *testing.T) {
	b := newBench(t, newWorld(1, 0.60), policy())
	b.create(bertHPA())
	p := b.sync("fib-gpu", 0)
	expectCondition(t, p, v1alpha1.ConditionTargetConflict, "True HorizontalPodAutoscaler")
	expectCondition(t, p, v1alpha1.ConditionAbleToScale, "True ObserverStrategy")
	b.expectEvents(`Warning TargetConflict: HorizontalPodAutoscaler "bert-hpa" scales the same target: this policy would scale nothing if it acted`)
}

func TestATargetThatKnativeScalesIsLeftToIt(t *testing.T) {
	w := newWorld(1, 0.60)
	w.target.ScaledBy = "Knative"
	b := newBench(t, w, policy(auto))
	p := b.sync("fib-gpu", 0)
	b.expectScaled()
	expectCondition(t, p, v1alpha1.ConditionTargetConflict, "True Knative")
}

func TestAnUnreadableOriginalIsSaidAndNothingIsGuessed(t *testing.T) {
	b := newBench(t, newWorld(3, 0.20), policy(auto, takes("bert-hpa")))
	b.create(bertHPA())
	b.sync("fib-gpu", 0)
	b.sync("fib-gpu", 2*time.Second)
	hpa := b.hpa()
	hpa.Annotations[v1alpha1.OriginalSpecAnnotation] = "{"
	if err := b.Client.Update(t.Context(), hpa); err != nil {
		t.Fatal(err)
	}
	b.change(func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Annotations = nil })
	p := b.sync("fib-gpu", 2*time.Second)
	expectCondition(t, p, v1alpha1.ConditionTargetConflict, "Unknown FailedHandBack")
	if m := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionTargetConflict).Message; !strings.Contains(m, "by hand") {
		t.Errorf("message %q", m)
	}
	if !isInert(b.hpa().Spec) {
		t.Error("it scales again")
	}
}

// TestAKillAtAnyWriteLeavesAHorizontalPodAutoscalerThatScalesOrIsInertWithItsOriginal ends the aggregator before each of its writes
// in turn, at taking over and at handing back, and lets another go on.
func TestAKillAtAnyWriteLeavesAHorizontalPodAutoscalerThatScalesOrIsInertWithItsOriginal(t *testing.T) {
	for kill := range 6 {
		b := newBench(t, newWorld(3, 0.20), policy(auto, takes("bert-hpa")))
		b.create(bertHPA())
		whole, writes := b.Client, 0
		killed := errors.New("killed")
		b.Client = interceptor.NewClient(whole.(client.WithWatch), interceptor.Funcs{
			Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
				if writes++; writes > kill {
					return killed
				}
				return c.Patch(ctx, obj, patch, opts...)
			},
		})
		sound := func() {
			t.Helper()
			hpa := b.hpa()
			if _, kept := hpa.Annotations[v1alpha1.OriginalSpecAnnotation]; isInert(hpa.Spec) != kept {
				t.Errorf("killed after %d writes: inert %v, original kept %v", kill, isInert(hpa.Spec), kept)
			}
		}
		for range 3 {
			b.sync("fib-gpu", 2*time.Second)
			sound()
		}
		b.change(func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Annotations = nil })
		b.sync("fib-gpu", 2*time.Second)
		sound()
		b.Client = whole
		p := b.sync("fib-gpu", 2*time.Second)
		b.expectBack()
		if len(p.Finalizers) != 0 {
			t.Errorf("killed after %d writes: finalizers %q", kill, p.Finalizers)
		}
	}
}
