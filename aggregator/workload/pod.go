package workload

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// gpuIndex is the informer's index of the pods that ask for GPUs; it has the one key "yes".
const gpuIndex, gpuYes = "gpu", "yes"

const namespaceIndex = cache.NamespaceIndex

// record is what the informer keeps of a pod: a few hundred bytes instead of the many kilobytes of the object.
type record struct {
	// ObjectMeta holds namespace, name, labels and the controlling owner, nothing else.
	metav1.ObjectMeta
	pod Pod
}

// toRecord returns the informer's transform. It leaves what is a record already as it is.
func toRecord(gpuResources []string) cache.TransformFunc {
	return func(obj any) (any, error) {
		switch o := obj.(type) {
		case *record, cache.DeletedFinalStateUnknown:
			return o, nil
		case *corev1.Pod:
			return newRecord(o, gpuResources), nil
		}
		return nil, fmt.Errorf("pod informer was given a %T", obj)
	}
}

func newRecord(pod *corev1.Pod, gpuResources []string) *record {
	r := &record{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion, Labels: pod.Labels,
		},
		pod: Pod{Name: pod.Name, Node: pod.Spec.NodeName, GPUs: gpusOf(pod, gpuResources), Created: pod.CreationTimestamp.Time},
	}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		r.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	r.pod.State, r.pod.ReadySince = stateOf(pod)
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

// gpusOf adds up what the containers ask for, those that run beside each other: the containers and the init containers that
// restart always (sidecars). For extended resources request and limit are the same, and either alone sets both.
func gpusOf(pod *corev1.Pod, resources []string) float64 {
	var sum int64
	add := func(c corev1.Container) {
		for _, name := range resources {
			quantity, ok := c.Resources.Requests[corev1.ResourceName(name)]
			if !ok {
				quantity = c.Resources.Limits[corev1.ResourceName(name)]
			}
			sum += quantity.Value()
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

func indexers() cache.Indexers {
	return cache.Indexers{
		namespaceIndex: cache.MetaNamespaceIndexFunc,
		labelIndex:     indexLabels,
		gpuIndex: func(obj any) ([]string, error) {
			if r, ok := obj.(*record); ok && r.pod.GPUs > 0 {
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
