//go:build conformance

package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakenvml"
)

// identities are the cases of what the kubelet's Pods API tells, and of what is left without it.
func identities() []kase {
	const area = "attribution"
	return []kase{
		{area, "a pod's UID, controller and readiness come from the kubelet's Pods API", scripted, identity},
		{area, "without the Pods API there are names, and no more is said", scripted, namesOnly},
		{area, "processes are known by the Pods API where there are no logs", scripted, knownByPodsAPI},
		{area, "a static pod's processes are known by its configuration hash", scripted, staticPod},
		{area, "HAMi's annotation stands over the kubelet's device ids where --kubelet.hami says so", scripted, hami},
		{area, "without --kubelet.hami the annotation, which anybody may write, is not believed", scripted, hamiNotBelieved},
	}
}

// pod is one on this node, with a container named model.
func pod(name, uid string, ready bool) *corev1.Pod {
	status, controller := corev1.ConditionFalse, true
	if ready {
		status = corev1.ConditionTrue
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(uid),
			OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "bert-7d9f", Controller: &controller}}},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "model"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning,
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: status}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "model", ContainerID: "containerd://" + idOf(name)}}},
	}
}

// idOf makes up the id of a pod's container, from its last digit.
func idOf(pod string) string { return strings.Repeat("beef000"+pod[len(pod)-1:], 8) }

// servePods has the kubelet serve its Pods API with these pods.
func (w *world) servePods(pods ...*corev1.Pod) {
	w.t.Helper()
	if w.Pods == nil {
		if err := w.ServePods(); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := w.Pods.Set(pods...); err != nil {
		w.t.Fatal(err)
	}
}

const uidZero, uidOne = "6f1d2c3b-0000-4000-8000-00000000000a", "6f1d2c3b-0000-4000-8000-00000000000b"

func identity(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 2))
	w.servePods(pod("bert-0", uidZero, true), pod("bert-1", uidOne, false))
	w.hold(holder("bert-0", "model", "nvidia.com/gpu", w.Scenario.Devices[0].UUID), holder("bert-1", "model", "nvidia.com/gpu", w.Scenario.Devices[1].UUID))
	w.start()
	of := func(name, uid string, ready bool) telemetry.Pod {
		return telemetry.Pod{Namespace: "default", Name: name, UID: uid, ControllerKind: "ReplicaSet", ControllerName: "bert-7d9f", Known: true, Ready: ready}
	}
	w.settles("both pods", func(b telemetry.Batch) string {
		return cmp.Diff([]telemetry.Pod{of("bert-0", uidZero, true), of("bert-1", uidOne, false)}, b.Pods)
	})
	w.servePods(pod("bert-0", uidZero, true), pod("bert-1", uidOne, true))
	w.settles("the other is ready too", func(b telemetry.Batch) string {
		return cmp.Diff([]telemetry.Pod{of("bert-0", uidZero, true), of("bert-1", uidOne, true)}, b.Pods)
	})
	w.shows(1, "foretide_pod_info", "pod", "bert-1", "uid", uidOne, "controller_kind", "ReplicaSet", "controller_name", "bert-7d9f")
	w.shows(1, "foretide_agent_pods_api_up")
	w.Pods.Stop()
	w.batch("readiness is not known any more", func(b telemetry.Batch) bool { return len(b.Pods) == 2 && !b.Pods[0].Known && !b.Pods[1].Known })
	w.shows(0, "foretide_agent_pods_api_up")
}

func namesOnly(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	w.hold(holder("bert-0", "model", "nvidia.com/gpu", w.Scenario.Devices[0].UUID))
	w.start()
	b := w.batch("a usage", func(b telemetry.Batch) bool { return len(b.Usages) == 1 })
	if want := (telemetry.Owner{Namespace: "default", Pod: "bert-0", Container: "model"}); b.Usages[0].Owner != want || b.Pods != nil || len(b.Problems) > 0 {
		t.Errorf("owner %+v, pods %+v, problems %q", b.Usages[0].Owner, b.Pods, b.Problems)
	}
	w.shows(0, "foretide_agent_pods_api_up")
}

func knownByPodsAPI(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	busy(d, 50, 20)
	w.play()
	w.servePods(pod("bert-0", uidZero, true), pod("bert-1", uidOne, true))
	for i, uid := range []string{uidZero, uidOne} {
		name := fmt.Sprintf("bert-%d", i)
		if err := w.Process(101+i, fmt.Sprintf("0::/kubepods/burstable/pod%s/%s\n", uid, idOf(name))); err != nil {
			t.Fatal(err)
		}
		w.hold(append(w.holders, holder(name, "model", "nvidia.com/gpu", fmt.Sprintf("%s::%d", d.UUID, i)))...)
	}
	w.start()
	w.parts(d.UUID, map[string]float64{"bert-0": 0.5, "bert-1": 0.2})
}

func staticPod(t *testing.T) {
	const hash = "0123456789abcdef0123456789abcdef"
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	busy(d, 50, 20)
	w.play()
	static := pod("edge-node-1", uidZero, true)
	static.Annotations = map[string]string{"kubernetes.io/config.hash": hash}
	static.Status.ContainerStatuses = nil // the kubelet shows them late: the pod must be known by the hash
	w.servePods(static)
	w.shared("nvidia.com/gpu", d.UUID, "other-0")
	if err := w.Process(102, fmt.Sprintf("0::/kubepods.slice/kubepods-pod%s.slice/cri-containerd-%s.scope\n", hash, idOf("edge-node-1"))); err != nil {
		t.Fatal(err)
	}
	w.hold(append(w.holders, holder("edge-node-1", "model", "nvidia.com/gpu", d.UUID+"::1"))...)
	w.start()
	b := w.parts(d.UUID, map[string]float64{"other-0": 0.5, "edge-node-1": 0.2})
	if u, _ := usage(b, "edge-node-1", d.UUID); u.Owner.Container != "model" {
		t.Errorf("%+v", u)
	}
}

// withHAMi is a node of two GPUs with a pod that has the first by the kubelet's word and the second by HAMi's.
func withHAMi(t *testing.T) (w *world, told, given *fakenvml.Device) {
	w = newWorld(t, profile(t, "h100", 2))
	told, given = &w.Scenario.Devices[0], &w.Scenario.Devices[1]
	given.UtilizationGPUPercent, told.UtilizationGPUPercent = 35, 80
	w.play()
	p := pod("bert-0", uidZero, true)
	p.Annotations = map[string]string{"hami.io/vgpu-devices-allocated": given.UUID + ",NVIDIA,10240,50:;"}
	w.servePods(p)
	w.hold(holder("bert-0", "model", "nvidia.com/gpu", told.UUID))
	return w, told, given
}

func hamiNotBelieved(t *testing.T) {
	w, told, given := withHAMi(t)
	w.start()
	w.shows(1, "foretide_agent_pods_api_up")
	w.parts(told.UUID, map[string]float64{"bert-0": 0.8})
	w.parts(given.UUID, map[string]float64{})
}

func hami(t *testing.T) {
	w, told, given := withHAMi(t)
	w.start("--kubelet.hami")
	w.parts(given.UUID, map[string]float64{"bert-0": 0.35})
	b := w.batch("nothing of the other GPU", func(b telemetry.Batch) bool { return len(b.Usages) == 1 })
	if r, _ := reading(b, told.UUID); !near(r.Unattributed[telemetry.UtilizationMean], 0.8) {
		t.Errorf("unattributed: %v", r.Unattributed)
	}
}
