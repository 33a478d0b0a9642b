package capacity

import (
	"math"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// ProductLabel is what NVIDIA's gpu-feature-discovery names the GPUs of a node by.
const ProductLabel = "nvidia.com/gpu.product"

// gpuPrefixes begin the extended resources that are GPUs, or parts of one: nvidia.com/gpu, nvidia.com/gpu.shared, nvidia.com/mig-1g.10gb.
var gpuPrefixes = []string{"nvidia.com/gpu", "nvidia.com/mig-"}

func isGPU(resource corev1.ResourceName) bool {
	for _, prefix := range gpuPrefixes {
		if strings.HasPrefix(string(resource), prefix) {
			return true
		}
	}
	return false
}

// lowest is the priority that sees everything taken.
const lowest = math.MinInt32

// request is so much of a resource: CPU in thousandths, everything else in whole units.
type request struct {
	resource corev1.ResourceName
	amount   int64
}

type amounts map[corev1.ResourceName]int64

func (a amounts) add(list corev1.ResourceList) {
	for resource, quantity := range list {
		amount := quantity.Value()
		if resource == corev1.ResourceCPU {
			amount = quantity.MilliValue()
		}
		a[resource] += amount
	}
}

// node is one with GPUs and what pods take of it.
type node struct {
	*corev1.Node
	open        bool // ready and not cordoned
	allocatable amounts
	taken       map[int32]amounts // by priority
}

func newNode(n *corev1.Node) *node {
	out := &node{Node: n, allocatable: make(amounts, len(n.Status.Allocatable)), taken: make(map[int32]amounts, 1)}
	out.allocatable.add(n.Status.Allocatable)
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			out.open = c.Status == corev1.ConditionTrue && !n.Spec.Unschedulable
		}
	}
	return out
}

func (n *node) take(priority int32, requests []request) {
	taken := n.taken[priority]
	if taken == nil {
		taken = make(amounts, len(requests))
		n.taken[priority] = taken
	}
	for _, r := range requests {
		taken[r.resource] += r.amount
	}
}

// free is what pods of a priority may have: others of a lower one give way.
func (n *node) free(priority int32, resource corev1.ResourceName) int64 {
	free := n.allocatable[resource]
	for p, taken := range n.taken {
		if p >= priority {
			free -= taken[resource]
		}
	}
	return free
}

// fits is how many pods of a template there is room for, whether or not they may run here.
func (n *node) fits(t *template) int64 {
	fits := int64(math.MaxInt32)
	for _, r := range t.requests {
		if r.amount > 0 {
			fits = min(fits, max(n.free(t.priority, r.resource), 0)/r.amount)
		}
	}
	return fits
}

// gpuType names the GPUs that the node offers under a resource: by their product, with the resource where they are not whole ones.
func (n *node) gpuType(resource corev1.ResourceName) string {
	product := n.Labels[ProductLabel]
	_, part, _ := strings.Cut(string(resource), "/")
	switch {
	case product == "":
		return string(resource)
	case part == "gpu":
		return product
	}
	return product + "/" + part
}
