package capacity

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// gpu is NVIDIA's resource of whole GPUs.
const gpu corev1.ResourceName = "nvidia.com/gpu"

// world is a cluster that the test changes, and its clock.
type world struct {
	now     time.Time
	nodes   []*corev1.Node
	unknown bool
	pods    []Pod
	changes uint64
	looks   int
}

func (w *world) cluster() *Cluster {
	return New(Options{
		Nodes:   func() ([]*corev1.Node, bool) { w.looks++; return w.nodes, !w.unknown },
		Pods:    func() iter.Seq[Pod] { return slices.Values(w.pods) },
		Changes: func() uint64 { return w.changes },
		Now:     func() time.Time { return w.now },
	})
}

func list(of map[corev1.ResourceName]string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, quantity := range of {
		out[name] = resource.MustParse(quantity)
	}
	return out
}

// aNode is ready, with so many GPUs and much of everything else; its options change it.
func aNode(name string, gpus int, options ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{ProductLabel: "A100", "kubernetes.io/hostname": name}},
		Status: corev1.NodeStatus{
			Allocatable: list(map[corev1.ResourceName]string{"cpu": "96", "memory": "1Ti", "pods": "110", gpu: fmt.Sprint(gpus)}),
			Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}
	for _, option := range options {
		option(n)
	}
	return n
}

// asking is the shape of pods that request so much; its options change it.
func asking(of map[corev1.ResourceName]string, options ...func(*corev1.PodSpec)) *corev1.PodSpec {
	s := &corev1.PodSpec{Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: list(of)}}}}
	for _, option := range options {
		option(s)
	}
	return s
}

func oneGPU(options ...func(*corev1.PodSpec)) *corev1.PodSpec {
	return asking(map[corev1.ResourceName]string{gpu: "1"}, options...)
}

func priority(p int32) func(*corev1.PodSpec) { return func(s *corev1.PodSpec) { s.Priority = &p } }

func TestRoomIsWhereASchedulerWouldPutMorePods(t *testing.T) {
	taint := corev1.Taint{Key: "gpu", Value: "yes", Effect: corev1.TaintEffectNoSchedule}
	required := func(key string, values ...string) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) {
			s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
					{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values},
				}}},
			}}}
		}
	}
	never := corev1.PreemptNever
	runs := func(node string, n int, shape *corev1.PodSpec, priority int32) (out []Pod) {
		for range n {
			out = append(out, Pod{Node: node, Shape: shape, Priority: priority})
		}
		return out
	}
	two := []*corev1.Node{aNode("a", 8), aNode("b", 4)}
	for name, c := range map[string]struct {
		nodes []*corev1.Node
		pods  []Pod
		shape *corev1.PodSpec
		want  int32
	}{
		"all GPUs are free":                  {two, nil, oneGPU(), 12},
		"some are taken":                     {two, runs("a", 7, oneGPU(), 0), oneGPU(), 5},
		"none is free":                       {two, append(runs("a", 8, oneGPU(), 0), runs("b", 4, oneGPU(), 0)...), oneGPU(), 0},
		"pods on other nodes take none":      {two, runs("elsewhere", 8, oneGPU(), 0), oneGPU(), 12},
		"those that come next take theirs":   {two, runs("", 5, oneGPU(), 0), oneGPU(), 7},
		"pods of several GPUs stay together": {[]*corev1.Node{aNode("a", 3), aNode("b", 3)}, nil, asking(map[corev1.ResourceName]string{gpu: "2"}), 2},
		"CPU runs out first":                 {two, nil, asking(map[corev1.ResourceName]string{gpu: "1", "cpu": "40"}), 4},
		"memory runs out first":              {two, nil, asking(map[corev1.ResourceName]string{gpu: "1", "memory": "600Gi"}), 2},
		"others' CPU counts":                 {two, []Pod{{Node: "a", CPUMilli: 95_500}}, asking(map[corev1.ResourceName]string{gpu: "1", "cpu": "1"}), 4},
		"a node takes only so many pods":     {[]*corev1.Node{aNode("a", 8, func(n *corev1.Node) { n.Status.Allocatable["pods"] = resource.MustParse("3") })}, []Pod{{Node: "a"}}, oneGPU(), 2},
		"cordoned":                           {[]*corev1.Node{aNode("a", 8, func(n *corev1.Node) { n.Spec.Unschedulable = true })}, nil, oneGPU(), 0},
		"not ready":                          {[]*corev1.Node{aNode("a", 8, func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionUnknown })}, nil, oneGPU(), 0},
		"tainted":                            {[]*corev1.Node{aNode("a", 8, func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{taint} }), two[1]}, nil, oneGPU(), 4},
		"tainted and tolerated": {[]*corev1.Node{aNode("a", 8, func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{taint} })}, nil,
			oneGPU(func(s *corev1.PodSpec) {
				s.Tolerations = []corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists}}
			}), 8},
		"tainted softly": {[]*corev1.Node{aNode("a", 8, func(n *corev1.Node) {
			n.Spec.Taints = []corev1.Taint{{Key: "x", Effect: corev1.TaintEffectPreferNoSchedule}}
		})}, nil, oneGPU(), 8},
		"a node is named by a selector": {two, nil, oneGPU(func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"kubernetes.io/hostname": "b"} }), 4},
		"nodes are named by affinity":   {two, nil, oneGPU(required("kubernetes.io/hostname", "a")), 8},
		"no node is as affinity wants":  {two, nil, oneGPU(required("zone", "a")), 0},
		"less important pods give way":  {two, append(runs("a", 8, oneGPU(), -10), runs("b", 4, oneGPU(), 0)...), oneGPU(), 8},
		"important ones do not":         {two, runs("a", 8, oneGPU(), 1000), oneGPU(), 4},
		"it gives way to nobody":        {two, runs("a", 8, oneGPU(), -10), oneGPU(func(s *corev1.PodSpec) { s.PreemptionPolicy = &never }), 4},
		"MIG instances are of their own": {[]*corev1.Node{aNode("a", 8, func(n *corev1.Node) {
			n.Status.Allocatable["nvidia.com/mig-1g.10gb"] = resource.MustParse("7")
		})}, runs("a", 8, oneGPU(), 0), asking(map[corev1.ResourceName]string{"nvidia.com/mig-1g.10gb": "2"}), 3},
	} {
		w := world{now: noon, nodes: c.nodes, pods: c.pods}
		got := w.cluster().Room(c.shape, "", 100)
		if !got.Known || got.Pods != c.want {
			t.Errorf("%s: room for %d more (known %v), want %d", name, got.Pods, got.Known, c.want)
		}
	}
}

func TestRoomIsUnknownWhereItCannotBeKnown(t *testing.T) {
	w := world{now: noon, nodes: []*corev1.Node{aNode("a", 8)}}
	c := w.cluster()
	claims := oneGPU(func(s *corev1.PodSpec) { s.ResourceClaims = []corev1.PodResourceClaim{{Name: "gpu"}} })
	for name, shape := range map[string]*corev1.PodSpec{
		"no shape": nil, "no GPU": asking(map[corev1.ResourceName]string{"cpu": "1"}), "GPUs by ResourceClaims": claims,
	} {
		if got := c.Room(shape, "a", 5); got.Known {
			t.Errorf("%s: %+v", name, got)
		}
	}
	w.unknown = true
	w.changes++
	w.now = w.now.Add(time.Minute)
	if got := c.Room(oneGPU(), "a", 5); got.Known {
		t.Errorf("the nodes are not known: %+v", got)
	}
	if got := c.Totals(); got != nil {
		t.Errorf("the nodes are not known: %+v", got)
	}
}

func TestNoMoreIsLookedForThanIsAskedFor(t *testing.T) {
	w := world{now: noon, nodes: []*corev1.Node{aNode("a", 8), aNode("b", 4)}}
	for most, want := range map[int32]int32{-1: 0, 0: 0, 3: 3, 9: 9, 13: 12} {
		if got := w.cluster().Room(oneGPU(), "", most); got.Pods != want || got.Type != "A100" {
			t.Errorf("up to %d: %+v, want %d", most, got, want)
		}
	}
}

func TestTypeIsOfTheNodeThatPodsRunOnElseOfOneThatTheyMay(t *testing.T) {
	part := func(n *corev1.Node) { n.Status.Allocatable["nvidia.com/mig-1g.10gb"] = resource.MustParse("7") }
	h100 := func(n *corev1.Node) { n.Labels[ProductLabel] = "H100" }
	bare := func(n *corev1.Node) { n.Labels = nil }
	w := world{now: noon, nodes: []*corev1.Node{aNode("a", 8), aNode("b", 8, h100, part), aNode("c", 8, bare)}}
	c := w.cluster()
	onH := oneGPU(func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{ProductLabel: "H100"} })
	nowhere := oneGPU(func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{ProductLabel: "B200"} })
	for _, x := range []struct {
		shape *corev1.PodSpec
		node  string
		want  string
	}{
		{oneGPU(), "b", "H100"}, {oneGPU(), "", "A100"}, {oneGPU(), "gone", "A100"}, {onH, "", "H100"}, {oneGPU(), "c", "nvidia.com/gpu"},
		{asking(map[corev1.ResourceName]string{"nvidia.com/mig-1g.10gb": "1"}), "", "H100/mig-1g.10gb"}, {nowhere, "", "nvidia.com/gpu"},
	} {
		if got := c.Room(x.shape, x.node, 0); got.Type != x.want {
			t.Errorf("on %q: type %q, want %q", x.node, got.Type, x.want)
		}
	}
}

func TestTotalsAreByType(t *testing.T) {
	h100 := func(n *corev1.Node) { n.Labels[ProductLabel] = "H100" }
	cordoned := func(n *corev1.Node) { n.Spec.Unschedulable = true }
	w := world{now: noon, nodes: []*corev1.Node{aNode("a", 8), aNode("b", 4, cordoned), aNode("c", 2, h100)}, pods: []Pod{
		{Node: "a", Shape: asking(map[corev1.ResourceName]string{gpu: "3"})}, {Node: "b", Shape: oneGPU()}, {Node: "a", CPUMilli: 500},
		{Node: "c", Shape: oneGPU(), Priority: -10}, {Node: "gone", Shape: oneGPU()},
	}}
	want := []Total{{Type: "A100", Allocatable: 12, Requested: 4, Free: 5}, {Type: "H100", Allocatable: 2, Requested: 1, Free: 1}}
	if diff := cmp.Diff(want, w.cluster().Totals()); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
}

func TestClusterIsLookedAtOncePerSecondAndOnlyWhenItChanged(t *testing.T) {
	w := world{now: noon, nodes: []*corev1.Node{aNode("a", 8)}}
	c := w.cluster()
	see := func(after time.Duration, want int32, looks int) {
		t.Helper()
		w.now = w.now.Add(after)
		if got := c.Room(oneGPU(), "", 100); got.Pods != want || w.looks != looks {
			t.Errorf("room for %d after %d looks, want %d after %d", got.Pods, w.looks, want, looks)
		}
	}
	see(0, 8, 1)
	w.pods = []Pod{{Node: "a", Shape: oneGPU()}}
	w.changes++
	see(time.Second/2, 8, 1)
	see(time.Second/2, 7, 2)
	see(time.Hour, 7, 2)
	w.pods = nil
	w.changes++
	see(-2*time.Hour, 8, 3) // the clock was set back
}

// TestRoomIsWhatPlacingOneAfterTheOtherFinds compares with the plainest way to find it, on clusters and pods as they come.
func TestRoomIsWhatPlacingOneAfterTheOtherFinds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		w := world{now: noon}
		for i := range 1 + random.IntN(5) {
			w.nodes = append(w.nodes, aNode(fmt.Sprint("n", i), random.IntN(9), func(n *corev1.Node) {
				n.Spec.Unschedulable = random.IntN(5) == 0
				n.Status.Allocatable["cpu"] = resource.MustParse(fmt.Sprint(1 + random.IntN(32)))
			}))
		}
		for range random.IntN(20) {
			w.pods = append(w.pods, Pod{
				Node: fmt.Sprint("n", random.IntN(6)), Priority: int32(random.IntN(3) - 1), CPUMilli: 500,
				Shape: asking(map[corev1.ResourceName]string{gpu: fmt.Sprint(1 + random.IntN(2)), "cpu": "500m"}),
			})
		}
		each, cpu, prio := 1+random.IntN(3), 1+random.IntN(4), int32(random.IntN(3)-1)
		shape := asking(map[corev1.ResourceName]string{gpu: fmt.Sprint(each), "cpu": fmt.Sprint(cpu)}, priority(prio))
		want := int32(0)
		for _, n := range w.nodes {
			gpus, milli := n.Status.Allocatable[gpu], n.Status.Allocatable["cpu"]
			freeGPUs, freeCPU := int(gpus.Value()), int(milli.MilliValue())
			for _, p := range w.pods {
				if p.Node == n.Name && p.Priority >= prio {
					asks := p.Shape.Containers[0].Resources.Requests[gpu]
					freeGPUs, freeCPU = freeGPUs-int(asks.Value()), freeCPU-500
				}
			}
			for !n.Spec.Unschedulable && freeGPUs >= each && freeCPU >= 1000*cpu {
				freeGPUs, freeCPU, want = freeGPUs-each, freeCPU-1000*cpu, want+1
			}
		}
		if got := w.cluster().Room(shape, "", 1000); got.Pods != want {
			t.Fatalf("room for %d more, want %d: nodes %v pods %+v", got.Pods, want, w.nodes, w.pods)
		}
		random.Shuffle(len(w.pods), func(i, j int) { w.pods[i], w.pods[j] = w.pods[j], w.pods[i] })
		if got := w.cluster().Room(shape, "", 1000); got.Pods != want {
			t.Fatalf("with the pods in another order: room for %d more, want %d", got.Pods, want)
		}
	}
}

// BenchmarkRoom is of one of 5,000 shapes, in a cluster of 2,000 nodes with GPUs free on another kind of node.
func BenchmarkRoom(b *testing.B) {
	w := world{now: noon}
	for i := range 2000 {
		w.nodes = append(w.nodes, aNode(fmt.Sprint("n", i), 8))
	}
	shapes := []*corev1.PodSpec{}
	for i := range 5000 {
		shapes = append(shapes, asking(map[corev1.ResourceName]string{gpu: "1", "memory": fmt.Sprint(i)}, func(s *corev1.PodSpec) {
			s.NodeSelector = map[string]string{ProductLabel: fmt.Sprint("H", i%10)}
		}))
	}
	c, i := w.cluster(), 0
	for b.Loop() {
		if i++; i%5000 == 0 {
			w.now, w.changes = w.now.Add(time.Second), w.changes+1
		}
		if room := c.Room(shapes[i%5000], "", 8); room.Pods != 0 {
			b.Fatal("there is room on nodes of another kind")
		}
	}
}

// BenchmarkLook is of a cluster of 2,000 nodes and 20,000 pods: what a change costs, at most once a second.
func BenchmarkLook(b *testing.B) {
	w := world{now: noon}
	shapes := []*corev1.PodSpec{}
	for range 100 {
		shapes = append(shapes, oneGPU())
	}
	for i := range 2000 {
		w.nodes = append(w.nodes, aNode(fmt.Sprint("n", i), 8))
	}
	for i := range 20_000 {
		w.pods = append(w.pods, Pod{Node: fmt.Sprint("n", i%2000), Shape: shapes[i%100]})
	}
	c := w.cluster()
	for b.Loop() {
		w.now, w.changes = w.now.Add(time.Second), w.changes+1
		if !c.Room(shapes[0], "n0", 8).Known {
			b.Fatal("the cluster is not known")
		}
	}
}
