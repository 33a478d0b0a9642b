//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

func TestWhileARealHorizontalPodAutoscalerScalesTheTargetThePolicyDoesNot(t *testing.T) {
	t.Parallel()
	s := stage(t, "conflict")
	apply(t, fmt.Sprintf(`
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: rival, namespace: %s}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: model}
  minReplicas: 2
  maxReplicas: 2
`, s.namespace))
	s.busy(1.4)
	s.policy("auto")
	p := s.sees("three pods are wanted, and the HorizontalPodAutoscaler has two", func(p policy) bool {
		status, reason, _ := p.condition("AbleToScale")
		return p.Status.CurrentReplicas == 2 && p.Status.DesiredReplicas == 3 && status == "False" && reason == "TargetConflict"
	})
	if _, _, message := p.condition("AbleToScale"); !strings.Contains(message, `HorizontalPodAutoscaler "rival"`) {
		t.Errorf("the condition does not name it: %s", message)
	}
	if events := s.kubectl("get", "events", "--field-selector=reason=TargetConflict,involvedObject.name=model"); !strings.Contains(events, "rival") {
		t.Errorf("no event tells of the conflict:\n%s", events)
	}
	s.went(1, 2)
	s.kubectl("delete", "hpa/rival", "--wait")
	s.serves(3)
	s.went(1, 2, 3)
}

func TestARolloutMovesNoReplicas(t *testing.T) {
	t.Parallel()
	s := stage(t, "rollout", pods(3))
	s.loaded(1.35, 45)
	s.policy("auto")
	s.serves(3)
	s.kubectl("patch", "deployment/model", "-p", `{"spec":{"template":{"metadata":{"labels":{"version":"2"}}}}}`)
	s.kubectl("rollout", "status", "deployment/model", "--timeout=180s")
	s.kubectl("wait", "--for=delete", "pod", "-l", "app=model,version!=2", "--timeout=60s")
	s.sees("its three new pods serve the load", func(p policy) bool {
		return p.current() == 45 && p.Status.DesiredReplicas == 3 && p.Status.Decision.Reason == "Steady"
	})
	s.went(3)
}

func TestATargetThatIsDeletedIsScaledAgainOnceItIsBack(t *testing.T) {
	t.Parallel()
	s := stage(t, "target")
	s.busy(0.9)
	s.policy("auto")
	s.serves(2)
	s.kubectl("delete", "deployment/model", "--wait")
	s.sees("the target is not found", func(p policy) bool {
		status, reason, _ := p.condition("AbleToScale")
		return status == "False" && reason == "TargetNotFound"
	})
	s.deploy()
	s.serves(2)
	if status, _, message := s.sees("it can be scaled", func(p policy) bool { return p.current() == 45 }).condition("AbleToScale"); status != "True" {
		t.Errorf("AbleToScale is %s: %s", status, message)
	}
	s.went(1, 2, 1, 2)
}
