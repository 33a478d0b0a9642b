//go:build integration

package integration

import (
	"context"
	"fmt"
	"iter"
	"math"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/foretide/foretide/aggregator/capacity"
	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/workload"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// room hands the cluster's capacity to the controller.
type room struct{ *capacity.Cluster }

func (r room) Room(shape *corev1.PodSpec, node string, most int32) controller.Room {
	return controller.Room(r.Cluster.Room(shape, node, most))
}

func capacityOf(d *workload.Directory) room {
	return room{capacity.New(capacity.Options{
		Nodes: d.GPUNodes, Changes: d.Changes,
		Pods: func() iter.Seq[capacity.Pod] {
			return func(yield func(capacity.Pod) bool) {
				for claim := range d.Claims() {
					if !yield(capacity.Pod(claim)) {
						return
					}
				}
			}
		},
	})}
}

// node makes one that is ready and has GPUs, as a kubelet would.
func node(t *testing.T, name, gpus string) *corev1.Node {
	t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{capacity.ProductLabel: "A100", "pool": name}}}
	create(t, n)
	t.Cleanup(func() { _ = apiServer.client.Delete(context.Background(), n) })
	n.Status.Allocatable = corev1.ResourceList{
		"cpu": resource.MustParse("64"), "memory": resource.MustParse("256Gi"), "pods": resource.MustParse("110"), workload.DefaultGPUResource: resource.MustParse(gpus),
	}
	n.Status.Capacity = n.Status.Allocatable
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if err := apiServer.client.Status().Update(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	// The controllers that lift it do not run here.
	if err := apiServer.client.Patch(t.Context(), n, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"taints":null}}`))); err != nil {
		t.Fatal(err)
	}
	return n
}

// bind puts a pod on a node, as the scheduler would.
func bind(t *testing.T, pod *corev1.Pod, node string) {
	t.Helper()
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: node}}
	if err := apiServer.client.SubResource("binding").Create(t.Context(), pod, binding); err != nil {
		t.Fatal(err)
	}
}

// onPool has pods run on one node alone.
func onPool(t *testing.T, namespace, name, pool string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": "other"}},
		Spec: corev1.PodSpec{NodeSelector: map[string]string{"pool": pool}, Containers: []corev1.Container{{
			Name: "model", Image: "example.com/model:1",
			Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{workload.DefaultGPUResource: resource.MustParse("1")}},
		}}},
	}
	create(t, pod)
	t.Cleanup(func() { _ = apiServer.client.Delete(context.Background(), pod, client.GracePeriodSeconds(0)) })
	return pod
}

// limited is a policy's condition ScalingLimited, and its replicas.
func limited(ctx context.Context, namespace string) string {
	var policy v1alpha1.AdvancedHorizontalPodAutoscaler
	if err := apiServer.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "fib-gpu"}, &policy); err != nil {
		return err.Error()
	}
	c := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionScalingLimited)
	if c == nil || policy.Status.CurrentReplicas == nil {
		return "nothing yet"
	}
	return fmt.Sprintf("%d replicas, %s: %s", *policy.Status.CurrentReplicas, c.Reason, c.Message)
}

func expectLimited(t *testing.T, namespace, want string) {
	t.Helper()
	eventually(t, func(context.Context) string {
		if got := limited(t.Context(), namespace); !strings.HasPrefix(got, want) {
			return fmt.Sprintf("fib-gpu has %q, want %q", got, want)
		}
		return ""
	})
}

func TestReplicasThatFindNoGPUAreSaidAndGoOnWhenOneIsFree(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "crowd-"}}
	create(t, namespace)
	pool := namespace.Name
	node(t, pool, "3")
	startController(t, &telemetry{busy: 0.6, known: true})
	deploy(t, namespace.Name, "bert")
	other := onPool(t, namespace.Name, "other", pool)
	bind(t, other, pool)
	var pod corev1.Pod
	if err := apiServer.client.Get(t.Context(), client.ObjectKey{Namespace: namespace.Name, Name: "bert-5d8f-x1"}, &pod); err != nil {
		t.Fatal(err)
	}
	bind(t, &pod, pool)

	policy := manifest("fib-gpu")
	policy.SetNamespace(namespace.Name)
	set("auto", "spec", "scaleStrategy")(policy)
	set(int64(0), "spec", "maxPendingReplicas")(policy)
	create(t, policy)
	expectLimited(t, namespace.Name, "2 replicas, NoFreeGPUs: 3 replicas are wanted and 1 have a node: 2 more GPUs of type A100 are wanted, 1 are free")

	if err := apiServer.client.Delete(t.Context(), other, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	expectLimited(t, namespace.Name, "3 replicas, DesiredWithinRange")
}

// daily is telemetry of a workload whose demand rises far within the next half hour, as it did each day before.
type daily struct {
	*telemetry
	now time.Time
}

func (d daily) Demand(_ context.Context, _ controller.Workload, _ string, from, to time.Time, step time.Duration) ([]float64, error) {
	values := make([]float64, int(to.Sub(from)/step))
	for i := range values {
		day := d.now.Sub(from.Add(time.Duration(i)*step)).Hours() / 24
		values[i] = 0.2
		if into := math.Ceil(day) - day; into > 0.5/24 && into < 4.0/24 && day > 0 { // of the day that began now
			values[i] = 1.2
		}
	}
	return values, nil
}

func TestPlaceholdersAreADeploymentThatGoesWithThePolicy(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "hold-"}}
	create(t, namespace)
	seen := daily{&telemetry{busy: 0.1, known: true}, time.Now()}
	startControllerWith(t, seen, seen)
	deploy(t, namespace.Name, "bert")
	policy := manifest("fib-gpu")
	policy.SetNamespace(namespace.Name)
	set("auto", "spec", "scaleStrategy")(policy)
	set(int64(2), "spec", "minReplicas")(policy)
	set(map[string]any{"provisioningSeconds": int64(3600)}, "spec", "placeholders")(policy)
	create(t, policy)

	// Without the component the aggregator may not, and says so.
	eventually(t, func(ctx context.Context) string {
		return missingEvent(ctx, namespace.Name, "FailedPlaceholders", "apply deploy/components/placeholders")
	})
	for _, file := range []string{"rbac.yaml", "priorityclass.yaml"} {
		if out, err := kubectl(t, nil, "apply", "-f", "../../deploy/components/placeholders/"+file); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	t.Cleanup(func() {
		_, _ = kubectl(t, nil, "delete", "-f", "../../deploy/components/placeholders/rbac.yaml")
	})
	key := client.ObjectKey{Namespace: namespace.Name, Name: "fib-gpu-placeholder"}
	var held appsv1.Deployment
	eventually(t, func(ctx context.Context) string {
		if err := apiServer.client.Get(ctx, key, &held); err != nil {
			return err.Error()
		}
		return ""
	})
	if n := *held.Spec.Replicas; n < 1 || n > 6 {
		t.Errorf("%d placeholders", n)
	}
	spec := held.Spec.Template.Spec
	if spec.PriorityClassName != controller.PlaceholderPriorityClass || !spec.Containers[0].Resources.Limits[workload.DefaultGPUResource].Equal(resource.MustParse("1")) {
		t.Errorf("placeholders are %+v", spec)
	}
	if len(held.OwnerReferences) != 1 || held.OwnerReferences[0].Name != "fib-gpu" {
		t.Errorf("they belong to %+v", held.OwnerReferences)
	}

	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"placeholders":null}}`))
	if err := apiServer.client.Patch(t.Context(), policy, patch); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) string {
		if err := apiServer.client.Get(ctx, key, &held); !apierrors.IsNotFound(err) {
			return fmt.Sprintf("the placeholders are still there: %v", err)
		}
		return ""
	})
}

func TestADeploymentOfThatNameThatIsSomeoneElsesStaysTheirs(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "theirs-"}}
	create(t, namespace)
	for _, file := range []string{"rbac.yaml", "priorityclass.yaml"} {
		if out, err := kubectl(t, nil, "apply", "-f", "../../deploy/components/placeholders/"+file); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	seen := daily{&telemetry{busy: 0.1, known: true}, time.Now()}
	startControllerWith(t, seen, seen)
	theirs := deploy(t, namespace.Name, "fib-gpu-placeholder")
	deploy(t, namespace.Name, "bert")
	policy := manifest("fib-gpu")
	policy.SetNamespace(namespace.Name)
	set("auto", "spec", "scaleStrategy")(policy)
	set(map[string]any{"provisioningSeconds": int64(3600)}, "spec", "placeholders")(policy)
	create(t, policy)
	eventually(t, func(ctx context.Context) string {
		return missingEvent(ctx, namespace.Name, "FailedPlaceholders", "conflict")
	})
	var now appsv1.Deployment
	if err := apiServer.client.Get(t.Context(), client.ObjectKeyFromObject(theirs), &now); err != nil || now.Generation != 1 || len(now.OwnerReferences) > 0 {
		t.Errorf("it was changed (%v): %+v", err, now.ObjectMeta)
	}
}
