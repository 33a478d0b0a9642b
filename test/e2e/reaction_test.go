//go:build e2e && bench

package e2e

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// TestReaction measures from a step of GPU load to the changed DESIREDPODS, in observer, on the real cluster. It asserts only
// that each step is followed; the figure is a BENCH line.
func TestReaction(t *testing.T) {
	apply(t, deployment("steps"))
	kubectl(t, "rollout", "status", "deployment/steps", "--timeout=120s")
	var tenths atomic.Int64
	tenths.Store(1)
	drive(t, "steps", func(time.Time) float64 { return float64(tenths.Load()) / 10 })
	apply(t, ahpa("steps", "steps", "observer", 0, 60))
	t.Cleanup(func() { kubectl(t, "delete", "ahpa/steps", "deployment/steps", "--ignore-not-found", "--wait") })

	var took []float64
	for range 10 {
		tenths.Store(1)
		seen(t, "steps", "quiet", 60*time.Second, func(p policy) bool { return p.Status.DesiredReplicas == 1 && p.current() == 10 })
		begin := time.Now()
		tenths.Store(8)
		seen(t, "steps", "the step is followed", 60*time.Second, func(p policy) bool { return p.Status.DesiredReplicas == 4 })
		took = append(took, time.Since(begin).Seconds())
	}
	slices.Sort(took)
	say(t, "load step to DESIREDPODS, seconds: %.1f", took)
	fmt.Printf("BENCH walkthrough_step_to_desired_p95 %.1f s\n", took[(len(took)*95+99)/100-1])
}
