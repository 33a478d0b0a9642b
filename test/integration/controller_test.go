//go:build integration

package integration

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/aggregator/workload"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// telemetry is what the pods do, as the test says; and a history that knows nothing.
type telemetry struct {
	mu    sync.Mutex
	busy  float64
	known bool
}

func (s *telemetry) set(busy float64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy, s.known = busy, known
}

func (s *telemetry) Load(string, string, string, time.Time, time.Time) (controller.Load, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return controller.Load{GPUs: 1, BusyGPUs: s.busy, Settled: true}, s.known
}

func (s *telemetry) Trouble(string, time.Time) string { return "" }

func (s *telemetry) Filled() uint64 { return 0 }

func (s *telemetry) Demand(_ context.Context, _ controller.Workload, _ string, from, to time.Time, step time.Duration) ([]float64, error) {
	values := make([]float64, int(to.Sub(from)/step))
	for i := range values {
		values[i] = math.NaN()
	}
	return values, nil
}

func (s *telemetry) Pods(ctx context.Context, w controller.Workload, from, to time.Time, step time.Duration) ([]float64, error) {
	return s.Demand(ctx, w, "", from, to, step) // as little is known of them
}

// targets hands the directory's targets to the controller.
type targets struct{ *workload.Directory }

func (d targets) Target(ctx context.Context, namespace string, ref v1alpha1.ScaleTargetRef) (controller.Target, error) {
	found, err := d.Directory.Target(ctx, namespace, workload.Reference(ref))
	if err != nil {
		return controller.Target{}, err
	}
	out := controller.Target{Workload: controller.Workload(found.ID), Replicas: found.Replicas, Floor: found.Floor, ScaledBy: found.ScaledBy, Version: found.Version, Shape: found.Shape}
	states := map[workload.State]scaling.PodState{workload.Ready: scaling.Ready, workload.Unready: scaling.Unready, workload.Gone: scaling.Gone}
	for _, p := range found.Pods {
		out.Pods = append(out.Pods, controller.Pod{Name: p.Name, Node: p.Node, State: states[p.State], GPUs: p.GPUs, LacksGPUs: p.LacksGPUs, ReadySince: p.ReadySince})
	}
	return out, nil
}

func (d targets) Scale(ctx context.Context, namespace string, ref v1alpha1.ScaleTargetRef, replicas int32, version string) error {
	return d.Directory.Scale(ctx, namespace, workload.Reference(ref), replicas, version)
}

// asAggregator connects with the rights the deployed aggregator has, and no others.
func asAggregator(t *testing.T) *rest.Config {
	t.Helper()
	if out, err := kubectl(t, nil, "create", "namespace", "foretide-system"); err != nil && !strings.Contains(out, "AlreadyExists") {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := kubectl(t, nil, "apply", "-n", "foretide-system", "-f", "../../deploy/base/aggregator/rbac.yaml"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	account := rest.CopyConfig(apiServer.config)
	account.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:foretide-system:foretide-aggregator",
		Groups:   []string{"system:serviceaccounts", "system:authenticated"},
	}
	return account
}

// startController runs the directory and the controller in a manager until the test ends.
func startController(t *testing.T, seen *telemetry) *workload.Directory {
	t.Helper()
	return startControllerWith(t, seen, seen)
}

// startControllerWith takes loads and history from two.
func startControllerWith(t *testing.T, loads controller.Loads, history controller.History) *workload.Directory {
	t.Helper()
	directory, stop := runController(t, loads, history, func(c client.Client) client.Client { return c })
	t.Cleanup(stop)
	return directory
}

// runController runs them until stop, with a client that the test may change.
func runController(t *testing.T, loads controller.Loads, history controller.History, through func(client.Client) client.Client) (directory *workload.Directory, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	account := asAggregator(t)
	mgr, err := ctrl.NewManager(account, ctrl.Options{
		Scheme: scheme(), Metrics: metricsserver.Options{BindAddress: "0"},
		// Each test has a manager of its own in this one process.
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	clients, err := workload.Connect(account, mgr.GetRESTMapper())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	directory, err = workload.New(workload.Options{Clients: clients, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	reconciler, err := controller.New(controller.Options{
		Client: through(mgr.GetClient()), Live: mgr.GetAPIReader(), Events: mgr.GetEventRecorder("foretide-aggregator"), Targets: targets{directory},
		Evaluator: controller.NewEvaluator(loads, nil, history, nil), Capacity: capacityOf(directory), Logger: log, SyncInterval: 200 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := reconciler.Register(ctx, mgr); err != nil {
		t.Fatal(err)
	}
	if err := mgr.Add(directory); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	return directory, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("manager: %v", err)
		}
	}
}

// deploy makes a Deployment with one ready pod, as the cluster's own controllers would, which do not run here.
func deploy(t *testing.T, namespace, name string) *appsv1.Deployment {
	t.Helper()
	labels := map[string]string{"app": name}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "model", Image: "example.com/model:1",
			Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{workload.DefaultGPUResource: resource.MustParse("1")}},
		}}},
	}
	one := int32(1)
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       appsv1.DeploymentSpec{Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	}
	create(t, deployment)
	set := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name + "-5d8f", Labels: labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(deployment, appsv1.SchemeGroupVersion.WithKind("Deployment"))},
		},
		Spec: appsv1.ReplicaSetSpec{Replicas: &one, Selector: deployment.Spec.Selector, Template: template},
	}
	create(t, set)
	start(t, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: set.Name + "-x1", Labels: labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))},
		},
		Spec: template.Spec,
	})
	return deployment
}

// start makes a pod that is ready, as a kubelet would.
func start(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	create(t, pod)
	// It would take a GPU from the nodes of other tests.
	t.Cleanup(func() { _ = apiServer.client.Delete(context.Background(), pod, client.GracePeriodSeconds(0)) })
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(time.Now().Add(-time.Minute))}}
	if err := apiServer.client.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, object client.Object) {
	t.Helper()
	if err := apiServer.client.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

// state puts the policy fib-gpu of a namespace and its target into one line.
func state(ctx context.Context, namespace string) string {
	var policy v1alpha1.AdvancedHorizontalPodAutoscaler
	if err := apiServer.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "fib-gpu"}, &policy); err != nil {
		return err.Error()
	}
	number := func(n *int32) string {
		if n == nil {
			return "?"
		}
		return fmt.Sprint(*n)
	}
	line := fmt.Sprintf("desired %s, replicas %s", number(policy.Status.DesiredReplicas), number(policy.Status.CurrentReplicas))
	for _, kind := range []string{v1alpha1.ConditionAbleToScale, v1alpha1.ConditionDataFresh} {
		if c := meta.FindStatusCondition(policy.Status.Conditions, kind); c != nil {
			line += fmt.Sprintf(", %s", c.Reason)
		}
	}
	return line
}

func expectState(t *testing.T, namespace, want string) {
	t.Helper()
	eventually(t, func(ctx context.Context) string {
		if got := state(ctx, namespace); got != want {
			return fmt.Sprintf("fib-gpu is %q, want %q", got, want)
		}
		return ""
	})
}

// missingEvent is "" when the policy fib-gpu of a namespace has an event of a reason whose note has a text in it.
func missingEvent(ctx context.Context, namespace, reason, text string) string {
	var events eventsv1.EventList
	if err := apiServer.client.List(ctx, &events, client.InNamespace(namespace)); err != nil {
		return err.Error()
	}
	var seen []string
	for _, e := range events.Items {
		if e.Reason == reason && strings.Contains(e.Note, text) && e.Regarding.Name == "fib-gpu" {
			return ""
		}
		seen = append(seen, e.Reason+": "+e.Note)
	}
	return fmt.Sprintf("events are %q", seen)
}

func TestAPolicyIsCarriedOutOnARealAPIServer(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "walk-"}}
	create(t, namespace)
	seen := &telemetry{busy: 0.6, known: true}
	directory := startController(t, seen)
	deployment := deploy(t, namespace.Name, "bert")

	// Observer: shown, not done.
	policy := manifest("fib-gpu")
	policy.SetNamespace(namespace.Name)
	create(t, policy)
	expectState(t, namespace.Name, "desired 3, replicas 1, ObserverStrategy, FreshTelemetry")

	// The demand recorder finds the workload by its pod's owners.
	if id, ok := directory.Owner(namespace.Name, "bert-5d8f-x1"); !ok || id != (workload.ID{Namespace: namespace.Name, Kind: "Deployment", Name: "bert"}) {
		t.Errorf("owner is %v, %v", id, ok)
	}
	if all := directory.Workloads(); len(all) != 1 || all[0].Pods[0].GPUs != 1 {
		t.Errorf("workloads with GPUs: %+v", all)
	}

	// Auto: done, once, and said in an event.
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"scaleStrategy":"auto"}}`))
	if err := apiServer.client.Patch(t.Context(), policy, patch); err != nil {
		t.Fatal(err)
	}
	expectState(t, namespace.Name, "desired 3, replicas 3, ReadyForNewScale, FreshTelemetry")
	eventually(t, func(ctx context.Context) string {
		return missingEvent(ctx, namespace.Name, "SuccessfulRescale", "bert from 1 to 3")
	})

	// Silence: held and said.
	seen.set(0, false)
	expectState(t, namespace.Name, "desired 3, replicas 3, ReadyForNewScale, MissingTelemetry")

	// The target goes and comes back.
	if err := apiServer.client.Delete(t.Context(), deployment); err != nil {
		t.Fatal(err)
	}
	expectState(t, namespace.Name, "desired ?, replicas ?, TargetNotFound, TargetNotFound")
	seen.set(0.2, true)
	deployment.ResourceVersion, deployment.UID = "", ""
	create(t, deployment)
	expectState(t, namespace.Name, "desired 1, replicas 1, ReadyForNewScale, FreshTelemetry")
}

func TestAKindThatDoesNotExistIsACondition(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "kind-"}}
	create(t, namespace)
	startController(t, &telemetry{})
	policy := manifest("fib-gpu")
	policy.SetNamespace(namespace.Name)
	set(map[string]any{"apiVersion": "example.com/v1", "kind": "Widget", "name": "w"}, "spec", "scaleTargetRef")(policy)
	create(t, policy)
	expectState(t, namespace.Name, "desired ?, replicas ?, TargetNotFound, TargetNotFound")
}

func TestAPolicyWaitsUntilAHorizontalPodAutoscalerIsGone(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "rival-"}}
	create(t, namespace)
	startController(t, &telemetry{busy: 0.6, known: true})
	deploy(t, namespace.Name, "bert")
	hpa := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: "bert"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "bert"}, MaxReplicas: 5,
		},
	}
	create(t, hpa)
	policy := manifest("fib-gpu")
	policy.SetNamespace(namespace.Name)
	set("auto", "spec", "scaleStrategy")(policy)
	create(t, policy)
	expectState(t, namespace.Name, "desired 3, replicas 1, TargetConflict, FreshTelemetry")
	if err := apiServer.client.Delete(t.Context(), hpa); err != nil {
		t.Fatal(err)
	}
	expectState(t, namespace.Name, "desired 3, replicas 3, ReadyForNewScale, FreshTelemetry")
}
