package capacity

import (
	"cmp"
	"slices"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// template is a shape of pods made ready to be compared with nodes.
type template struct {
	requests []request // of one pod, itself included
	gpus     []request // those of GPUs, the most first
	priority int32     // that of pods which do not give way to it; the lowest where it may not preempt
	claims   bool      // it has ResourceClaims, which are not counted
	where    string    // what it asks of nodes but for room, the same for all that ask the same

	affinity    nodeaffinity.RequiredNodeAffinity
	tolerations []corev1.Toleration
}

func newTemplate(shape *corev1.PodSpec) *template {
	t := &template{
		claims: len(shape.ResourceClaims) > 0, affinity: nodeaffinity.NewRequiredNodeAffinity(shape.NodeSelector, shape.Affinity),
		tolerations: shape.Tolerations, requests: []request{{corev1.ResourcePods, 1}},
	}
	where := corev1.PodSpec{NodeSelector: shape.NodeSelector, Affinity: shape.Affinity, Tolerations: shape.Tolerations}
	if bytes, err := where.Marshal(); err == nil {
		t.where = string(bytes)
	}
	if shape.Priority != nil {
		t.priority = *shape.Priority
	}
	if shape.PreemptionPolicy != nil && *shape.PreemptionPolicy == corev1.PreemptNever {
		t.priority = lowest
	}
	sums := amounts{}
	sums.add(shape.Overhead)
	for _, c := range shape.Containers {
		sums.add(c.Resources.Requests)
	}
	delete(sums, corev1.ResourceEphemeralStorage) // what pods without GPUs take of it is not known
	for resource, amount := range sums {
		t.requests = append(t.requests, request{resource, amount})
		if isGPU(resource) && amount > 0 {
			t.gpus = append(t.gpus, request{resource, amount})
		}
	}
	slices.SortFunc(t.gpus, func(a, b request) int {
		return cmp.Or(cmp.Compare(b.amount, a.amount), cmp.Compare(a.resource, b.resource))
	})
	return t
}

// mayRunOn reports whether pods of the template may run on a node, if it has room for them.
func (t *template) mayRunOn(n *node) bool {
	if matches, err := t.affinity.Match(n.Node); err != nil || !matches {
		return false
	}
	_, kept := helpers.FindMatchingUntoleratedTaint(logr.Discard(), n.Spec.Taints, t.tolerations, func(taint *corev1.Taint) bool {
		return taint.Effect == corev1.TaintEffectNoSchedule || taint.Effect == corev1.TaintEffectNoExecute
	}, true)
	return !kept
}
