package workload

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	scalefake "k8s.io/client-go/scale/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
)

// cluster is a Directory over a few objects and scales.
type cluster struct {
	*Directory
	client kubernetes.Interface
	scales map[string]*autoscalingv1.Scale // by name
	writes []string
	refuse error
}

func newCluster(t *testing.T, pods []*corev1.Pod, replicaSets ...*metav1.PartialObjectMetadata) *cluster {
	t.Helper()
	var objects, metadata []runtime.Object
	for _, p := range pods {
		objects = append(objects, p)
	}
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, rs := range replicaSets {
		rs.TypeMeta = metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ReplicaSet"}
		metadata = append(metadata, rs)
	}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{appsv1.SchemeGroupVersion})
	mapper.Add(appsv1.SchemeGroupVersion.WithKind("Deployment"), meta.RESTScopeNamespace)
	mapper.Add(appsv1.SchemeGroupVersion.WithKind("StatefulSet"), meta.RESTScopeNamespace)

	c := &cluster{client: fake.NewClientset(objects...), scales: map[string]*autoscalingv1.Scale{}}
	scales := &scalefake.FakeScaleClient{}
	scales.AddReactor("get", "deployments", func(action clienttesting.Action) (bool, runtime.Object, error) {
		name := action.(clienttesting.GetAction).GetName()
		scale, ok := c.scales[name]
		if !ok {
			return true, nil, apierrors.NewNotFound(schema.GroupResource{Group: "apps", Resource: "deployments"}, name)
		}
		return true, scale.DeepCopy(), c.refuse
	})
	scales.AddReactor("update", "deployments", func(action clienttesting.Action) (bool, runtime.Object, error) {
		scale := action.(clienttesting.UpdateAction).GetObject().(*autoscalingv1.Scale)
		c.writes = append(c.writes, scale.Name+"@"+scale.ResourceVersion)
		return true, scale, c.refuse
	})
	directory, err := New(Options{
		Clients: Clients{
			Pods:     c.client,
			Metadata: metadatafake.NewSimpleMetadataClient(scheme, metadata...),
			Scales:   scales,
			Mapper:   mapper,
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Directory = directory
	return c
}

// start runs the directory until the test ends and waits for the first full lists.
func (c *cluster) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Start(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	if !cache.WaitForCacheSync(ctx.Done(), c.Synced) {
		t.Fatal("the directory never had its lists")
	}
}

func (c *cluster) deploy(name, selector string, replicas int32) {
	c.scales[name] = &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, ResourceVersion: "42"},
		Spec:       autoscalingv1.ScaleSpec{Replicas: replicas},
		Status:     autoscalingv1.ScaleStatus{Replicas: replicas, Selector: selector},
	}
}

func replicaSet(name, owner string) *metav1.PartialObjectMetadata {
	rs := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: uidOf(name)}}
	if owner != "" {
		rs.OwnerReferences = controlledBy("Deployment", owner)
	}
	return rs
}

func deployment(name string) Reference {
	return Reference{APIVersion: "apps/v1", Kind: "Deployment", Name: name}
}

func names(pods []Pod) string {
	var all []string
	for _, p := range pods {
		all = append(all, p.Name)
	}
	return strings.Join(all, " ")
}

func TestTargetHasItsReplicasAndItsPods(t *testing.T) {
	c := newCluster(t, []*corev1.Pod{
		pod("bert-2", ownedBy("ReplicaSet", "bert-rs"), gpus("1")),
		pod("bert-1", ownedBy("ReplicaSet", "bert-rs"), gpus("2"), notReady),
		pod("other-1", func(p *corev1.Pod) { p.Labels = map[string]string{"app": "other"} }),
		pod("elsewhere", func(p *corev1.Pod) { p.Namespace = "prod" }),
		pod("sibling-1", ownedBy("ReplicaSet", "sibling-rs")),
	}, replicaSet("bert-rs", "bert"), replicaSet("sibling-rs", "sibling"))
	c.deploy("bert", "app=bert", 2)
	c.start(t)
	got, err := c.Target(t.Context(), "default", deployment("bert"))
	if err != nil {
		t.Fatal(err)
	}
	want := Target{
		ID: ID{"default", "Deployment", "bert"}, Replicas: 2, Version: "42",
		Pods: []Pod{
			{Name: "bert-1", Node: "node-1", State: Unready, GPUs: 2},
			{Name: "bert-2", Node: "node-1", State: Ready, GPUs: 1, ReadySince: noon},
		},
	}
	if got.Shape == nil {
		t.Error("it is not known what its pods ask of a node")
	}
	got.Shape = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("target (-want +got):\n%s", diff)
	}
}

func TestPodOfAnUnknownReplicaSetBelongsToWhomTheSelectorPicks(t *testing.T) {
	c := newCluster(t, []*corev1.Pod{pod("bert-1", ownedBy("ReplicaSet", "not-seen-yet"))})
	c.deploy("bert", "app=bert", 1)
	c.start(t)
	got, err := c.Target(t.Context(), "default", deployment("bert"))
	if err != nil || names(got.Pods) != "bert-1" {
		t.Errorf("got %q, %v", names(got.Pods), err)
	}
}

func TestTargetErrorsSayWhatIsMissing(t *testing.T) {
	c := newCluster(t, nil)
	c.deploy("no-selector", "", 1)
	c.deploy("odd-selector", "a in (", 1)
	c.deploy("bert", "app=bert", 1)
	if _, err := c.Target(t.Context(), "default", deployment("bert")); !errors.Is(err, ErrNotSynced) {
		t.Errorf("before the lists are there: %v", err)
	}
	c.start(t)
	for name, want := range map[string]error{"gone": ErrTargetNotFound, "no-selector": ErrNoSelector} {
		if _, err := c.Target(t.Context(), "default", deployment(name)); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	_, err := c.Target(t.Context(), "default", deployment("gone"))
	if !apierrors.IsNotFound(err) {
		t.Errorf("the API server's own error is not in %v", err)
	}
	_, err = c.Target(t.Context(), "default", Reference{APIVersion: "example.com/v1", Kind: "Widget", Name: "w"})
	if !errors.Is(err, ErrTargetNotFound) || !meta.IsNoMatchError(err) {
		t.Errorf("unknown kind: %v", err)
	}
	for name, ref := range map[string]Reference{
		"apiVersion":   {APIVersion: "a/b/c", Kind: "Deployment", Name: "bert"},
		"odd-selector": deployment("odd-selector"),
	} {
		if _, err := c.Target(t.Context(), "default", ref); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestScaleWritesOnlyOverWhatWasRead(t *testing.T) {
	c := newCluster(t, nil)
	if err := c.Scale(t.Context(), "default", deployment("bert"), 3, "42"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"bert@42"}; !slices.Equal(c.writes, want) {
		t.Errorf("writes %v, want %v", c.writes, want)
	}
	resource := schema.GroupResource{Group: "apps", Resource: "deployments"}
	c.refuse = apierrors.NewConflict(resource, "bert", errors.New("it changed"))
	if err := c.Scale(t.Context(), "default", deployment("bert"), 3, "41"); !errors.Is(err, ErrConflict) || !apierrors.IsConflict(err) {
		t.Errorf("conflict: %v", err)
	}
	c.refuse = apierrors.NewNotFound(resource, "bert")
	if err := c.Scale(t.Context(), "default", deployment("bert"), 3, "41"); !errors.Is(err, ErrTargetNotFound) {
		t.Errorf("gone: %v", err)
	}
	c.refuse = errors.New("quota")
	if err := c.Scale(t.Context(), "default", deployment("bert"), 3, "41"); err == nil || errors.Is(err, ErrConflict) {
		t.Errorf("another error: %v", err)
	}
}

func TestOwnerIsTheWorkloadAtTheEndOfTheChain(t *testing.T) {
	c := newCluster(t, []*corev1.Pod{
		pod("of-deployment", ownedBy("ReplicaSet", "bert-rs"), gpus("1")),
		pod("of-deployment-2", ownedBy("ReplicaSet", "bert-rs"), gpus("1")),
		pod("of-replicaset", ownedBy("ReplicaSet", "bare-rs"), gpus("1")),
		pod("of-statefulset", ownedBy("StatefulSet", "db"), gpus("1")),
		pod("of-cpu-statefulset", ownedBy("StatefulSet", "cpu")),
		pod("of-lost-replicaset", ownedBy("ReplicaSet", "lost-rs"), gpus("1")),
		pod("of-reborn-replicaset", ownedBy("ReplicaSet", "reborn-rs"), gpus("1"), func(p *corev1.Pod) { p.OwnerReferences[0].UID = "old" }),
		pod("of-job", ownedBy("Job", "train"), gpus("1")),
		pod("alone", gpus("1")),
	}, replicaSet("bert-rs", "bert"), replicaSet("bare-rs", ""), replicaSet("reborn-rs", "reborn"))
	c.start(t)
	for name, want := range map[string]ID{
		"of-deployment":        {"default", "Deployment", "bert"},
		"of-replicaset":        {"default", "ReplicaSet", "bare-rs"},
		"of-statefulset":       {"default", "StatefulSet", "db"},
		"of-lost-replicaset":   {},
		"of-reborn-replicaset": {},
		"of-job":               {},
		"alone":                {},
		"nobody":               {},
	} {
		if got, ok := c.Owner("default", name); got != want || ok != (want != ID{}) {
			t.Errorf("%s: got %v, %v, want %v", name, got, ok, want)
		}
	}
	got := map[ID]string{}
	for _, w := range c.Workloads() {
		got[w.ID] = names(w.Pods)
	}
	want := map[ID]string{
		{"default", "Deployment", "bert"}:    "of-deployment of-deployment-2",
		{"default", "ReplicaSet", "bare-rs"}: "of-replicaset",
		{"default", "StatefulSet", "db"}:     "of-statefulset",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("workloads (-want +got):\n%s", diff)
	}
}
