//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// mortal is a client that dies before a write: all of them fail from then on, as those of a process that is killed there.
type mortal struct {
	client.Client
	writes *atomic.Int64 // that are left
}

func (m mortal) Patch(ctx context.Context, object client.Object, patch client.Patch, opts ...client.PatchOption) error {
	if m.writes.Add(-1) < 0 {
		return errors.New("killed")
	}
	return m.Client.Patch(ctx, object, patch, opts...)
}

// scaledByCPU is a HorizontalPodAutoscaler of bert with a behavior of its own.
func scaledByCPU(namespace string) *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "bert"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "bert"},
			MinReplicas:    new(int32(1)), MaxReplicas: 2,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
				Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(60))},
			}}},
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{
				ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(60))},
			},
		},
	}
}

// takingOver is fib-gpu, which acts and takes bert's HorizontalPodAutoscaler over.
func takingOver(t *testing.T, namespace string) client.Object {
	t.Helper()
	policy := manifest("fib-gpu")
	policy.SetNamespace(namespace)
	policy.SetAnnotations(map[string]string{v1alpha1.TakeoverAnnotation: "bert"})
	set("auto", "spec", "scaleStrategy")(policy)
	return policy
}

// inertWithOriginal says whether a HorizontalPodAutoscaler moves nothing; an error tells of one that does not and has an
// original all the same, or the other way round.
func inertWithOriginal(ctx context.Context, namespace string) (bool, error) {
	var hpa autoscalingv2.HorizontalPodAutoscaler
	if err := apiServer.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "bert"}, &hpa); err != nil {
		return false, err
	}
	off := func(rules *autoscalingv2.HPAScalingRules) bool {
		return rules != nil && rules.SelectPolicy != nil && *rules.SelectPolicy == autoscalingv2.DisabledPolicySelect
	}
	b := hpa.Spec.Behavior
	inert := b != nil && off(b.ScaleUp) && off(b.ScaleDown) && hpa.Spec.MaxReplicas == math.MaxInt32
	if _, kept := hpa.Annotations[v1alpha1.OriginalSpecAnnotation]; kept != inert {
		return inert, fmt.Errorf("inert %v, original kept %v: %+v", inert, kept, hpa)
	}
	return inert, nil
}

func expectConflict(t *testing.T, namespace, want string) {
	t.Helper()
	eventually(t, func(ctx context.Context) string {
		var policy v1alpha1.AdvancedHorizontalPodAutoscaler
		if err := apiServer.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "fib-gpu"}, &policy); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionTargetConflict)
		if c == nil || !strings.HasPrefix(string(c.Status)+" "+c.Reason+": "+c.Message, want) {
			return fmt.Sprintf("TargetConflict is %+v, want %s", c, want)
		}
		return ""
	})
}

// TestATakeoverThatIsKilledAtAnyWriteGoesOn needs four writes: the finalizer, the HorizontalPodAutoscaler, it again, the finalizer.
func TestATakeoverThatIsKilledAtAnyWriteGoesOn(t *testing.T) {
	apply(t, "../../deploy/components/takeover/rbac.yaml")
	for kill := range int64(4) {
		t.Run(fmt.Sprintf("after %d writes", kill), func(t *testing.T) {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "takeover-"}}
			create(t, namespace)
			deploy(t, namespace.Name, "bert")
			hpa := scaledByCPU(namespace.Name)
			create(t, hpa)
			original := hpa.DeepCopy() // with what the API server fills in

			var left atomic.Int64
			left.Store(kill)
			seen := &telemetry{busy: 0.6, known: true}
			_, stop := runController(t, seen, seen, func(c client.Client) client.Client { return mortal{c, &left} })
			policy := takingOver(t, namespace.Name)
			create(t, policy)
			if kill >= 2 {
				expectConflict(t, namespace.Name, "False TakenOver")
				if err := apiServer.client.Delete(t.Context(), policy); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, func(ctx context.Context) string {
				if _, err := inertWithOriginal(ctx, namespace.Name); err != nil {
					return err.Error()
				}
				if left.Load() >= 0 {
					return "not killed yet"
				}
				return ""
			})
			stop()
			inert, err := inertWithOriginal(t.Context(), namespace.Name)
			if err != nil || inert != (kill == 2) {
				t.Errorf("killed: inert %v, %v", inert, err)
			}

			startController(t, seen)
			if kill < 2 {
				expectState(t, namespace.Name, "desired 3, replicas 3, ReadyForNewScale, FreshTelemetry")
				if err := apiServer.client.Delete(t.Context(), policy); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, func(ctx context.Context) string {
				if err := apiServer.client.Get(ctx, client.ObjectKeyFromObject(policy), policy); !apierrors.IsNotFound(err) {
					return fmt.Sprintf("the policy is still there: %v, finalizers %q", err, policy.GetFinalizers())
				}
				return ""
			})
			if err := apiServer.client.Get(t.Context(), client.ObjectKeyFromObject(hpa), hpa); err != nil {
				t.Fatal(err)
			}
			if !equality.Semantic.DeepEqual(hpa.Spec, original.Spec) || len(hpa.Annotations) != len(original.Annotations) {
				t.Errorf("handed back %+v, %q, want %+v", hpa.Spec, hpa.Annotations, original.Spec)
			}
		})
	}
}

func TestAPolicyThatGoesBackToObserverHandsBack(t *testing.T) {
	apply(t, "../../deploy/components/takeover/rbac.yaml")
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "observe-"}}
	create(t, namespace)
	startController(t, &telemetry{busy: 0.6, known: true})
	deploy(t, namespace.Name, "bert")
	create(t, scaledByCPU(namespace.Name))
	deploy(t, namespace.Name, "other")
	elsewhere := scaledByCPU(namespace.Name)
	elsewhere.Name, elsewhere.Spec.ScaleTargetRef.Name = "other", "other"
	create(t, elsewhere)
	policy := takingOver(t, namespace.Name)
	create(t, policy)
	expectConflict(t, namespace.Name, "False TakenOver")
	if err := apiServer.client.Get(t.Context(), client.ObjectKeyFromObject(elsewhere), elsewhere); err != nil || len(elsewhere.Annotations) != 0 {
		t.Errorf("one that was not named: %+v, %v", elsewhere, err)
	}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"scaleStrategy":"observer"}}`))
	if err := apiServer.client.Patch(t.Context(), policy, patch); err != nil {
		t.Fatal(err)
	}
	expectConflict(t, namespace.Name, "False ToBeTakenOver")
	if inert, err := inertWithOriginal(t.Context(), namespace.Name); inert || err != nil {
		t.Errorf("inert %v, %v", inert, err)
	}
}

// TestReplicasThatAPersonSetsStand scales with kubectl, as people do.
func TestReplicasThatAPersonSetsStand(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "hand-"}}
	create(t, namespace)
	seen := &telemetry{busy: 0.6, known: true}
	startController(t, seen)
	deploy(t, namespace.Name, "bert")
	policy := manifest("fib-gpu")
	policy.SetNamespace(namespace.Name)
	set("auto", "spec", "scaleStrategy")(policy)
	create(t, policy)
	expectState(t, namespace.Name, "desired 3, replicas 3, ReadyForNewScale, FreshTelemetry")
	more := func(busy float64, names ...string) { // they share the load, which is lowered first: that takes five minutes to count
		seen.set(busy, true)
		for _, name := range names {
			var pod corev1.Pod
			if err := apiServer.client.Get(t.Context(), client.ObjectKey{Namespace: namespace.Name, Name: "bert-5d8f-x1"}, &pod); err != nil {
				t.Fatal(err)
			}
			pod.ObjectMeta = metav1.ObjectMeta{Namespace: namespace.Name, Name: name, Labels: pod.Labels, OwnerReferences: pod.OwnerReferences}
			start(t, &pod)
		}
	}
	more(0.2, "bert-5d8f-x2", "bert-5d8f-x3")
	expectState(t, namespace.Name, "desired 3, replicas 3, ReadyForNewScale, FreshTelemetry")
	seen.set(0.1, true) // first: at the target, any number of replicas would be right, that of someone else too
	if out, err := kubectl(t, nil, "scale", "-n", namespace.Name, "deployment/bert", "--replicas=5"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	more(0.1, "bert-5d8f-x4", "bert-5d8f-x5")
	expectState(t, namespace.Name, "desired 3, replicas 5, ManualOverride, FreshTelemetry")
	eventually(t, func(ctx context.Context) string { // the load of all five has been seen (that of four asks for two): what is decided from now on is compared with that
		var p v1alpha1.AdvancedHorizontalPodAutoscaler
		if err := apiServer.client.Get(ctx, client.ObjectKey{Namespace: namespace.Name, Name: "fib-gpu"}, &p); err != nil {
			return err.Error()
		}
		percent, asked := p.Status.CurrentMetrics[0].Current().AverageUtilization, p.Status.ReactiveReplicas
		if percent == nil || asked == nil || *percent != 10 || *asked != 3 {
			return fmt.Sprintf("utilization %v asks for %v", percent, asked)
		}
		return ""
	})
	seen.set(0.16, true)
	expectState(t, namespace.Name, "desired 4, replicas 4, ReadyForNewScale, FreshTelemetry")
}
