package load

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func running(name string, ready corev1.ConditionStatus) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
	}
}

func TestMoreReplicasMeanLowerUtilization(t *testing.T) {
	held := map[string][]string{"default/a": {"GPU-0"}, "default/b": {"GPU-1"}, "default/c": {"GPU-2"}}
	pods := []corev1.Pod{running("a", "True"), running("b", "True"), running("c", "False")}
	for n, want := range map[int]int{1: 80, 2: 40, 3: 40} {
		percent := map[string]int{}
		s := share(0.8, pods[:n], held, percent)
		if s.DevicePercent != want || percent["GPU-0"] != want {
			t.Errorf("%d pods: %+v, device %d; want %d %%", n, s, percent["GPU-0"], want)
		}
		if _, ok := percent["GPU-2"]; ok {
			t.Error("an unready pod was given load")
		}
	}
}

func TestLoadBeyondCapacitySaturates(t *testing.T) {
	percent := map[string]int{}
	share(7, []corev1.Pod{running("a", "True")}, map[string][]string{"default/a": {"GPU-0"}}, percent)
	if percent["GPU-0"] != 100 {
		t.Errorf("device at %d %%, want 100", percent["GPU-0"])
	}
}
