package scaling

import (
	"math/rand/v2"
	"testing"
)

// serving is so many ready pods that share so many busy GPUs.
func serving(pods int32, gpus float64) (out []Pod) {
	for range pods {
		out = append(out, Pod{State: Ready, Holds: 1, Uses: gpus / float64(pods), Known: true})
	}
	return out
}

// TestARolloutNeitherRaisesNorLowersASteadyWorkload tries what a Deployment's maxSurge and maxUnavailable, a StatefulSet's rolling
// update and a LeaderWorkerSet's do to the pods of replicas that are right: some more or fewer are ready, some start, some end.
func TestARolloutNeitherRaisesNorLowersASteadyWorkload(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	steady := 0
	for steady < 20_000 {
		p := gpuPolicy{Policy{MinReplicas: 1, MaxReplicas: 1000, Up: Rules{Tolerance: 0.1}, Down: Rules{Tolerance: 0.1}}, 10 + r.Int32N(80)}
		current := 1 + r.Int32N(40)
		gpus := float64(current) * float64(p.TargetPercent) / 100 * (0.85 + 0.3*r.Float64())
		if before := decide(p, gpu{Current: current, Pods: serving(current, gpus), GPUsPerPod: 1}, &Window{}, start); before.Replicas != current || before.Saturated {
			continue
		}
		steady++
		surge, down := r.Int32N(current/4+2), min(r.Int32N(current/4+2), current-1)
		ready := current - down + r.Int32N(surge+down+1)
		pods := serving(ready, gpus)
		pods = append(pods, many(Unready, int(r.Int32N(current+surge-ready+1)))...)
		pods = append(pods, many(Gone, r.IntN(4))...)
		d := decide(p, gpu{Current: current, Pods: pods, GPUsPerPod: 1}, &Window{}, start)
		if d.Replicas != current && !d.Saturated { // pods that are busy all the time hide demand, in a rollout too
			t.Fatalf("target %d%%: %d replicas of %g busy GPUs become %d when %d are ready of %d pods: %s",
				p.TargetPercent, current, gpus, d.Replicas, ready, len(pods), d.Message)
		}
	}
}

func TestARolloutDoesNotHideADemandThatFell(t *testing.T) {
	d := decide(policy(50), gpu{Current: 8, Pods: serving(10, 2), GPUsPerPod: 1}, &Window{}, start)
	if value(d.Reactive) != 4 {
		t.Errorf("reactive %d, want 4: 2 GPUs at 50%% (%s)", value(d.Reactive), d.Message)
	}
}
