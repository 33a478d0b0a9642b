//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
)

// The recording's evening comes: what is forecast of it, in the hour ahead, asks for three pods at this target; the load here asks for one.
const (
	eveningTarget = 35
	anHourAhead   = "prediction: {scaleUpForward: 3600}"
)

func TestObserverShowsAndScalesNothing(t *testing.T) {
	t.Parallel()
	s := stage(t, "observer", target(eveningTarget))
	s.busy(0.2)
	s.policy("observer", anHourAhead)
	s.sees("more pods are wanted for the evening", func(p policy) bool {
		_, reason, _ := p.condition("AbleToScale")
		return p.proactive() >= 2 && p.Status.DesiredReplicas == p.proactive() && reason == "ObserverStrategy"
	})
	s.busy(0.9)
	s.sees("more pods are wanted for the load", func(p policy) bool {
		return p.current() == 90 && p.reactive() == 3 && p.Status.DesiredReplicas >= 3
	})
	s.went(1)
}

func TestAutoFollowsTheLargerOfForecastAndLoad(t *testing.T) {
	t.Parallel()
	s := stage(t, "auto", target(eveningTarget))
	s.busy(0.2)
	s.policy("auto", anHourAhead)
	onForecast := func(p policy) bool {
		return p.proactive() > p.reactive() && p.Status.CurrentReplicas == p.proactive() && p.current() < eveningTarget
	}
	ahead := s.sees("pods are there for the evening, ahead of the load", onForecast).Status.CurrentReplicas
	s.busy(2.1)
	s.sees("the load is more than was forecast", func(p policy) bool {
		return p.Status.CurrentReplicas == 6 && p.Status.DesiredReplicas == 6 && p.proactive() < 6
	})
	s.busy(0.2)
	s.sees("the load is gone, and the pods for the evening stay", onForecast)
	if least := slices.MinFunc(s.history()[1:], func(a, b change) int { return a.replicas - b.replicas }); least.replicas < int(ahead) {
		t.Errorf("%d replicas after %d for the evening", least.replicas, ahead)
	}
}

func TestScalingUpOnlyNeverRemovesAPod(t *testing.T) {
	t.Parallel()
	s := stage(t, "up-only")
	s.busy(0.9)
	s.policy("scalingUpOnly")
	s.serves(2)
	s.busy(0.2)
	s.sees("one pod would do, and none is removed", func(p policy) bool {
		status, reason, _ := p.condition("ScalingLimited")
		return p.reactive() == 1 && p.Status.DesiredReplicas == 2 && status == "True" && reason == "ScaleDownLimit"
	})
	s.went(1, 2)
}

func TestReactiveFollowsTheLoadAlone(t *testing.T) {
	t.Parallel()
	s := stage(t, "reactive", target(eveningTarget))
	s.busy(0.2)
	s.policy("reactive", anHourAhead)
	s.sees("the forecast is shown and not acted on", func(p policy) bool {
		return p.proactive() >= 2 && p.reactive() == 1 && p.Status.DesiredReplicas == 1 && strings.Contains(p.Status.Decision.Message, "(not acted on)")
	})
	s.busy(0.6)
	s.serves(2)
	s.busy(0.2)
	s.serves(1)
	s.went(1, 2, 1)
}

func TestProactiveFollowsTheForecastAlone(t *testing.T) {
	t.Parallel()
	s := stage(t, "proactive", target(eveningTarget))
	s.busy(0.2)
	s.policy("proactive", anHourAhead)
	s.sees("pods are there for the evening", func(p policy) bool { return p.proactive() >= 2 && p.Status.CurrentReplicas == p.proactive() })
	s.busy(2.9)
	s.sees("the load is shown and not acted on", func(p policy) bool {
		return p.reactive() > p.proactive() && p.Status.DesiredReplicas == p.proactive() && strings.Contains(p.Status.Decision.Message, "(not acted on)")
	})
}

func TestProactiveWithoutAForecastHolds(t *testing.T) {
	t.Parallel()
	s := stage(t, "no-forecast")
	s.busy(0.9)
	s.policy("proactive")
	s.sees("the load asks for two pods, and there is no forecast", func(p policy) bool {
		ready, _, _ := p.condition("ForecastReady")
		return p.reactive() == 2 && p.proactive() == -1 && p.Status.DesiredReplicas == 1 && ready == "False"
	})
	s.went(1)
}

func TestPausedShowsAndScalesNothingUntilItIsNot(t *testing.T) {
	t.Parallel()
	s := stage(t, "paused")
	s.busy(0.9)
	s.policy("auto", "paused: true")
	s.sees("two pods are wanted", func(p policy) bool {
		_, reason, _ := p.condition("AbleToScale")
		return p.Status.DesiredReplicas == 2 && reason == "Paused"
	})
	s.went(1)
	s.policy("auto", "paused: false")
	s.serves(2)
	s.went(1, 2)
}
