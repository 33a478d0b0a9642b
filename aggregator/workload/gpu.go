package workload

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// DefaultGPUResource is the extended resource NVIDIA's device plugin offers whole devices under.
const DefaultGPUResource = "nvidia.com/gpu"

// sharedGPUResource is what it offers shares of GPUs under that several containers use in turn.
const sharedGPUResource = "nvidia.com/gpu.shared"

// DefaultGPUResources are the extended resources of which each unit is one device to the agents: a GPU, a share of one, or a MIG
// instance. A name that ends in * stands for all that begin so.
func DefaultGPUResources() []string {
	return []string{DefaultGPUResource, sharedGPUResource, "nvidia.com/mig-*"}
}

// gpuResources tells which extended resources are GPUs.
type gpuResources []string

func (g gpuResources) has(name corev1.ResourceName) bool {
	for _, pattern := range g {
		prefix, all := strings.CutSuffix(pattern, "*")
		if string(name) == pattern || all && strings.HasPrefix(string(name), prefix) {
			return true
		}
	}
	return false
}

// in tells whether a list has any.
func (g gpuResources) in(list corev1.ResourceList) bool {
	for name, quantity := range list {
		if g.has(name) && quantity.Value() > 0 {
			return true
		}
	}
	return false
}

// of adds up what the containers of a pod ask for, those that run beside each other: the containers and the init containers that
// restart always (sidecars). For extended resources request and limit are the same, and either alone sets both. Several shares of GPUs
// may be of one GPU: a container has one device at least.
func (g gpuResources) of(pod *corev1.Pod) float64 {
	var sum int64
	one := func(name corev1.ResourceName, n int64) {
		switch {
		case !g.has(name):
		case name == sharedGPUResource:
			sum += min(n, 1)
		default:
			sum += n
		}
	}
	add := func(c corev1.Container) {
		for name, quantity := range c.Resources.Limits {
			if _, twice := c.Resources.Requests[name]; !twice {
				one(name, quantity.Value())
			}
		}
		for name, quantity := range c.Resources.Requests {
			one(name, quantity.Value())
		}
	}
	for _, c := range pod.Spec.Containers {
		add(c)
	}
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			add(c)
		}
	}
	return float64(sum)
}

// lacking reports whether the scheduler found no node with enough free GPUs for a pod: it says "Insufficient <resource>" then
// (kubernetes pkg/scheduler/framework/plugins/noderesources/fit.go).
func (g gpuResources) lacking(pod *corev1.Pod) bool {
	told := unschedulable(pod)
	if told == nil {
		return false
	}
	for _, pattern := range g {
		prefix, _ := strings.CutSuffix(pattern, "*")
		if strings.Contains(told.Message, "Insufficient "+prefix) {
			return true
		}
	}
	return false
}

// unschedulable is what the scheduler says of a pod that it found no node for; nil when it says nothing of the kind.
func unschedulable(pod *corev1.Pod) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return c
		}
	}
	return nil
}
