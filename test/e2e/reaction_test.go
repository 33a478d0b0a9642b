//go:build e2e && bench

package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	appsv1 "k8s.io/api/apps/v1"
)

var (
	steps      = flag.Int("steps", 20, "steps of load that the policy in auto is given")
	rivalSteps = flag.Int("rival-steps", 8, "steps of load that Prometheus, its adapter and the HorizontalPodAutoscaler are given")
)

// learning is how long a policy knows the noise of its load from before the newest reports count: aggregator/controller, surge.go.
const learning = 4 * time.Minute

// TestReaction measures from a step of GPU load, 10 to 80 % of one GPU at a target of 20 %, to spec.replicas of the Deployment being
// what that load needs: of a policy in auto, and, beside it on the same cluster and with the same steps, of the pipeline people use
// today. It asserts only that each step is followed; the figures are BENCH lines.
func TestReaction(t *testing.T) {
	ours, theirs := newLever(), newLever()
	for _, name := range []string{"steps", "rival"} {
		apply(t, deployment(name))
		kubectl(t, "rollout", "status", "deployment/"+name, "--timeout=120s")
	}
	t.Cleanup(func() { kubectl(t, "delete", "deployment/steps", "deployment/rival", "--ignore-not-found", "--wait") })
	apply(t, ahpa("steps", "steps", "auto", 0, 60))
	t.Cleanup(func() { kubectl(t, "delete", "ahpa/steps", "--ignore-not-found", "--wait") })
	began := time.Now()
	driveIn(t, "default", "steps", ours.offered)
	driveIn(t, "default", "rival", theirs.offered)
	startPipeline(t, "rival")

	var both sync.WaitGroup
	both.Go(func() {
		time.Sleep(time.Until(began.Add(learning + time.Minute)))
		figures("reaction", follow(t, "steps", ours, *steps))
	})
	both.Go(func() {
		figures("reaction_prometheus_hpa", follow(t, "rival", theirs, *rivalSteps))
	})
	both.Wait()
}

// phase is how long a load stays high, and low, after the replicas are what it needs: longer than the average takes to come to it, for what
// does not stay is noise, and long enough for a step to come at a load that was steady in the pods there are. Up to a second is added, so
// that no step comes at a moment of its own.
const phase = 15 * time.Second

// follow gives a Deployment steps of load and says, in seconds, how long each took to be patched. It leaves the load low: the replicas of
// one that is done must not take the GPUs of the other.
func follow(t *testing.T, name string, l *lever, times int) (took []float64) {
	defer l.pull(0.1)
	replicas := watchReplicas(t, name)
	for range times {
		l.pull(0.1)
		if _, ok := replicas.become(1, 3*time.Minute); !ok {
			t.Errorf("%s: not one replica at 10 %% within three minutes", name)
			return took
		}
		time.Sleep(phase + time.Duration(rand.Float64()*float64(time.Second)))
		l.pull(0.8)
		patched, ok := replicas.become(4, 3*time.Minute)
		if !ok {
			t.Errorf("%s: not four replicas at 80 %% within three minutes", name)
			return took
		}
		took = append(took, patched.Sub(l.pulled()).Seconds())
		say(t, "%s: four replicas after %.2f s", name, took[len(took)-1])
		time.Sleep(phase)
	}
	return took
}

// figures says what was measured.
func figures(name string, took []float64) {
	if len(took) == 0 {
		return
	}
	fmt.Printf("%s, seconds from the step to spec.replicas: %.2f\n", name, took)
	slices.Sort(took)
	quantile := func(percent int) float64 { return took[(len(took)*percent+99)/100-1] }
	fmt.Printf("BENCH %s_p50 %.2f s\nBENCH %s_p95 %.2f s\nBENCH %s_max %.2f s\n", name, quantile(50), name, quantile(95), name, took[len(took)-1])
}

// lever is a load that is changed by hand, and knows when it really was.
type lever struct {
	mu      sync.Mutex
	gpus    float64
	waiting bool
	at      time.Time
}

func newLever() *lever { return &lever{gpus: 0.1} }

func (l *lever) pull(gpus float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gpus, l.waiting = gpus, true
}

// offered is what the driver asks at each tick, right before it sets the devices.
func (l *lever) offered(time.Time) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting {
		l.at, l.waiting = time.Now(), false
	}
	return l.gpus
}

// pulled is when the devices were set to the newest load.
func (l *lever) pulled() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

// replicaWatch is a Deployment's spec.replicas as a watch tells it.
type replicaWatch struct {
	mu       sync.Mutex
	replicas int32
	since    time.Time
}

func watchReplicas(t *testing.T, name string) *replicaWatch {
	w := &replicaWatch{}
	client := api().AppsV1().Deployments("default")
	ctx, stop := context.WithCancel(background)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			changes, err := client.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name, ResourceVersion: "0"})
			if err != nil {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			for change := range changes.ResultChan() {
				if d, ok := change.Object.(*appsv1.Deployment); ok && change.Type != apiwatch.Deleted {
					w.saw(*d.Spec.Replicas, time.Now())
				}
			}
		}
	}()
	t.Cleanup(func() { stop(); <-done })
	return w
}

func (w *replicaWatch) saw(replicas int32, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if replicas != w.replicas {
		w.replicas, w.since = replicas, now
	}
}

// become waits for a number of replicas and says since when they are asked for.
func (w *replicaWatch) become(replicas int32, within time.Duration) (since time.Time, ok bool) {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		w.mu.Lock()
		since, ok = w.since, w.replicas == replicas
		w.mu.Unlock()
		if ok {
			return since, true
		}
	}
	return time.Time{}, false
}
