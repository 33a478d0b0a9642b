//go:build integration

package integration

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/workload"
)

// startScheduler runs a real kube-scheduler until the test ends; its binary is beside the API server's.
func startScheduler(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	scheduler := exec.CommandContext(ctx, filepath.Join(filepath.Dir(apiServer.kubectl), "kube-scheduler"),
		"--kubeconfig="+apiServer.kubeconfig, "--leader-elect=false", "--secure-port=0", "--authentication-skip-lookup=true",
		// Else it now and then looks at a pod again only five minutes after others gave way to it.
		"--feature-gates=SchedulerAsyncPreemption=false")
	if err := scheduler.Start(); err != nil {
		stop()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = scheduler.Wait()
	})
}

// startDirectory runs a directory until the test ends.
func startDirectory(t *testing.T) *workload.Directory {
	t.Helper()
	account := asAggregator(t)
	transport, err := rest.HTTPClientFor(account)
	if err != nil {
		t.Fatal(err)
	}
	mapper, err := apiutil.NewDynamicRESTMapper(account, transport)
	if err != nil {
		t.Fatal(err)
	}
	clients, err := workload.Connect(account, mapper)
	if err != nil {
		t.Fatal(err)
	}
	directory, err := workload.New(workload.Options{Clients: clients, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = directory.Start(ctx)
	}()
	t.Cleanup(func() { stop(); <-done })
	return directory
}

// inPool has a pod run on the nodes of a pool, with a GPU and two CPUs, as one of the workload bert.
func inPool(namespace, name, class string) *corev1.Pod {
	yes := true
	requests := corev1.ResourceList{workload.DefaultGPUResource: resource.MustParse("1"), "cpu": resource.MustParse("2")}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": "bert"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "bert", UID: "1", Controller: &yes}}},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{"team": namespace}, PriorityClassName: class, TerminationGracePeriodSeconds: new(int64(0)),
			Containers: []corev1.Container{{Name: "model", Image: "example.com/model:1", Resources: corev1.ResourceRequirements{
				Requests: requests, Limits: corev1.ResourceList{workload.DefaultGPUResource: resource.MustParse("1")},
			}}},
		},
	}
}

// poolNode makes a node of a namespace's pool with GPUs.
func poolNode(t *testing.T, namespace, name, gpus string, change func(*corev1.Node)) {
	t.Helper()
	n := node(t, namespace+"-"+name, gpus)
	n.Labels["team"] = namespace
	change(n)
	status := n.Status
	if err := apiServer.client.Update(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	n.Status = status
	if err := apiServer.client.Status().Update(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

// placed counts a namespace's pods that have a node and those that the scheduler found none for.
func placed(ctx context.Context, namespace string) (placed, refused int, names []string) {
	var pods corev1.PodList
	if err := apiServer.client.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
		return 0, 0, []string{err.Error()}
	}
	for _, p := range pods.Items {
		if p.Spec.NodeName != "" {
			placed++
			names = append(names, p.Name)
		} else if slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Reason == corev1.PodReasonUnschedulable }) {
			refused++
		}
	}
	return placed, refused, names
}

func expectPlaced(t *testing.T, namespace string, want, refused int) []string {
	t.Helper()
	var names []string
	eventually(t, func(context.Context) string {
		n, no, all := placed(t.Context(), namespace)
		names = all
		if n != want || no != refused {
			return fmt.Sprintf("%d pods have a node (%v) and %d were refused one, want %d and %d", n, all, no, want, refused)
		}
		return ""
	})
	return names
}

// shape is that of the pods that a directory tells of: in this test all are alike.
func shape(d *workload.Directory) *corev1.PodSpec {
	for claim := range d.Claims() {
		if claim.Shape != nil && claim.Priority == 0 {
			return claim.Shape
		}
	}
	return nil
}

// TestASchedulerPlacesAsManyPodsAsThereIsSaidToBeRoomFor asks a real one.
func TestASchedulerPlacesAsManyPodsAsThereIsSaidToBeRoomFor(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "room-"}}
	create(t, namespace)
	team := namespace.Name
	t.Cleanup(func() {
		_ = apiServer.client.DeleteAllOf(context.Background(), &corev1.Pod{}, client.InNamespace(team), client.GracePeriodSeconds(0))
	})
	if out, err := kubectl(t, nil, "apply", "-f", "../../deploy/components/placeholders/priorityclass.yaml"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	unchanged := func(*corev1.Node) {}
	poolNode(t, team, "whole", "4", unchanged)
	poolNode(t, team, "tainted", "2", func(n *corev1.Node) {
		n.Spec.Taints = []corev1.Taint{{Key: "reserved", Effect: corev1.TaintEffectNoSchedule}}
	})
	poolNode(t, team, "cordoned", "8", func(n *corev1.Node) { n.Spec.Unschedulable = true })
	poolNode(t, team, "few-cpus", "8", func(n *corev1.Node) { n.Status.Allocatable["cpu"] = resource.MustParse("5") })
	poolNode(t, team, "held", "2", unchanged)
	startScheduler(t)
	directory := startDirectory(t)

	// Placeholders hold two GPUs; they are what gives way.
	for i := range 8 + 2 {
		create(t, inPool(team, fmt.Sprint("held-", i), controller.PlaceholderPriorityClass))
	}
	expectPlaced(t, team, 4+2+2, 2) // wherever there is room
	for i := 4; i < 10; i++ {
		pod := inPool(team, fmt.Sprint("held-", i), "")
		if err := apiServer.client.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
			t.Fatal(err)
		}
	}
	expectPlaced(t, team, 4, 0)

	first := inPool(team, "bert-first", "")
	create(t, first)
	expectPlaced(t, team, 5, 0)
	rooms := capacityOf(directory)
	said := int32(0)
	eventually(t, func(context.Context) string {
		for _, w := range directory.Workloads() {
			for _, p := range w.Pods {
				if w.ID.Namespace == team && p.Name == "bert-first" {
					room := rooms.Room(shape(directory), p.Node, 100)
					said = room.Pods
					if room.Known && room.Type == "A100" && said == 4+2+2-1 {
						return ""
					}
					return fmt.Sprintf("room is %+v", room)
				}
			}
		}
		return "the pod is not known"
	})

	// As many as were said, and two more.
	for i := range said + 2 {
		create(t, inPool(team, fmt.Sprint("bert-", i), ""))
	}
	names := expectPlaced(t, team, int(said)+1, 2)
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "held-") }) {
		t.Errorf("placeholders have not given way: %v", names)
	}
	eventually(t, func(context.Context) string {
		lacking := 0
		for _, w := range directory.Workloads() {
			for _, p := range w.Pods {
				if w.ID.Namespace == team && p.LacksGPUs {
					lacking++
				}
			}
		}
		if lacking != 2 {
			return fmt.Sprintf("%d pods are said to lack GPUs, want 2", lacking)
		}
		return ""
	})
}
