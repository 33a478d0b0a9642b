package app

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/live"
	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
	"github.com/foretide/foretide/pkg/telemetry"
)

var surgesLong = flag.Bool("surges.long", false, "play noise for longer, at more loads and targets")

// loop is one policy from telemetry to replicas and back: pods report each second, and the policy is looked at each two seconds and
// when a surge is told. The clock is the test's.
type loop struct {
	now       time.Time
	view      *live.View
	evaluator *controller.Evaluator
	policy    *v1alpha1.AdvancedHorizontalPodAutoscaler
	surged    bool
	framer    telemetry.Framer
	sequence  uint64
	made      int
	pods      []controller.Pod
	// podStart is how long a pod takes from made to ready.
	podStart time.Duration
	podSeconds,
	most int
}

// averageAlone are loads without what the newest reports say.
type averageAlone struct{ loads }

func (l averageAlone) Load(namespace, pod, node string, since, now time.Time) (controller.Load, bool) {
	load, ok := l.loads.Load(namespace, pod, node, since, now)
	load.HasRecent = false
	return load, ok
}

type noHistory struct{ controller.History }

func (noHistory) Demand(_ context.Context, _ controller.Workload, _ string, from, to time.Time, step time.Duration) ([]float64, error) {
	return unknown(from, to, step), nil
}

func (noHistory) Pods(_ context.Context, _ controller.Workload, from, to time.Time, step time.Duration) ([]float64, error) {
	return unknown(from, to, step), nil
}

func (noHistory) Filled() uint64 { return 0 }

func unknown(from, to time.Time, step time.Duration) []float64 {
	values := make([]float64, (to.Sub(from)+step-1)/step)
	for i := range values {
		values[i] = math.NaN()
	}
	return values
}

func newLoop(t *testing.T, percent int32, recent bool) *loop {
	l := &loop{podStart: 5 * time.Second, now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	var err error
	if l.view, err = live.New(live.Options{Surge: func(string, string) { l.surged = recent }}); err != nil {
		t.Fatal(err)
	}
	var seen controller.Loads = loads{l.view}
	if !recent {
		seen = averageAlone{loads{l.view}}
	}
	l.evaluator = controller.NewEvaluator(seen, nil, noHistory{}, nil)
	l.policy = &v1alpha1.AdvancedHorizontalPodAutoscaler{Spec: v1alpha1.AdvancedHorizontalPodAutoscalerSpec{
		ScaleStrategy:  v1alpha1.StrategyAuto,
		ScaleTargetRef: v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
		Metrics: []v1alpha1.MetricSpec{{Type: v1alpha1.MetricSourceResource, Resource: &v1alpha1.ResourceMetric{
			Name: v1alpha1.ResourceGPU, Target: v1alpha1.MetricTarget{Type: v1alpha1.UtilizationTarget, AverageUtilization: &percent},
		}}},
		MinReplicas: ptr.To(int32(1)), MaxReplicas: 100,
	}}
	l.policy.UID, l.policy.Generation, l.policy.Namespace, l.policy.Name = types.UID("1"), 1, "default", "web"
	l.policy.Spec.Default()
	l.scale(1)
	return l
}

// scale makes pods or takes the newest away.
func (l *loop) scale(replicas int) {
	for len(l.pods) < replicas {
		l.pods = append(l.pods, controller.Pod{
			Name: fmt.Sprintf("web-%d", l.made), Node: "a", State: scaling.Unready, GPUs: 1, Created: l.now,
		})
		l.made++
	}
	l.pods = l.pods[:replicas]
}

// second reports what each pod did in the second that ends now, and has the policy looked at.
func (l *loop) second(busy func(pod, pods int) float64) {
	l.now = l.now.Add(time.Second)
	l.sequence++
	b := telemetry.Batch{Node: "a", Session: "s", Sequence: l.sequence, Start: l.now.Add(-time.Second), End: l.now, OwnersKnown: true}
	ready := 0
	for i := range l.pods {
		if pod := &l.pods[i]; l.now.Sub(pod.Created) >= l.podStart || len(l.pods) == 1 {
			ready++
			if pod.State != scaling.Ready {
				pod.State, pod.ReadySince = scaling.Ready, l.now
			}
		}
	}
	for i, pod := range l.pods[:ready] {
		b.Usages = append(b.Usages, telemetry.Usage{
			Owner: telemetry.Owner{Namespace: "default", Pod: pod.Name, Container: "main"}, DeviceUUID: "GPU-" + pod.Name,
			Attribution: telemetry.AttributionExclusive, Values: telemetry.Values{telemetry.UtilizationMean: busy(i, ready)},
		})
	}
	l.surged = false
	l.view.Put(l.framer.Frame(b), l.now)
	if l.surged || l.sequence%2 == 0 {
		target := controller.Target{
			Workload: controller.Workload{Namespace: "default", Kind: "Deployment", Name: "web"}, Replicas: int32(len(l.pods)), Pods: l.pods,
		}
		l.scale(int(l.evaluator.Evaluate(context.Background(), l.policy, target, l.now).Decision.Replicas))
	}
	l.podSeconds += len(l.pods)
	l.most = max(l.most, len(l.pods))
}

// TestNoiseCostsHardlyMoreThanItDoesInTheAverage plays noise of a constant mean and compares with a policy that has the average alone,
// on the same noise.
func TestNoiseCostsHardlyMoreThanItDoesInTheAverage(t *testing.T) {
	hours, seeds, targets, demands := 1, uint64(1), []int32{60}, []float64{1}
	if *surgesLong {
		hours, seeds, targets, demands = 3, 4, []int32{20, 60}, []float64{0.05, 0.2, 1, 6}
	}
	for _, noise := range noises {
		for _, percent := range targets {
			for _, demand := range demands {
				var pods, most [2]float64
				for i, recent := range []bool{false, true} {
					for seed := range seeds {
						l := newLoop(t, percent, recent)
						busy := noise.of(rand.New(rand.NewPCG(seed, 1)), demand)
						for range hours * 3600 {
							l.second(busy)
						}
						pods[i] += float64(l.podSeconds) / float64(hours*3600) / float64(seeds)
						most[i] += float64(l.most) / float64(seeds)
					}
				}
				more := pods[1]/pods[0] - 1
				t.Logf("%-31s target %d %%, %.2f GPUs busy: %.2f pods with the average alone, %.2f (%+.1f %%) with surges; at most %.1f, %.1f",
					noise.name, percent, demand, pods[0], pods[1], 100*more, most[0], most[1])
				if more > noise.costs {
					t.Errorf("%s: %.1f %% more pods than with the average alone, want %.0f %% at most", noise.name, 100*more, 100*noise.costs)
				}
			}
		}
	}
}

// TestAStepOfLoadIsFollowedInThreeReports lets a step fall anywhere within a report, after a while of quiet or of noise.
func TestAStepOfLoadIsFollowedInThreeReports(t *testing.T) {
	for tremble, podStart := range map[float64]time.Duration{0: 5 * time.Second, 0.05: 5 * time.Second, 0.02: 0, 0.01: time.Minute} {
		var slowest, slowestAverage float64
		for part := range 10 {
			for _, recent := range []bool{false, true} {
				l := newLoop(t, 20, recent)
				l.podStart = podStart
				r := rand.New(rand.NewPCG(uint64(part), 2))
				level := func(demand float64) func(int, int) float64 {
					return func(_, pods int) float64 { return min(1, max(0, demand+tremble*(2*r.Float64()-1))/float64(pods)) }
				}
				for range 600 {
					l.second(level(0.1))
				}
				x := float64(part) / 10 // of the first report the load is high
				seconds := x
				for l.second(level(0.1 + x*0.7)); len(l.pods) < 4; seconds++ {
					l.second(level(0.8))
				}
				if recent {
					slowest = max(slowest, seconds)
				} else {
					slowestAverage = max(slowestAverage, seconds)
				}
			}
		}
		t.Logf("tremble %.2f, pods start in %v: %.1f s at most; %.1f s with the average alone", tremble, podStart, slowest, slowestAverage)
		if slowest > 3 || slowestAverage < 6 {
			t.Errorf("a step is followed within %.1f s and with the average alone within %.1f s, want at most 3 and at least 6", slowest, slowestAverage)
		}
	}
}

// noises make, of random numbers and a mean demand in busy GPUs, what a pod of several does in a second.
var noises = []struct {
	name  string
	costs float64 // at most so much more, as a part of what the average alone costs
	of    func(r *rand.Rand, demand float64) func(pod, pods int) float64
}{
	{"0 or 100 % each second", 0.15, func(r *rand.Rand, demand float64) func(int, int) float64 {
		return func(_, pods int) float64 {
			if r.Float64() < demand/float64(pods) {
				return 1
			}
			return 0
		}
	}},
	// The more pods, the larger the bursts: no load does that, and it is the worst there is.
	{"0 or 100 % of all pods at once", 0.35, func(r *rand.Rand, demand float64) func(int, int) float64 {
		draw := 0.0
		return func(pod, pods int) float64 {
			if pod == 0 {
				draw = r.Float64()
			}
			if draw < demand/float64(pods) {
				return 1
			}
			return 0
		}
	}},
	{"requests of 3 s", 0.12, requests(3)},
	{"requests of 30 s", 0.12, requests(30)},
	{"a tenth to and fro", 0, func(r *rand.Rand, demand float64) func(int, int) float64 {
		return func(_, pods int) float64 { return min(1, demand/float64(pods)*(0.9+0.2*r.Float64())) }
	}},
}

// requests come at random moments and take so many seconds on average; a pod is busy while it has any.
func requests(mean float64) func(r *rand.Rand, demand float64) func(int, int) float64 {
	return func(r *rand.Rand, demand float64) func(int, int) float64 {
		left := map[int]float64{}
		return func(pod, pods int) float64 {
			rate := demand / float64(pods) / mean
			for arrived := r.ExpFloat64() / rate; arrived < 1; arrived += r.ExpFloat64() / rate {
				left[pod] += r.ExpFloat64() * mean
			}
			busy := min(1, left[pod])
			left[pod] -= busy
			return busy
		}
	}
}
