//go:build e2e

package e2e

import (
	"testing"
)

// TestAnAggregatorKilledWhileItScalesIsFollowedByOneThatGoesOn kills it as soon as the first of two steps up is made, where a
// recommendation of less would be followed at once.
func TestAnAggregatorKilledWhileItScalesIsFollowedByOneThatGoesOn(t *testing.T) {
	s := stage(t, "killed", target(15))
	s.loaded(0.85, 85)
	s.policy("auto")
	eventually(t, "it scales", patience, func() (bool, string) { return len(s.history()) > 1, "not yet" })
	kill9(t)
	s.went(1, 5)
	s.serves(6)
	s.went(1, 5, 6)
}

// TestReplicasAreHeldWhileNoAgentTells takes the agents away, and the load with nobody to see it.
func TestReplicasAreHeldWhileNoAgentTells(t *testing.T) {
	s := stage(t, "blind", pods(3))
	s.loaded(1.35, 45)
	s.policy("auto")
	agents := func(selector string) {
		t.Helper()
		kubectl(t, "-n", "foretide-system", "patch", "daemonset/foretide-agent", "--type=merge", "-p",
			`{"spec":{"template":{"spec":{"nodeSelector":{"foretide.dev/none":`+selector+`}}}}}`)
		kubectl(t, "-n", "foretide-system", "rollout", "status", "daemonset/foretide-agent", "--timeout=180s")
	}
	t.Cleanup(func() { agents("null") })
	agents(`"none"`)
	s.busy(0.2)
	s.sees("nothing is known, and three are held", func(p policy) bool {
		status, reason, _ := p.condition("DataFresh")
		return status == "False" && reason == "MissingTelemetry" && p.Status.Decision.Reason == "NoTelemetry" && p.Status.DesiredReplicas == 3
	})
	s.went(3)
	agents("null")
	s.serves(1)
	if status, _, message := s.sees("all is known", func(p policy) bool { return p.current() == 20 }).condition("DataFresh"); status != "True" {
		t.Errorf("DataFresh is %s: %s", status, message)
	}
}
