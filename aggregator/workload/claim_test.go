package workload

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

func asks(list map[corev1.ResourceName]string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		requests := corev1.ResourceList{}
		for name, quantity := range list {
			requests[name] = resource.MustParse(quantity)
		}
		p.Spec.Containers[0].Resources.Requests = requests
	}
}

func unscheduled(told ...corev1.PodCondition) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.NodeName, p.Status = "", corev1.PodStatus{Phase: corev1.PodPending, Conditions: told}
	}
}

func noRoom(message string) corev1.PodCondition {
	return corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message}
}

func TestGPUsOfEveryKindTheAgentsTellOfAreCounted(t *testing.T) {
	for name, c := range map[string]struct {
		asks map[corev1.ResourceName]string
		want float64
	}{
		"whole GPUs":                            {map[corev1.ResourceName]string{"nvidia.com/gpu": "2"}, 2},
		"MIG instances":                         {map[corev1.ResourceName]string{"nvidia.com/mig-1g.10gb": "3", "nvidia.com/mig-2g.20gb": "1"}, 4},
		"shares, which may all be of one GPU":   {map[corev1.ResourceName]string{"nvidia.com/gpu.shared": "3"}, 1},
		"both":                                  {map[corev1.ResourceName]string{"nvidia.com/gpu": "1", "nvidia.com/gpu.shared": "1"}, 2},
		"others' resources, which have no load": {map[corev1.ResourceName]string{"example.com/gpu": "1", "cpu": "4", "nvidia.com/gpumem": "9"}, 0},
	} {
		if got := gpuResources(DefaultGPUResources()).of(pod("a", asks(c.asks))); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestPodThatWaitsForAGPUIsToldFromOneThatWaitsForSomethingElse(t *testing.T) {
	gpus := gpuResources(DefaultGPUResources())
	for message, want := range map[string]bool{
		"0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient nvidia.com/gpu. preemption: …":  true,
		"0/1 nodes are available: 1 Insufficient nvidia.com/mig-1g.10gb.":                            true,
		"0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.":              false,
		"0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available: 3 No…": false,
	} {
		if got := gpus.lacking(pod("a", unscheduled(noRoom(message)))); got != want {
			t.Errorf("%q: %v, want %v", message, got, want)
		}
	}
	if gpus.lacking(pod("a", unscheduled())) {
		t.Error("a pod that the scheduler has not looked at yet is said to lack GPUs")
	}
}

func TestClaimsAreOfPodsThatTakeSomethingOrAreAboutTo(t *testing.T) {
	c := newCluster(t, []*corev1.Pod{
		pod("runs", asks(map[corev1.ResourceName]string{"cpu": "1500m", "memory": "1Gi"})),
		pod("leaves", deleting, asks(map[corev1.ResourceName]string{"cpu": "1"})),
		pod("ended", phase(corev1.PodSucceeded), asks(map[corev1.ResourceName]string{"cpu": "1"})),
		pod("is-new", unscheduled(), asks(map[corev1.ResourceName]string{"cpu": "2"})),
		pod("waits-in-vain", unscheduled(noRoom("0/1 nodes are available")), asks(map[corev1.ResourceName]string{"cpu": "2"})),
		pod("is-gated", unscheduled(), asks(map[corev1.ResourceName]string{"cpu": "2"}), func(p *corev1.Pod) {
			p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/quota"}}
		}),
	})
	c.start(t)
	got := slices.SortedFunc(c.Claims(), func(a, b Claim) int { return int(a.CPUMilli - b.CPUMilli) })
	want := []Claim{{Node: "node-1", CPUMilli: 1000}, {Node: "node-1", CPUMilli: 1500, MemoryBytes: 1 << 30}, {CPUMilli: 2000}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestPodsThatAskAlikeShareOneShapeWhichGoesWithThem(t *testing.T) {
	var alike shapes
	gpus := gpuResources(DefaultGPUResources())
	made := func(memory string) *record {
		return newRecord(pod("a", asks(map[corev1.ResourceName]string{"nvidia.com/gpu": "1", "memory": memory})), gpus, &alike)
	}
	a, b, other := made("1Gi"), made("1Gi"), made("2Gi")
	if a.claim.Shape == nil || a.claim.Shape != b.claim.Shape || a.claim.Shape == other.claim.Shape {
		t.Errorf("shapes are %p %p %p, want the first two to be one", a.claim.Shape, b.claim.Shape, other.claim.Shape)
	}
	for i := range 10 * fewShapes {
		made(resource.NewQuantity(int64(i), resource.BinarySI).String())
		if i%fewShapes == 0 {
			runtime.GC()
		}
	}
	runtime.GC()
	if n := len(alike.known); n > 4*fewShapes {
		t.Errorf("%d shapes are kept that nobody has", n)
	}
	runtime.KeepAlive(a)
}

func TestPlaceholdersAreNoPodsOfAWorkloadAndNoWorkload(t *testing.T) {
	placeholder := func(p *corev1.Pod) { p.Labels[v1alpha1.LabelPlaceholder] = "fib-gpu" }
	c := newCluster(t, []*corev1.Pod{
		pod("bert-1", ownedBy("ReplicaSet", "bert-rs"), gpus("1")),
		pod("held-1", ownedBy("ReplicaSet", "held-rs"), gpus("1"), placeholder),
	}, replicaSet("bert-rs", "bert"), replicaSet("held-rs", "fib-gpu-placeholder"))
	c.deploy("bert", "app=bert", 1) // which picks both
	c.start(t)
	got, err := c.Target(t.Context(), "default", deployment("bert"))
	if err != nil || names(got.Pods) != "bert-1" {
		t.Errorf("the target has %q, %v", names(got.Pods), err)
	}
	if all := c.Workloads(); len(all) != 1 || all[0].ID.Name != "bert" {
		t.Errorf("workloads are %v", all)
	}
	if id, known := c.Owner("default", "held-1"); known {
		t.Errorf("the placeholder belongs to %v", id)
	}
}

func TestShapeOfATargetIsItsNewestPods(t *testing.T) {
	made := func(ago time.Duration) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.CreationTimestamp = metav1.NewTime(noon.Add(-ago)) }
	}
	c := newCluster(t, []*corev1.Pod{
		pod("bert-1", made(time.Hour), gpus("1")),
		pod("bert-2", made(time.Minute), asks(map[corev1.ResourceName]string{"nvidia.com/gpu": "4"})),
		pod("bert-3", made(time.Second), deleting, gpus("8")),
		pod("bert-4", made(time.Hour), gpus("1")),
	})
	c.deploy("bert", "app=bert", 4)
	c.start(t)
	got, err := c.Target(t.Context(), "default", deployment("bert"))
	if err != nil || got.Shape == nil {
		t.Fatalf("shape %v, %v", got.Shape, err)
	}
	if n := got.Shape.Containers[0].Resources.Requests["nvidia.com/gpu"]; n.Value() != 4 {
		t.Errorf("the shape asks for %v GPUs, want 4", n.Value())
	}
}

func TestPodWithAResourceClaimIsAWorkloadsThoughItsGPUsAreNotKnown(t *testing.T) {
	claims := func(p *corev1.Pod) { p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "gpu"}} }
	c := newCluster(t, []*corev1.Pod{pod("bert-1", ownedBy("ReplicaSet", "bert-rs"), claims)}, replicaSet("bert-rs", "bert"))
	c.start(t)
	all := c.Workloads()
	if len(all) != 1 || len(all[0].Pods) != 1 || !all[0].Pods[0].Claims || all[0].Pods[0].GPUs != 0 {
		t.Errorf("workloads are %+v", all)
	}
}

func TestOfANodeWithGPUsIsKeptWhatASchedulerLooksAt(t *testing.T) {
	c := newCluster(t, nil)
	node := func(name, gpus string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"zone": "a"}},
			Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "gpu", Effect: corev1.TaintEffectNoSchedule}}},
			Status: corev1.NodeStatus{
				Allocatable: corev1.ResourceList{"cpu": resource.MustParse("8"), "nvidia.com/mig-1g.10gb": resource.MustParse(gpus)},
				Conditions:  []corev1.NodeCondition{{Type: corev1.NodeDiskPressure}, {Type: corev1.NodeReady, Status: corev1.ConditionTrue, Message: "long"}},
			}}
	}
	if _, known := c.GPUNodes(); known {
		t.Error("nodes are said to be known before they are")
	}
	for _, n := range []*corev1.Node{node("with", "7"), node("without", "0")} {
		if _, err := c.client.CoreV1().Nodes().Create(t.Context(), n, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	before := c.Changes()
	c.start(t)
	for len(c.nodes.GetStore().ListKeys()) < 2 {
		runtime.Gosched()
	}
	nodes, known := c.GPUNodes()
	if !known || len(nodes) != 1 {
		t.Fatalf("GPU nodes are %v, %v", nodes, known)
	}
	n := nodes[0]
	if n.Name != "with" || n.Labels["zone"] != "a" || len(n.Spec.Taints) != 1 || n.Status.Allocatable.Cpu().Value() != 8 {
		t.Errorf("kept %+v", n)
	}
	if len(n.Status.Conditions) != 1 || n.Status.Conditions[0].Message != "" {
		t.Errorf("kept conditions %+v", n.Status.Conditions)
	}
	for c.Changes() < before+2 {
		runtime.Gosched()
	}
}
