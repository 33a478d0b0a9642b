//go:build integration

package integration

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/foretide/foretide/aggregator/workload"
)

// object is one of a kind that this module has no types of.
func object(apiVersion, kind, namespace, name string, spec map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "spec": spec}}
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

// say writes an object's status, as its controller would.
func say(t *testing.T, o *unstructured.Unstructured, status map[string]any) {
	t.Helper()
	if err := apiServer.client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	o.Object["status"] = status
	if err := apiServer.client.Status().Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// serving is a ready pod with a GPU and labels.
func serving(namespace, name string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "model", Image: "example.com/model:1",
			Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{workload.DefaultGPUResource: resource.MustParse("1")}},
		}}},
	}
}

func apply(t *testing.T, file string) {
	t.Helper()
	if out, err := kubectl(t, nil, "apply", "-f", file); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func established(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if out, err := kubectl(t, nil, "wait", "--for=condition=Established", "crd/"+name, "--timeout=30s"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// pointedAt is fib-gpu in auto at another kind of target.
func pointedAt(namespace, apiVersion, kind, name string) client.Object {
	policy := manifest("fib-gpu")
	policy.SetNamespace(namespace)
	set("auto", "spec", "scaleStrategy")(policy)
	set(map[string]any{"apiVersion": apiVersion, "kind": kind, "name": name}, "spec", "scaleTargetRef")(policy)
	return policy
}

func TestAKindOfSomebodyElsesIsScaled(t *testing.T) {
	apply(t, "testdata/servinggroup.yaml")
	established(t, "servinggroups.example.com")
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "custom-"}}
	create(t, namespace)
	startController(t, &telemetry{busy: 0.6, known: true})
	group := object("example.com/v1", "ServingGroup", namespace.Name, "bert", map[string]any{"replicas": int64(1)})
	create(t, group)
	say(t, group, map[string]any{"replicas": int64(1), "hpaPodSelector": "group=bert"})
	start(t, serving(namespace.Name, "bert-0", map[string]string{"group": "bert"}))
	create(t, pointedAt(namespace.Name, "example.com/v1", "ServingGroup", "bert"))
	// Its status lags behind for as long as its controller takes, here for ever.
	expectState(t, namespace.Name, "desired 3, replicas 3, ReadyForNewScale, FreshTelemetry")
}

func TestAKnativeServiceIsGivenAFloor(t *testing.T) {
	asAggregator(t)
	apply(t, "testdata/knative.yaml")
	apply(t, "../../deploy/components/knative/rbac.yaml")
	established(t, "services.serving.knative.dev", "revisions.serving.knative.dev")
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "knative-"}}
	create(t, namespace)
	seen := &telemetry{busy: 0.6, known: true}
	startController(t, seen)
	service := object("serving.knative.dev/v1", "Service", namespace.Name, "bert", map[string]any{"template": map[string]any{}})
	create(t, service)
	revision := func(name string) *unstructured.Unstructured {
		r := object("serving.knative.dev/v1", "Revision", namespace.Name, name, map[string]any{})
		create(t, r)
		say(t, r, map[string]any{"desiredReplicas": int64(1), "actualReplicas": int64(1)})
		start(t, serving(namespace.Name, name+"-deployment-x", map[string]string{"serving.knative.dev/service": "bert", "serving.knative.dev/revision": name}))
		return r
	}
	first := revision("bert-00001")
	say(t, service, map[string]any{"latestReadyRevisionName": "bert-00001"})
	create(t, pointedAt(namespace.Name, "serving.knative.dev/v1", "Service", "bert"))

	// An old Knative would replace the pods for it: said, and not done.
	expectState(t, namespace.Name, "desired 3, replicas 1, FailedUpdateScale, FreshTelemetry")
	expectFloor(t, first, "")
	label := []string{"label", "crd/revisions.serving.knative.dev", "app.kubernetes.io/version=1.21.0", "--overwrite"}
	if out, err := kubectl(t, nil, label...); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	expectFloor(t, first, "3")

	// Knative runs more than the floor for its own reasons: nobody's conflict, and the floor follows the load alone.
	say(t, first, map[string]any{"desiredReplicas": int64(3), "actualReplicas": int64(1)})
	expectState(t, namespace.Name, "desired 3, replicas 3, ReadyForNewScale, FreshTelemetry")

	// A new Revision has no floor of ours yet, and gets one when it is ready. The Service itself is never written.
	second := revision("bert-00002")
	before := service.GetGeneration()
	say(t, service, map[string]any{"latestReadyRevisionName": "bert-00002"})
	expectFloor(t, second, "3")
	if err := apiServer.client.Get(t.Context(), client.ObjectKeyFromObject(service), service); err != nil || service.GetGeneration() != before {
		t.Errorf("the Service is at generation %d, was %d (%v): that makes a new Revision", service.GetGeneration(), before, err)
	}
}

func expectFloor(t *testing.T, revision *unstructured.Unstructured, want string) {
	t.Helper()
	eventually(t, func(ctx context.Context) string {
		if err := apiServer.client.Get(ctx, client.ObjectKeyFromObject(revision), revision); err != nil {
			return err.Error()
		}
		if got := revision.GetAnnotations()["autoscaling.knative.dev/min-scale"]; got != want {
			return fmt.Sprintf("the floor of %s is %q, want %q", revision.GetName(), got, want)
		}
		return ""
	})
}
