//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestAGPUThatIsFreedTakesTheReplicaThatWaited has a policy want more pods than the node's eight GPUs have room for.
func TestAGPUThatIsFreedTakesTheReplicaThatWaited(t *testing.T) {
	apply(t, strings.Replace(deployment("hog"), "replicas: 1", "replicas: 7", 1))
	apply(t, deployment("crowd"))
	t.Cleanup(func() {
		kubectl(t, "delete", "ahpa/crowd", "deployment/crowd", "deployment/hog", "--ignore-not-found", "--wait")
	})
	for _, name := range []string{"hog", "crowd"} {
		kubectl(t, "rollout", "status", "deployment/"+name, "--timeout=120s")
	}
	drive(t, "crowd", func(time.Time) float64 { return 0.58 }) // three pods at 20 %
	apply(t, ahpa("crowd", "crowd", "auto", 15, 60))
	p, took := seen(t, "crowd", "ScalingLimited says NoFreeGPUs", 90*time.Second, func(p policy) bool {
		_, reason, message := p.condition("ScalingLimited")
		return reason == "NoFreeGPUs" && strings.Contains(message, "wait for a GPU") && p.Status.CurrentReplicas >= 3
	})
	_, _, message := p.condition("ScalingLimited")
	say(t, "No GPU is free (%.0f s): %s", took.Seconds(), message)
	if out := kubectl(t, "get", "events", "--field-selector=involvedObject.name=crowd"); !strings.Contains(out, "NoFreeGPUs") {
		t.Errorf("no event says so:\n%s", out)
	}
	if want := "nvidia.com/gpu"; !strings.Contains(message, want) {
		t.Errorf("the type is not %q in %q", want, message)
	}

	// With no more than may wait, nothing more is asked for.
	kubectl(t, "patch", "ahpa", "crowd", "--type=merge", "-p", `{"spec":{"maxPendingReplicas":0}}`)
	before := replicas("crowd")
	always(t, "no more replicas are asked for", 10*time.Second, func() (bool, string) {
		n := replicas("crowd")
		return n == before, fmt.Sprint(n)
	})

	kubectl(t, "scale", "deployment/hog", "--replicas=2")
	_, took = seen(t, "crowd", "the pods that waited run", 90*time.Second, func(p policy) bool {
		status, _, _ := p.condition("ScalingLimited")
		return status == "False" && p.Status.CurrentReplicas >= 3 && p.current() > 0 && p.current() < 25
	})
	say(t, "GPUs were freed, and the pods that waited run after %.0f s.", took.Seconds())
}
