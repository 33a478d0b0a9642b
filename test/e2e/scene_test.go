//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// sceneLabel is on the namespaces of scenes.
	sceneLabel = "foretide.dev/scene"
	// warm is the condition without which pods of a scene with cold pods are not ready.
	warm = "foretide.dev/warm"
	// patience is how long a scene waits for what is to come; it is long, for many share two cores.
	patience = 3 * time.Minute
)

// scene is a Deployment "model" in a namespace of its own, whose pods hold one GPU each, with the load that users offer to them and a
// policy "model". Scenes run beside each other.
type scene struct {
	*testing.T
	namespace string
	offered   atomic.Uint64 // GPUs, the bits of a float64
	pods      int           // at the beginning
	target    int           // percent
	most      int           // maxReplicas
	cold      bool          // pods do not become ready by themselves
	also      []string      // the policy's metrics besides gpu, each a line of YAML

	mu      sync.Mutex
	changes []change
}

// change is a number of replicas that the Deployment was set to, by whomever.
type change struct {
	at       time.Time
	replicas int
}

// stage makes a scene of one pod and a policy's target of 50 %, or what with says, and waits until its pods serve.
func stage(t *testing.T, name string, with ...func(*scene)) *scene {
	t.Helper()
	s := &scene{T: t, namespace: "e2e-" + name, pods: 1, target: 50, most: 6}
	for _, change := range with {
		change(s)
	}
	if err := roomForScenes(); err != nil {
		t.Fatal(err)
	}
	apply(t, fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s, labels: {%s: ''}}\n", s.namespace, sceneLabel))
	t.Cleanup(func() { kubectl(t, "delete", "namespace", s.namespace, "--wait=false") })
	s.watch()
	driveIn(t, s.namespace, "model", func(time.Time) float64 { return math.Float64frombits(s.offered.Load()) })
	s.deploy()
	return s
}

// loaded has users keep so many GPUs busy, and waits until it is seen that they keep the pods so busy.
func (s *scene) loaded(gpus float64, percent int32) {
	s.Helper()
	s.busy(gpus)
	s.policy("observer")
	s.sees(fmt.Sprintf("%d pods are %d %% busy", s.pods, percent), func(p policy) bool { return p.current() == percent })
}

func pods(n int) func(*scene)         { return func(s *scene) { s.pods = n } }
func target(percent int) func(*scene) { return func(s *scene) { s.target = percent } }
func atMost(n int) func(*scene)       { return func(s *scene) { s.most = n } }
func coldPods(s *scene)               { s.cold = true }

// deploy makes the Deployment and waits until its pods serve.
func (s *scene) deploy() {
	s.Helper()
	gates := ""
	if s.cold {
		gates = "readinessGates: [{conditionType: " + warm + "}]"
	}
	apply(s.T, fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: model, namespace: %s}
spec:
  replicas: %d
  strategy: {rollingUpdate: {maxSurge: 100%%, maxUnavailable: 0}}
  selector: {matchLabels: {app: model}}
  template:
    metadata: {labels: {app: model}}
    spec:
      terminationGracePeriodSeconds: 1
      %s
      containers:
        - name: model
          image: localhost/foretide/idle:1
          imagePullPolicy: Never
          resources: {limits: {nvidia.com/gpu: 1}}
`, s.namespace, s.pods, gates))
	if s.cold {
		s.warm(s.pods)
	}
	s.kubectl("rollout", "status", "deployment/model", "--timeout=180s")
}

func (s *scene) kubectl(args ...string) string {
	s.Helper()
	return kubectl(s.T, append([]string{"-n", s.namespace}, args...)...)
}

// busy has users keep so many GPUs busy, spread evenly over the pods that serve, as far as those can.
func (s *scene) busy(gpus float64) { s.offered.Store(math.Float64bits(gpus)) }

// policy applies the policy with a strategy and further lines of its spec. It lowers replicas at once where they do not say otherwise.
func (s *scene) policy(strategy string, spec ...string) {
	s.Helper()
	var more strings.Builder
	for _, metric := range s.also {
		fmt.Fprintf(&more, "  - %s\n", metric)
	}
	apply(s.T, fmt.Sprintf(`
apiVersion: autoscaling.foretide.dev/v1alpha1
kind: AdvancedHorizontalPodAutoscaler
metadata: {name: model, namespace: %s}
spec:
  scaleStrategy: %s
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: model}
  metrics:
  - type: Resource
    resource: {name: gpu, target: {type: Utilization, averageUtilization: %d}}
%s  maxReplicas: %d
  stabilizationWindowSeconds: 0
  %s
`, s.namespace, strategy, s.target, more.String(), s.most, strings.Join(spec, "\n  ")))
}

// sees waits for a state of the policy.
func (s *scene) sees(what string, ok func(policy) bool) policy {
	s.Helper()
	p, took := seenIn(s.T, s.namespace, "model", what, patience, ok)
	say(s.T, "%s: %s after %.0f s. %s", s.namespace, what, took.Seconds(), p.Status.Decision.Message)
	return p
}

// serves waits until so many replicas are set and the policy asks for no others.
func (s *scene) serves(replicas int32) {
	s.Helper()
	s.sees(fmt.Sprintf("%d replicas serve the load", replicas), func(p policy) bool {
		return p.Status.CurrentReplicas == replicas && p.Status.DesiredReplicas == replicas
	})
}

// went says that the Deployment was set to these replicas, one after the other, and to no others until now.
func (s *scene) went(want ...int) []change {
	s.Helper()
	var got []int
	eventually(s.T, fmt.Sprintf("replicas went %v", want), 10*time.Second, func() (bool, string) { // the watch may be a moment behind
		got = got[:0]
		for _, c := range s.history() {
			got = append(got, c.replicas)
		}
		return len(got) >= len(want), fmt.Sprint(got)
	})
	if !slices.Equal(got, want) {
		s.Fatalf("replicas of %s went %v, want %v", s.namespace, got, want)
	}
	return s.history()
}

// history is the changes until now.
func (s *scene) history() []change {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.changes)
}

// watch takes note of each change of the Deployment's replicas until the test ends.
func (s *scene) watch() {
	ctx, stop := context.WithCancel(background)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil { // a watch may end at any time
			events, err := api().AppsV1().Deployments(s.namespace).Watch(ctx, metav1.ListOptions{})
			if err != nil {
				continue
			}
			for event := range events.ResultChan() {
				if d, ok := event.Object.(*appsv1.Deployment); ok {
					s.note(int(*d.Spec.Replicas))
				}
			}
		}
	}()
	s.Cleanup(func() {
		stop()
		<-done
	})
}

func (s *scene) note(replicas int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.changes); n == 0 || s.changes[n-1].replicas != replicas {
		s.changes = append(s.changes, change{time.Now(), replicas})
	}
}

// warm lets so many pods become ready: all there are, as soon as there are so many.
func (s *scene) warm(n int) {
	s.Helper()
	patch := fmt.Appendf(nil, `{"status":{"conditions":[{"type":%q,"status":"True"}]}}`, warm)
	eventually(s.T, fmt.Sprintf("%d pods are there to become ready", n), patience, func() (bool, string) {
		pods, err := api().CoreV1().Pods(s.namespace).List(background, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		for _, p := range pods.Items {
			if _, err := api().CoreV1().Pods(s.namespace).Patch(background, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
				return false, err.Error()
			}
		}
		return len(pods.Items) == n, fmt.Sprint(len(pods.Items))
	})
}
