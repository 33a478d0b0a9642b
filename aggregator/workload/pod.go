package workload

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// gpuIndex is the informer's index of the pods that ask for GPUs, or may through a ResourceClaim; it has the one key "yes".
const gpuIndex, gpuYes = "gpu", "yes"

const namespaceIndex = cache.NamespaceIndex

// record is what the informer keeps of a pod: a few hundred bytes instead of the many kilobytes of the object.
type record struct {
	// ObjectMeta holds namespace, name, labels and the controlling owner, nothing else.
	metav1.ObjectMeta
	pod   Pod
	claim Claim
	// waits is true of a pod that has no node and that the scheduler has yet to look at; ended of one that takes nothing any more.
	waits, ended bool
}

// toRecord returns the informer's transform. It leaves what is a record already as it is.
func toRecord(gpus gpuResources, alike *shapes) cache.TransformFunc {
	return func(obj any) (any, error) {
		switch o := obj.(type) {
		case *record, cache.DeletedFinalStateUnknown:
			return o, nil
		case *corev1.Pod:
			return newRecord(o, gpus, alike), nil
		}
		return nil, fmt.Errorf("pod informer was given a %T", obj)
	}
}

func newRecord(pod *corev1.Pod, gpus gpuResources, alike *shapes) *record {
	r := &record{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion, Labels: pod.Labels,
		},
		pod: Pod{
			Name: pod.Name, Node: pod.Spec.NodeName, GPUs: gpus.of(pod), Claims: len(pod.Spec.ResourceClaims) > 0,
			LacksGPUs: gpus.lacking(pod), Created: pod.CreationTimestamp.Time,
		},
		claim: claimOf(pod),
		ended: pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed,
		waits: pod.Spec.NodeName == "" && len(pod.Spec.SchedulingGates) == 0 && unschedulable(pod) == nil,
	}
	if r.pod.GPUs > 0 || r.pod.Claims {
		r.claim.Shape = alike.of(pod)
	}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		r.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	r.pod.State, r.pod.ReadySince = stateOf(pod)
	r.pod.CPU, r.pod.Memory = requestOf(pod, corev1.ResourceCPU), requestOf(pod, corev1.ResourceMemory)
	return r
}

// stateOf groups pods as the HPA does (kubernetes pkg/controller/podautoscaler/replica_calculator.go, groupPods), with one
// difference: a running pod that is not ready counts as unready whatever the metric, because a model server that loads its
// weights holds its GPU long before it serves.
func stateOf(pod *corev1.Pod) (State, time.Time) {
	if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded {
		return Gone, time.Time{}
	}
	if pod.Status.Phase == corev1.PodRunning {
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return Ready, c.LastTransitionTime.Time
			}
		}
	}
	return Unready, time.Time{}
}

// requestOf is how much of a resource the containers request that run beside each other, as the Horizontal Pod Autoscaler counts it
// (replica_calculator.go, calculatePodRequests); 0 when one of the containers requests none: what the pod's whole is is not known then.
func requestOf(pod *corev1.Pod, name corev1.ResourceName) float64 {
	sum := 0.0
	for _, c := range pod.Spec.Containers {
		quantity, ok := c.Resources.Requests[name]
		if !ok {
			return 0
		}
		sum += quantity.AsApproximateFloat64()
	}
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			quantity := c.Resources.Requests[name]
			sum += quantity.AsApproximateFloat64()
		}
	}
	return sum
}

func indexers() cache.Indexers {
	return cache.Indexers{
		namespaceIndex: cache.MetaNamespaceIndexFunc,
		labelIndex:     indexLabels,
		gpuIndex: func(obj any) ([]string, error) {
			if r, ok := obj.(*record); ok && (r.pod.GPUs > 0 || r.pod.Claims) {
				return []string{gpuYes}, nil
			}
			return nil, nil
		},
	}
}

func sortByName(pods []Pod) {
	slices.SortFunc(pods, func(a, b Pod) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
}
