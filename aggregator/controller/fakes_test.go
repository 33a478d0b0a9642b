package controller

import (
	"context"
	"fmt"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// noon is a Monday.
var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// world is a target, what its pods do, what its workload did, and a clock that the test walks.
type world struct {
	now      time.Time
	target   Target
	absent   error // the target cannot be read
	refuse   error // the target cannot be set
	loads    map[string]Load
	troubles map[string]string          // by node
	demand   func(at time.Time) float64 // NaN = unknown
	metric   func(metric string, at time.Time) float64
	unread   error                      // the history cannot be read
	pods     func(at time.Time) float64 // that shared the demand; NaN = unknown
	noPods   error                      // their number cannot be read
	filled   uint64                     // how often missing values were found
	reads    []time.Duration            // of the history: how long each was
	scaled   []string
	room     Room // of the cluster
	asked    []int32
	shown    map[string]Evaluation
	records  []string
}

func newWorld(replicas int32, busy float64) *world {
	w := &world{
		now:    noon,
		demand: func(time.Time) float64 { return math.NaN() },
		pods:   func(time.Time) float64 { return math.NaN() },
		shown:  map[string]Evaluation{},
		target: Target{Workload: Workload{"default", "Deployment", "bert"}, Version: "1"},
	}
	w.run(replicas, busy)
	return w
}

// run gives the target so many replicas, all ready, each busy to the same degree.
func (w *world) run(replicas int32, busy float64) {
	w.target.Replicas = replicas
	w.target.Pods = nil
	w.loads = map[string]Load{}
	for i := range replicas {
		name := fmt.Sprintf("bert-%d", i)
		w.target.Pods = append(w.target.Pods, Pod{Name: name, Node: "node-1", State: scaling.Ready, GPUs: 1, ReadySince: noon.Add(-time.Hour)})
		w.loads["default/"+name] = Load{GPUs: 1, BusyGPUs: busy}
	}
}

func (w *world) Target(_ context.Context, _ string, ref v1alpha1.ScaleTargetRef) (Target, error) {
	if w.absent != nil {
		return Target{}, fmt.Errorf("%s: %w", ref.Name, w.absent)
	}
	return w.target, nil
}

func (w *world) Scale(_ context.Context, _ string, ref v1alpha1.ScaleTargetRef, replicas int32, version string) error {
	w.scaled = append(w.scaled, fmt.Sprintf("%s@%s=%d", ref.Name, version, replicas))
	return w.refuse
}

func (w *world) Load(namespace, pod, _ string, since, now time.Time) (Load, bool) {
	load, ok := w.loads[namespace+"/"+pod]
	load.Settled = !since.After(now)
	return load, ok
}

func (w *world) Trouble(node string, _ time.Time) string { return w.troubles[node] }

func (w *world) Filled() uint64 { return w.filled }

func (w *world) Demand(_ context.Context, _ Workload, metric string, from, to time.Time, step time.Duration) ([]float64, error) {
	w.reads = append(w.reads, to.Sub(from))
	if !from.Before(to) {
		return nil, fmt.Errorf("there is nothing between %v and %v", from, to)
	}
	if w.unread != nil {
		return nil, w.unread
	}
	var values []float64
	for at := from; at.Before(to); at = at.Add(step) {
		if metric != GPU && w.metric != nil {
			values = append(values, w.metric(metric, at))
			continue
		}
		values = append(values, w.demand(at))
	}
	return values, nil
}

func (w *world) Pods(_ context.Context, _ Workload, from, to time.Time, step time.Duration) ([]float64, error) {
	var values []float64
	for at := from; at.Before(to); at = at.Add(step) {
		values = append(values, w.pods(at))
	}
	return values, w.noPods
}

func (w *world) Room(shape *corev1.PodSpec, _ string, most int32) Room {
	w.asked = append(w.asked, most)
	out := w.room
	out.Pods = max(0, min(out.Pods, most))
	out.Known = out.Known && shape != nil
	return out
}

func (w *world) Observed(e Evaluation)            { w.shown[e.Namespace+"/"+e.Name] = e }
func (w *world) Forgotten(namespace, name string) { delete(w.shown, namespace+"/"+name) }

// Eventf records events as "reason: note".
func (w *world) Eventf(_, _ runtime.Object, kind, reason, _, note string, args ...any) {
	if kind != corev1.EventTypeNormal {
		reason = kind + " " + reason
	}
	w.records = append(w.records, reason+": "+fmt.Sprintf(note, args...))
}

// policy is fib-gpu, as the API server would hand it out; its options change it.
func policy(options ...func(*v1alpha1.AdvancedHorizontalPodAutoscaler)) *v1alpha1.AdvancedHorizontalPodAutoscaler {
	p := &v1alpha1.AdvancedHorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: "fib-gpu", UID: types.UID("uid-fib-gpu"), Generation: 1,
			CreationTimestamp: metav1.NewTime(noon.Add(-time.Hour)),
		},
		Spec: v1alpha1.AdvancedHorizontalPodAutoscalerSpec{
			ScaleTargetRef: v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: "bert"},
			Metrics: []v1alpha1.MetricSpec{{
				Type: v1alpha1.MetricSourceResource,
				Resource: &v1alpha1.ResourceMetric{
					Name:   v1alpha1.ResourceGPU,
					Target: v1alpha1.MetricTarget{Type: v1alpha1.UtilizationTarget, AverageUtilization: new(int32(20))},
				},
			}},
			MaxReplicas: 8,
			Prediction:  v1alpha1.Prediction{Quantile: new(v1alpha1.Quantile(95))},
		},
	}
	p.Spec.Default()
	for _, option := range options {
		option(p)
	}
	return p
}

func auto(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.ScaleStrategy = v1alpha1.StrategyAuto }

func named(name string, age time.Duration) func(*v1alpha1.AdvancedHorizontalPodAutoscaler) {
	return func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		p.Name, p.UID, p.CreationTimestamp = name, types.UID("uid-"+name), metav1.NewTime(noon.Add(-age))
	}
}

func notFound() error {
	return apierrors.NewNotFound(schema.GroupResource{Group: "apps", Resource: "deployments"}, "bert")
}

// workday is demand between 0.2 GPUs at night and 1.2 in the hours around noon, known from a moment on.
func workday(from time.Time) func(time.Time) float64 {
	return func(at time.Time) float64 {
		if at.Before(from) {
			return math.NaN()
		}
		if hour := at.Hour(); hour >= 9 && hour < 15 {
			return 1.2
		}
		return 0.2
	}
}

func days(n int) time.Time { return noon.Add(-time.Duration(n) * 24 * time.Hour) }
