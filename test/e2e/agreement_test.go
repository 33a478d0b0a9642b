//go:build e2e && bench

package e2e

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/foretide/foretide/aggregator/app"
	"github.com/foretide/foretide/aggregator/simulate"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
	"github.com/foretide/foretide/test/replay"
)

// TestTheSimulatorAgreesWithTheCluster plays a recorded day, an hour every fifteen seconds, against a policy in auto on the cluster, and
// the load that was offered there against the same policy in the simulator, whose pods take as long to start as those did. At 95 % of the
// seconds at least the replicas must be the same within one.
func TestTheSimulatorAgreesWithTheCluster(t *testing.T) {
	const name = "flight"
	apply(t, deployment(name))
	kubectl(t, "rollout", "status", "deployment/"+name, "--timeout=120s")
	t.Cleanup(func() { kubectl(t, "delete", "deployment/"+name, "--ignore-not-found", "--wait") })
	player := play(t, name)
	player.Play(quiet, quiet, 1, time.Now())
	manifest := ahpa(name, name, "auto", 20, 60)
	apply(t, manifest)
	t.Cleanup(func() { kubectl(t, "delete", "ahpa/"+name, "--ignore-not-found", "--wait") })
	seen(t, name, "quiet load seen", 60*time.Second, func(p policy) bool { return p.current() > 5 && p.Status.DesiredReplicas == 1 })

	flown := flyOnCluster(t, name, player)
	policy := &v1alpha1.AdvancedHorizontalPodAutoscaler{}
	if err := yaml.UnmarshalStrict([]byte(manifest), policy); err != nil {
		t.Fatal(err)
	}
	policy.Spec.Default()
	world := simulate.World{Step: time.Second, Sync: 2 * time.Second, Lag: time.Second, GPUsPerPod: 1, Startup: simulate.Measured(flown.startups),
		Drain: time.Second, Replicas: flown.replicas[0], Seed: 1}
	var simulated []int32
	if _, err := app.Fly(world, simulate.Trace{Start: flown.start, Offered: flown.offered}, policy, nil, func(v simulate.View) {
		simulated = append(simulated, v.Replicas)
	}); err != nil {
		t.Fatal(err)
	}
	agreed, changes := 0, 0
	for i, real := range flown.replicas {
		if simulated[i] >= real-1 && simulated[i] <= real+1 {
			agreed++
		}
		if i > 0 && real != flown.replicas[i-1] {
			changes++
			say(t, "second %d: %d replicas on the cluster, %d in the simulator", i, real, simulated[i])
		}
	}
	percent := 100 * float64(agreed) / float64(len(flown.replicas))
	fmt.Printf("BENCH judge_cluster_agreement %.1f %%\n", percent)
	if percent < 95 || changes < 6 {
		t.Errorf("they agree at %.1f %% of %d seconds, want 95; replicas changed %d times", percent, len(flown.replicas), changes)
	}
}

// flight is what happened on the cluster, each second.
type flight struct {
	start    time.Time
	offered  []float64 // busy GPUs
	replicas []int32
	startups []time.Duration // from created to ready, of each pod that was made meanwhile
}

func flyOnCluster(t *testing.T, name string, player *replay.Player) flight {
	t.Helper()
	const speed = 240
	replicas := watchReplicas(t, name)
	replicas.become(1, time.Minute)
	out := flight{start: time.Now().Truncate(time.Second)}
	player.Play(quiet, quiet.Add(24*time.Hour), speed, out.start)
	ready := map[types.UID]time.Duration{}
	seconds := time.NewTicker(time.Second)
	defer seconds.Stop()
	for now := range seconds.C {
		if now.Sub(out.start) > 24*time.Hour/speed {
			break
		}
		out.offered, out.replicas = append(out.offered, player.Offered(now)), append(out.replicas, replicas.now())
		pods, err := api().CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
		if err != nil {
			t.Fatal(err)
		}
		for _, pod := range pods.Items {
			for _, c := range pod.Status.Conditions {
				if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && pod.CreationTimestamp.After(out.start) {
					ready[pod.UID] = c.LastTransitionTime.Sub(pod.CreationTimestamp.Time)
				}
			}
		}
	}
	for _, took := range ready {
		out.startups = append(out.startups, took)
	}
	if len(out.startups) == 0 {
		t.Fatal("no pod was made")
	}
	return out
}

// now is what is asked for now.
func (w *replicaWatch) now() int32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.replicas
}
