package workload

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// pod builds a pod; its options change it.
func pod(name string, options ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"app": "bert"}},
		Spec:       corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "model"}}},
		Status: corev1.PodStatus{
			Phase:      corev1.PodRunning,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon)}},
		},
	}
	for _, option := range options {
		option(p)
	}
	return p
}

func phase(phase corev1.PodPhase) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Phase = phase }
}

func notReady(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }

func deleting(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: noon} }

func gpus(count string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{DefaultGPUResource: resource.MustParse(count)}
	}
}

func ownedBy(kind, name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.OwnerReferences = controlledBy(kind, name) }
}

func controlledBy(kind, name string) []metav1.OwnerReference {
	yes := true
	return []metav1.OwnerReference{{Kind: kind, Name: name, UID: uidOf(name), Controller: &yes}}
}

func TestPodStates(t *testing.T) {
	for name, c := range map[string]struct {
		pod   *corev1.Pod
		state State
		since time.Time
	}{
		"ready":                     {pod("a"), Ready, noon},
		"running and not ready":     {pod("a", notReady), Unready, time.Time{}},
		"pending":                   {pod("a", phase(corev1.PodPending), notReady), Unready, time.Time{}},
		"no conditions yet":         {pod("a", func(p *corev1.Pod) { p.Status.Conditions = nil }), Unready, time.Time{}},
		"ready and being deleted":   {pod("a", deleting), Gone, time.Time{}},
		"failed":                    {pod("a", phase(corev1.PodFailed)), Gone, time.Time{}},
		"succeeded":                 {pod("a", phase(corev1.PodSucceeded)), Gone, time.Time{}},
		"unknown phase, once ready": {pod("a", phase(corev1.PodUnknown)), Unready, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			state, since := stateOf(c.pod)
			if state != c.state || !since.Equal(c.since) {
				t.Errorf("got %s since %v, want %s since %v", state, since, c.state, c.since)
			}
		})
	}
}

func TestGPUsAreWhatRunsSideBySideAsksFor(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	asks := func(n string) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{Requests: corev1.ResourceList{DefaultGPUResource: resource.MustParse(n)}}
	}
	p := pod("a", gpus("2"))
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "second", Resources: asks("1")}, corev1.Container{Name: "none"})
	p.Spec.InitContainers = []corev1.Container{
		{Name: "before", Resources: asks("8")},
		{Name: "sidecar", Resources: asks("1"), RestartPolicy: &always},
	}
	if got := gpuResources.of([]string{DefaultGPUResource}, p); got != 4 {
		t.Errorf("got %v GPUs, want 2+1+1", got)
	}
	if got := gpuResources.of([]string{"example.com/gpu"}, p); got != 0 {
		t.Errorf("got %v of another resource, want 0", got)
	}
}

func TestTransformLeavesWhatItMadeAlone(t *testing.T) {
	transform := toRecord(DefaultGPUResources(), &shapes{})
	once, err := transform(pod("a", gpus("1")))
	if err != nil {
		t.Fatal(err)
	}
	twice, err := transform(once)
	if err != nil || twice != once {
		t.Errorf("got %v, %v: want the same record", twice, err)
	}
	if _, err := transform("something else"); err == nil {
		t.Error("a string was taken for a pod")
	}
}

func uidOf(name string) types.UID { return types.UID("uid-of-" + name) }
