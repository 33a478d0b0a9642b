package workload

import (
	"sync"
	"weak"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
)

// shapes keeps what pods ask of a node once for all pods that ask alike, such as those of a ReplicaSet, for as long as there are any.
type shapes struct {
	mu    sync.Mutex
	known map[string]weak.Pointer[corev1.PodSpec]
	sweep int // number of known shapes at which those that nobody has any more are dropped
}

// fewShapes are not worth a look for those that nobody has any more.
const fewShapes = 64

// of is the shape of a pod: what the scheduler looks at, and one container with all that the pod requests.
func (s *shapes) of(pod *corev1.Pod) *corev1.PodSpec {
	shape := &corev1.PodSpec{
		NodeSelector: pod.Spec.NodeSelector, Tolerations: pod.Spec.Tolerations, RuntimeClassName: pod.Spec.RuntimeClassName,
		SchedulerName: pod.Spec.SchedulerName, Priority: pod.Spec.Priority, PreemptionPolicy: pod.Spec.PreemptionPolicy,
		ResourceClaims: pod.Spec.ResourceClaims, Overhead: pod.Spec.Overhead,
		Containers: []corev1.Container{{Name: "all", Resources: corev1.ResourceRequirements{
			Requests: resource.PodRequests(pod, resource.PodResourcesOptions{ExcludeOverhead: true}),
		}}},
	}
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		shape.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution,
		}}
	}
	bytes, err := shape.Marshal()
	if err != nil {
		return shape // its own: that costs memory only
	}
	key := string(bytes)
	s.mu.Lock()
	defer s.mu.Unlock()
	if same := s.known[key].Value(); same != nil {
		return same
	}
	if len(s.known) >= max(s.sweep, fewShapes) {
		for other, p := range s.known {
			if p.Value() == nil {
				delete(s.known, other)
			}
		}
		s.sweep = 2 * len(s.known)
	}
	if s.known == nil {
		s.known = make(map[string]weak.Pointer[corev1.PodSpec])
	}
	s.known[key] = weak.Make(shape)
	return shape
}
