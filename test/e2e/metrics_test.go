//go:build e2e

package e2e

import (
	"fmt"
	"testing"
)

// perReplica is a metric of the whole: a number that PromQL tells, at a target of 1 by replica.
func perReplica(query string) string {
	return fmt.Sprintf("{type: External, external: {query: %q, target: {type: AverageValue, averageValue: '1'}}}", query)
}

func TestTheMetricThatAsksForMostDecidesAndOneThatIsUnknownLowersNothing(t *testing.T) {
	t.Parallel()
	const memory = "{type: Resource, resource: {name: gpu-memory, target: {type: Utilization, averageUtilization: 100}}}"
	s := stage(t, "metrics")
	s.loaded(0.2, 20)
	// What the agents read is asked for by PromQL: three for each GPU of the pods.
	s.also = []string{memory, perReplica(fmt.Sprintf("3 * min(count by (pod) (foretide_pod_memory_used_bytes{namespace=%q}))", s.namespace))}
	s.policy("auto")
	s.serves(3)
	s.also = []string{memory, perReplica("no_such_series")}
	s.policy("auto")
	s.sees("one pod would do for what is known, and none is removed", func(p policy) bool {
		return p.reactive() == 1 && p.Status.DesiredReplicas == 3 && p.Status.Decision.Reason == "PartialTelemetry"
	})
	s.also = []string{memory}
	s.policy("auto")
	s.serves(1)
	s.went(1, 3, 1)
}
