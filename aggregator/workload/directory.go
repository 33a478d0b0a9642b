package workload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
)

// Options is what a Directory needs.
type Options struct {
	Clients Clients
	Logger  *slog.Logger
	// GPUResources are the extended resources that stand for one device each; nil means DefaultGPUResources.
	GPUResources []string
}

// Directory answers which pods a scale target has and which workload a pod belongs to.
type Directory struct {
	log         *slog.Logger
	scales      scales
	knative     knative
	pods        cache.SharedIndexInformer
	replicaSets cache.SharedIndexInformer
	nodes       cache.SharedIndexInformer
	changes     atomic.Uint64 // of pods and nodes

	mu sync.Mutex
	// read are the selectors of targets that were read: of kinds whose pods belong to something in between, such as a
	// LeaderWorkerSet's to StatefulSets, only they tell whose the pods are.
	read map[ID]picker
}

// New prepares a Directory; Start runs it.
func New(opts Options) (*Directory, error) {
	c := opts.Clients
	if c.Pods == nil || c.Metadata == nil || c.Scales == nil || c.Mapper == nil {
		return nil, errors.New("workload: Clients.Pods, Metadata, Scales and Mapper are all needed")
	}
	gpus := gpuResources(opts.GPUResources)
	if len(gpus) == 0 {
		gpus = DefaultGPUResources()
	}
	d := &Directory{
		log:     opts.Logger,
		read:    map[ID]picker{},
		scales:  scales{getter: c.Scales, mapper: c.Mapper},
		knative: knative{client: c.Objects},
		pods:    coreinformers.NewPodInformer(c.Pods, metav1.NamespaceAll, 0, indexers()),
		replicaSets: metadatainformer.NewFilteredMetadataInformer(c.Metadata,
			schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"},
			metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer(),
		nodes: coreinformers.NewNodeInformer(c.Pods, 0, cache.Indexers{}),
	}
	if err := d.pods.SetTransform(toRecord(gpus, &shapes{})); err != nil {
		return nil, fmt.Errorf("pod informer: %w", err)
	}
	if err := d.replicaSets.SetTransform(ownersOnly); err != nil {
		return nil, fmt.Errorf("replica set informer: %w", err)
	}
	if err := d.nodes.SetTransform(toNode(gpus)); err != nil {
		return nil, fmt.Errorf("node informer: %w", err)
	}
	if err := d.count(d.pods, d.nodes); err != nil {
		return nil, err
	}
	return d, nil
}

// Start follows pods, ReplicaSets and nodes until ctx is done. An API server that is away is waited for; what was known before stays.
func (d *Directory) Start(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { d.pods.RunWithContext(ctx) })
	running.Go(func() { d.replicaSets.RunWithContext(ctx) })
	running.Go(func() { d.nodes.RunWithContext(ctx) })
	if cache.WaitForCacheSync(ctx.Done(), d.pods.HasSynced, d.replicaSets.HasSynced) {
		d.log.Info("pods are known", "pods", len(d.pods.GetStore().ListKeys()), "replicasets", len(d.replicaSets.GetStore().ListKeys()))
	}
	running.Wait()
	return nil
}

// Synced reports whether the first full lists have arrived.
func (d *Directory) Synced() bool { return d.pods.HasSynced() && d.replicaSets.HasSynced() }

// Target reads a scale target and its pods. Errors: ErrTargetNotFound, ErrNoSelector, ErrNotSynced, or what the API server said.
func (d *Directory) Target(ctx context.Context, namespace string, ref Reference) (Target, error) {
	if isKnative(ref) {
		return d.knativeTarget(ctx, namespace, ref)
	}
	scale, err := d.scales.get(ctx, namespace, ref)
	if errors.Is(err, ErrTargetNotFound) {
		d.mu.Lock()
		delete(d.read, ID{Namespace: namespace, Kind: ref.Kind, Name: ref.Name})
		d.mu.Unlock()
	}
	if err != nil {
		return Target{}, err
	}
	target := Target{
		ID:       ID{Namespace: namespace, Kind: ref.Kind, Name: ref.Name},
		Replicas: scale.Spec.Replicas,
		Version:  scale.ResourceVersion,
	}
	if !d.Synced() {
		return Target{}, ErrNotSynced
	}
	if scale.Status.Selector == "" {
		return Target{}, fmt.Errorf("%s %s/%s: %w", ref.Kind, namespace, ref.Name, ErrNoSelector)
	}
	pick, err := d.picker(target.ID, scale.Status.Selector)
	if err != nil {
		return Target{}, fmt.Errorf("%s %s/%s: %w", ref.Kind, namespace, ref.Name, err)
	}
	if ofKnative(pick.selector) {
		target.ScaledBy = "Knative"
	}
	target.Pods, err = d.podsOf(target.ID, pick)
	target.Shape = d.shapeOf(namespace, target.Pods)
	return target, err
}

// Scale sets the replicas of a target through its scale subresource, or the floor of a Knative Service. A target that changed since it was read (by its Version)
// is left alone and ErrConflict returned.
func (d *Directory) Scale(ctx context.Context, namespace string, ref Reference, replicas int32, version string) error {
	if isKnative(ref) {
		return d.knative.setFloor(ctx, namespace, ref, replicas, version)
	}
	return d.scales.set(ctx, namespace, ref, replicas, version)
}

// podsOf returns the pods the selector picks. Two workloads whose selectors overlap do not share pods: a pod that is known to
// belong to another workload of the same kind is left out.
func (d *Directory) podsOf(id ID, pick picker) ([]Pod, error) {
	objects, err := d.candidates(id, pick)
	if err != nil {
		return nil, err
	}
	var pods []Pod
	for _, object := range objects {
		r, ok := object.(*record)
		if !ok || !pick.matches(r.ObjectMeta) {
			continue
		}
		if owner, known := d.ownerOf(r); known && owner.Kind == id.Kind && owner.Name != id.Name {
			continue
		}
		if isPlaceholder(r) {
			continue
		}
		pods = append(pods, r.pod)
	}
	sortByName(pods)
	return pods, nil
}

// Workloads returns every workload that has pods asking for GPUs, or that may through ResourceClaims, with those pods, and every scale
// target that was read. Pods on their own and those of Jobs, DaemonSets and nodes are left out: no replica count of theirs could
// follow a demand; so are placeholders. Before the first full lists have arrived there are none.
func (d *Directory) Workloads() []Workload {
	if !d.Synced() {
		return nil
	}
	objects, err := d.pods.GetIndexer().ByIndex(gpuIndex, gpuYes)
	if err != nil {
		return nil
	}
	byID := make(map[ID][]Pod)
	for _, object := range objects {
		r, ok := object.(*record)
		if !ok {
			continue
		}
		if id, known := d.ownerOf(r); known {
			byID[id] = append(byID[id], r.pod)
		}
	}
	d.mu.Lock()
	for id, pick := range d.read {
		if _, known := byID[id]; known {
			continue
		}
		if pods, err := d.podsOf(id, pick); err == nil && len(pods) > 0 {
			byID[id] = pods
		}
	}
	d.mu.Unlock()
	workloads := make([]Workload, 0, len(byID))
	for id, pods := range byID {
		sortByName(pods)
		workloads = append(workloads, Workload{ID: id, Pods: pods})
	}
	return workloads
}
