package kubelet

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/foretide/foretide/pkg/telemetry"
)

// apiPod is a pod as the kubelet has it: with everything that is read, and much that is not.
func apiPod(name, uid string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "ns", UID: types.UID(uid), ResourceVersion: "7", Generation: 3,
			CreationTimestamp: metav1.Unix(1_700_000_000, 0),
			Labels:            map[string]string{"app": "web"},
			Annotations: map[string]string{
				"prometheus.io/scrape": "true", "foretide.dev/port": "metrics", "hami.io/vgpu-node": "n",
				"kubectl.kubernetes.io/last-applied-configuration": "{}", "foretide.dev/huge": strings.Repeat("x", maxAnnotation+1),
			},
			OwnerReferences: []metav1.OwnerReference{
				{APIVersion: "v1", Kind: "Other", Name: "other", UID: "1"},
				{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-7d9f", UID: "2", Controller: ptr.To(true)},
			},
		},
		Spec: corev1.PodSpec{
			HostNetwork: true,
			NodeName:    "node-1",
			Containers: []corev1.Container{{
				Name: "model", Image: "vllm", Env: []corev1.EnvVar{{Name: "A", Value: "b"}},
				Ports:     []corev1.ContainerPort{{Name: "http", ContainerPort: 8000}, {Name: "metrics", ContainerPort: 9000, HostPort: 9001}},
				Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}},
			}},
			InitContainers: []corev1.Container{{Name: "fetch"}, {
				Name: "proxy", RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways), Ports: []corev1.ContainerPort{{ContainerPort: 15000}},
			}},
			EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.0.0.7", PodIPs: []corev1.PodIP{{IP: "10.0.0.7"}, {IP: "fd00::7"}}, HostIP: "10.9.9.9",
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionFalse}, {Type: corev1.PodReady, Status: corev1.ConditionTrue},
			},
			InitContainerStatuses:      []corev1.ContainerStatus{{Name: "fetch", ContainerID: "containerd://f0"}, {Name: "proxy", ContainerID: "containerd://f1"}},
			ContainerStatuses:          []corev1.ContainerStatus{{Name: "model", ContainerID: "cri-o://" + uid + "c", Ready: true, RestartCount: 4}},
			EphemeralContainerStatuses: []corev1.ContainerStatus{{Name: "debug"}},
		},
	}
}

func wire(t testing.TB, pod *corev1.Pod) []byte {
	t.Helper()
	message, err := pod.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func TestPodIsReadFromTheBytesOfTheAPIsType(t *testing.T) {
	got, uid, err := decodePod(wire(t, apiPod("web", "u1")))
	if err != nil || uid != "u1" {
		t.Fatalf("uid %q, error %v", uid, err)
	}
	want := &PodInfo{
		Pod:     telemetry.Pod{Namespace: "ns", Name: "web", UID: "u1", ControllerKind: "ReplicaSet", ControllerName: "web-7d9f", Known: true, Ready: true},
		Running: true, IP: "10.0.0.7", HostNetwork: true,
		Annotations: map[string]string{"prometheus.io/scrape": "true", "foretide.dev/port": "metrics", "hami.io/vgpu-node": "n"},
		// In the order of the bytes, where containers come before init containers.
		Ports:      []Port{{"model", "http", 8000}, {"model", "metrics", 9000}, {"proxy", "", 15000}},
		Containers: []Container{{"fetch", "f0", true}, {"proxy", "f1", true}, {"model", "u1c", false}, {"debug", "", false}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestStaticPodHasNoUIDOfTheAPI(t *testing.T) {
	pod := apiPod("kube-proxy", "0123456789abcdef0123456789abcdef")
	pod.Annotations = map[string]string{"kubernetes.io/config.hash": string(pod.UID)}
	got, uid, err := decodePod(wire(t, pod))
	if err != nil || got.UID != "" || uid != string(pod.UID) {
		t.Errorf("UID = %q, the kubelet's %q, error %v; want none, the hash, none", got.UID, uid, err)
	}
}

func TestReadinessIsKnownWhenTheKubeletSaysYesOrNo(t *testing.T) {
	for _, test := range []struct {
		status       corev1.ConditionStatus
		known, ready bool
	}{{corev1.ConditionTrue, true, true}, {corev1.ConditionFalse, true, false}, {corev1.ConditionUnknown, false, false}, {"", false, false}} {
		pod := apiPod("web", "u1")
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: test.status}}
		got, _, err := decodePod(wire(t, pod))
		if err != nil || got.Known != test.known || got.Ready != test.ready {
			t.Errorf("%q: known %v, ready %v, error %v", test.status, got.Known, got.Ready, err)
		}
	}
}

func TestPodWithoutNameOrCutShortIsRefused(t *testing.T) {
	whole := wire(t, apiPod("web", "u1"))
	for name, message := range map[string][]byte{
		"nothing": nil, "no name": wire(t, apiPod("", "u1")), "no uid": wire(t, apiPod("web", "")), "cut short": whole[:len(whole)-1],
	} {
		if _, _, err := decodePod(message); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzDecodePod(f *testing.F) {
	f.Add(wire(f, apiPod("web", "u1")))
	f.Add(wire(f, &corev1.Pod{}))
	f.Fuzz(func(t *testing.T, message []byte) {
		got, uid, err := decodePod(message)
		if err != nil {
			return
		}
		if got.Name == "" || got.Namespace == "" || uid == "" {
			t.Errorf("pod without identity: %+v", got)
		}
		for key, value := range got.Annotations {
			if !keepsAnnotation(key, []byte(value)) {
				t.Errorf("annotation %q of %d bytes was kept", key, len(value))
			}
		}
		for _, port := range got.Ports {
			if port.Number < 1 || port.Number > 65535 {
				t.Errorf("port %d was kept", port.Number)
			}
		}
	})
}
