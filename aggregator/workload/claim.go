package workload

import (
	"fmt"
	"iter"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-helpers/resource"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// isPlaceholder tells the pods that hold nodes for a policy's coming replicas: they are no workload, and their load is no demand.
func isPlaceholder(r *record) bool {
	_, yes := r.Labels[v1alpha1.LabelPlaceholder]
	return yes
}

// Claim is what a pod takes of its node, or will take of one.
type Claim struct {
	// Node is empty while the scheduler has not looked at the pod yet.
	Node        string
	Priority    int32
	CPUMilli    int64
	MemoryBytes int64
	// Shape is all that it asks of a node; nil when it asks for no GPU.
	Shape *corev1.PodSpec
}

func claimOf(pod *corev1.Pod) Claim {
	requests := resource.PodRequests(pod, resource.PodResourcesOptions{})
	c := Claim{Node: pod.Spec.NodeName, CPUMilli: requests.Cpu().MilliValue(), MemoryBytes: requests.Memory().Value()}
	if pod.Spec.Priority != nil {
		c.Priority = *pod.Spec.Priority
	}
	return c
}

// Claims goes through what the pods of the cluster take: those that have a node and have not ended, and those that the scheduler is
// about to look at. A pod that it found no node for takes nothing.
func (d *Directory) Claims() iter.Seq[Claim] {
	return func(yield func(Claim) bool) {
		for _, object := range d.pods.GetStore().List() {
			r, ok := object.(*record)
			if !ok || r.ended || r.claim.Node == "" && !r.waits {
				continue
			}
			if !yield(r.claim) {
				return
			}
		}
	}
}

// Changes is another number after each change of a pod or a node.
func (d *Directory) Changes() uint64 { return d.changes.Load() }

// count has the changes of what informers know counted.
func (d *Directory) count(informers ...cache.SharedIndexInformer) error {
	changed := func() { d.changes.Add(1) }
	for _, informer := range informers {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { changed() }, UpdateFunc: func(any, any) { changed() }, DeleteFunc: func(any) { changed() },
		})
		if err != nil {
			return fmt.Errorf("count changes: %w", err)
		}
	}
	return nil
}

// shapeOf is that of the newest pod that has one and is not gone.
func (d *Directory) shapeOf(namespace string, pods []Pod) *corev1.PodSpec {
	var shape *corev1.PodSpec
	newest := -1
	for i, pod := range pods {
		if pod.State == Gone || newest >= 0 && !pod.Created.After(pods[newest].Created) {
			continue
		}
		if object, ok, err := d.pods.GetIndexer().GetByKey(namespace + "/" + pod.Name); err == nil && ok {
			if r, ok := object.(*record); ok && r.claim.Shape != nil {
				shape, newest = r.claim.Shape, i
			}
		}
	}
	return shape
}
