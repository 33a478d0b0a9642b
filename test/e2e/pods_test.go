//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestPodsThatStayUnreadyForMinutesAreCountedAsComing: an autoscaler that counts only what serves asks for more each time it looks.
func TestPodsThatStayUnreadyForMinutesAreCountedAsComing(t *testing.T) {
	t.Parallel()
	s := stage(t, "unready", coldPods)
	s.busy(3)
	s.policy("auto")
	s.sees("a second pod is on its way", func(p policy) bool {
		return p.Status.CurrentReplicas == 2 && p.current() == 100 && strings.Contains(p.Status.Decision.Message, "1 on the way")
	})
	always(t, "the pod on its way is enough", 2*time.Minute, func() (bool, string) {
		n := len(s.history())
		return n == 2, fmt.Sprint(s.history())
	})
	s.went(1, 2)
	s.warm(2)
	s.sees("two pods serve, and are too few", func(p policy) bool { return p.Status.CurrentReplicas >= 3 })
}

// TestSaturatedPodsGrowByHalf: at a target of 90 % three pods that are 100 % busy would become four by the arithmetic alone.
func TestSaturatedPodsGrowByHalf(t *testing.T) {
	t.Parallel()
	s := stage(t, "saturated", pods(3), target(90), atMost(5))
	reader := asReader(t, trusting(t))
	saturated := func(want float64) {
		t.Helper()
		eventually(t, fmt.Sprintf("foretide_policy_saturated is %v", want), patience, func() (bool, string) {
			_, metrics := get(t, reader, webOf(t, aggregatorPods(t)[0])+"/metrics")
			v, ok := sample(metrics, `foretide_policy_saturated{namespace="e2e-saturated",policy="model"}`)
			return ok && v == want, fmt.Sprint(v, ok)
		})
	}
	s.loaded(2.5, 83)
	s.policy("auto")
	saturated(0)
	s.busy(8)
	s.sees("five pods, and all are busy", func(p policy) bool {
		return p.Status.CurrentReplicas == 5 && p.current() == 100 && strings.Contains(p.Status.Decision.Message, "which hides demand")
	})
	s.went(3, 5)
	saturated(1)
	s.busy(2)
	s.serves(3)
	saturated(0)
}

// TestAGPUThatIsLostHoldsTheReplicas: what the pod on it does is not known, and that is not idle.
func TestAGPUThatIsLostHoldsTheReplicas(t *testing.T) {
	t.Parallel()
	s := stage(t, "lost", pods(3), target(90))
	s.loaded(2.5, 83)
	s.policy("auto")
	back := lost(t, s.namespace, s.kubectl("get", "pods", "-l", "app=model", "-o", "jsonpath={.items[0].metadata.name}"))
	s.busy(0.2)
	s.sees("fewer would do by what is known, and three are held", func(p policy) bool {
		status, reason, _ := p.condition("DataFresh")
		return p.current() == 7 && p.Status.DesiredReplicas == 3 && p.Status.Decision.Reason == "PartialTelemetry" && status == "False" && reason == "MissingTelemetry"
	})
	s.went(3)
	back()
	s.serves(1)
	if status, _, message := s.sees("all is known", func(p policy) bool { return p.current() == 20 }).condition("DataFresh"); status != "True" {
		t.Errorf("DataFresh is %s: %s", status, message)
	}
}
