package workload

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestCordonedNodeIsDrainingAndAnUnknownOneIsNot(t *testing.T) {
	c := newCluster(t, nil)
	for name, cordoned := range map[string]bool{"cordoned": true, "open": false} {
		kept, err := toNode(DefaultGPUResources())(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"a": "b"}},
			Spec: corev1.NodeSpec{Unschedulable: cordoned}, Status: corev1.NodeStatus{Images: make([]corev1.ContainerImage, 50)}})
		if err != nil {
			t.Fatal(err)
		}
		if n := kept.(*corev1.Node); n.Labels != nil || n.Status.Images != nil {
			t.Errorf("kept %+v", n)
		}
		if err := c.nodes.GetStore().Add(kept); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{"cordoned": true, "open": false, "unknown": false} {
		if got := c.Draining(name); got != want {
			t.Errorf("%s is draining: %v", name, got)
		}
	}
	if _, err := toNode(DefaultGPUResources())(&corev1.Pod{}); err == nil {
		t.Error("a pod was taken for a node")
	}
}
