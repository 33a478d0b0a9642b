package workload

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// cordonOnly keeps of a node its name and whether pods may be scheduled on it: a cluster may have thousands, each of many kilobytes.
func cordonOnly(object any) (any, error) {
	node, ok := object.(*corev1.Node)
	if !ok {
		return nil, fmt.Errorf("a %T came in place of a node", object)
	}
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node.Name, ResourceVersion: node.ResourceVersion},
		Spec: corev1.NodeSpec{Unschedulable: node.Spec.Unschedulable}}, nil
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
