package stream

import (
	"fmt"
	"math"
	"testing"
)

func named(names ...string) []replica {
	var out []replica
	for _, n := range names {
		out = append(out, replica{address: n, identity: n})
	}
	return out
}

func numbered(n int) []replica {
	var out []replica
	for i := range n {
		out = append(out, named(fmt.Sprintf("10.0.0.%d:9443", i))...)
	}
	return out
}

const nodes = 20_000

func node(i int) string { return fmt.Sprintf("gpu-node-%05d", i) }

func TestNodesSpreadEvenlyOverReplicas(t *testing.T) {
	for _, n := range []int{2, 3, 8} {
		for _, copies := range []int{1, 2} {
			share := map[string]int{}
			for i := range nodes {
				for _, r := range choose(node(i), numbered(n), copies) {
					share[r.identity]++
				}
			}
			want := float64(nodes) * float64(copies) / float64(n)
			for r, got := range share {
				if math.Abs(float64(got)-want)/want > 0.05 {
					t.Errorf("of %d replicas, %d copies: %s has %d nodes; want about %.0f", n, copies, r, got, want)
				}
			}
		}
	}
}

func TestOnlyNodesThatGainOrLoseAReplicaChange(t *testing.T) {
	moved := 0
	for i := range nodes {
		before, after := choose(node(i), numbered(4), 1)[0], choose(node(i), numbered(5), 1)[0]
		if before != after {
			moved++
			if after.identity != "10.0.0.4:9443" {
				t.Fatalf("%s moved from %s to %s, which is not the new one", node(i), before.identity, after.identity)
			}
		}
	}
	if want := nodes / 5; math.Abs(float64(moved-want)) > 0.05*float64(want) {
		t.Errorf("%d nodes moved; want about %d", moved, want)
	}
}

func TestChoiceDoesNotDependOnTheOrderAndNeverChanges(t *testing.T) {
	forward, backward := named("a:1", "b:1", "c:1"), named("c:1", "b:1", "a:1")
	for i := range 100 {
		if a, b := choose(node(i), forward, 2), choose(node(i), backward, 2); a[0] != b[0] || a[1] != b[1] {
			t.Errorf("%s: %v and %v", node(i), a, b)
		}
	}
	// Agents of different versions must agree.
	if got := rank("gpu-node-1", "aggregator-0:9443"); got != 0x985d78cefee18325 {
		t.Errorf("rank = %#x", got)
	}
}

func TestNoneOrTooManyCopiesAreAllReplicas(t *testing.T) {
	for _, copies := range []int{0, 3, 7} {
		if got := choose("n", numbered(3), copies); len(got) != 3 {
			t.Errorf("%d copies: %v", copies, got)
		}
	}
}
