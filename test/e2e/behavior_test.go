//go:build e2e

package e2e

import (
	"testing"
	"time"
)

func TestReplicasRiseNoFasterThanTheLimit(t *testing.T) {
	t.Parallel()
	s := stage(t, "limit", target(30))
	s.busy(0.85)
	s.policy("auto", "behavior: {scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 20}]}}")
	s.sees("more are wanted than may be added by now", func(p policy) bool {
		status, reason, _ := p.condition("ScalingLimited")
		return p.reactive() == 3 && p.Status.CurrentReplicas == 2 && status == "True" && reason == "ScaleUpLimit"
	})
	s.serves(3)
	if went := s.went(1, 2, 3); went[2].at.Sub(went[1].at) < 20*time.Second {
		t.Errorf("one pod came %v after the other, want 20 s at least", went[2].at.Sub(went[1].at))
	}
}

func TestNothingIsRemovedWhileScaleDownIsDisabled(t *testing.T) {
	t.Parallel()
	s := stage(t, "disabled", pods(2))
	s.busy(0.2)
	s.policy("auto", "behavior: {scaleDown: {selectPolicy: Disabled}}")
	s.sees("one pod would do, and none is removed", func(p policy) bool {
		status, reason, _ := p.condition("ScalingLimited")
		return p.reactive() == 1 && p.Status.DesiredReplicas == 2 && status == "True" && reason == "ScaleDownLimit"
	})
	s.went(2)
	s.policy("auto", "behavior: {scaleDown: {selectPolicy: Max}}")
	s.serves(1)
	s.went(2, 1)
}

func TestReplicasMoveOnlyToWhatTheWholeStabilizationWindowAsksFor(t *testing.T) {
	t.Parallel()
	const window = 25 * time.Second
	s := stage(t, "window")
	s.loaded(0.2, 20)
	s.policy("auto", "behavior: {scaleUp: {stabilizationWindowSeconds: 25}, scaleDown: {stabilizationWindowSeconds: 25}}")

	rose := time.Now()
	s.busy(0.9)
	s.sees("a second pod is wanted, and waited for", func(p policy) bool {
		return p.reactive() == 2 && p.Status.DesiredReplicas == 1 && p.Status.Decision.Reason == "ScaleUpStabilized"
	})
	s.serves(2)
	fell := time.Now()
	s.busy(0.2)
	s.sees("one pod would do, and the second stays for a while", func(p policy) bool {
		return p.reactive() == 1 && p.Status.DesiredReplicas == 2 && p.Status.Decision.Reason == "ScaleDownStabilized"
	})
	s.serves(1)

	went := s.went(1, 2, 1)
	const settling = 10 * time.Second // at most, while the load of the new pod settles, nothing is recommended that the window could count from
	if up, down := went[1].at.Sub(rose), went[2].at.Sub(fell); up < window || down < window-settling {
		t.Errorf("from the change of the load to that of the replicas it took %v up and %v down, want %v and %v at least", up, down, window, window-settling)
	}
}

func TestEachDirectionHasItsTolerance(t *testing.T) {
	t.Parallel()
	s := stage(t, "tolerance", pods(2))
	s.loaded(1.3, 65)
	s.policy("auto", "behavior: {scaleUp: {tolerance: 500m}, scaleDown: {tolerance: 100m}}")
	s.sees("30 % above the target is within what is tolerated upward", func(p policy) bool { return p.current() == 65 && p.Status.DesiredReplicas == 2 })
	s.policy("auto", "behavior: {scaleUp: {tolerance: 100m}, scaleDown: {tolerance: 500m}}")
	s.serves(3)
	s.busy(0.9)
	s.sees("40 % below the target is within what is tolerated downward", func(p policy) bool { return p.current() == 30 && p.Status.DesiredReplicas == 3 })
	s.went(2, 3)
	s.policy("auto", "behavior: {scaleUp: {tolerance: 100m}, scaleDown: {tolerance: 100m}}")
	s.serves(2)
	s.went(2, 3, 2)
}
