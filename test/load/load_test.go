package load

import (
	"math"
	"strings"
	"testing"
	"time"

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

func TestPlayerPlaysAStretchAndHoldsItsEnd(t *testing.T) {
	p, err := NewPlayer(strings.NewReader("series,timestamp_unix,value\nx,0,10\nx,600,20\nx,1200,40\n"), "x", 0.1)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Unix(5000, 0)
	p.Play(time.Unix(0, 0), time.Unix(900, 0), 60, begin)
	for after, want := range map[time.Duration]float64{-time.Second: 1, 0: 1, 5 * time.Second: 1.5, 10 * time.Second: 2, 15 * time.Second: 3, time.Hour: 3} {
		if got := p.Offered(begin.Add(after)); math.Abs(got-want) > 1e-9 {
			t.Errorf("offered after %v = %v, want %v", after, got, want)
		}
	}
}
