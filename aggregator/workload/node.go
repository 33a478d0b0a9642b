package workload

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// toNode returns the informer's transform. Of a node it keeps its name and whether pods may be scheduled on it, and of one with GPUs
// what else a scheduler looks at: a cluster may have thousands, each of many kilobytes.
func toNode(gpus gpuResources) cache.TransformFunc {
	return func(object any) (any, error) {
		node, ok := object.(*corev1.Node)
		if !ok {
			return nil, fmt.Errorf("a %T came in place of a node", object)
		}
		kept := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node.Name, ResourceVersion: node.ResourceVersion},
			Spec: corev1.NodeSpec{Unschedulable: node.Spec.Unschedulable}}
		if gpus.in(node.Status.Allocatable) {
			kept.Labels, kept.Spec.Taints, kept.Status.Allocatable = node.Labels, node.Spec.Taints, node.Status.Allocatable
			for _, c := range node.Status.Conditions {
				if c.Type == corev1.NodeReady {
					kept.Status.Conditions = []corev1.NodeCondition{{Type: c.Type, Status: c.Status}}
				}
			}
		}
		return kept, nil
	}
}

// Draining reports whether the node is cordoned, which is how a drain begins. Of a node that is not known it is not.
func (d *Directory) Draining(node string) bool {
	object, known, err := d.nodes.GetStore().GetByKey(node)
	if err != nil || !known {
		return false
	}
	n, ok := object.(*corev1.Node)
	return ok && n.Spec.Unschedulable
}

// GPUNodes returns the nodes that offer GPUs, with what a scheduler looks at; false before the first full lists have arrived. They
// are not to be changed.
func (d *Directory) GPUNodes() ([]*corev1.Node, bool) {
	if !d.Synced() || !d.nodes.HasSynced() {
		return nil, false
	}
	var nodes []*corev1.Node
	for _, object := range d.nodes.GetStore().List() {
		if n, ok := object.(*corev1.Node); ok && len(n.Status.Allocatable) > 0 {
			nodes = append(nodes, n)
		}
	}
	return nodes, true
}
