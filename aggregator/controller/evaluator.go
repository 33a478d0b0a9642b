package controller

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// Evaluator makes the decision for a policy from what its pods do, what its workload did, and the time. It asks no API server
// and changes nothing, so the same code runs without a cluster. It is safe for concurrent use, one call at a time for a policy.
type Evaluator struct {
	// Calendars knows the calendar files that policies name; nil means that none can be read.
	Calendars Calendars

	loads     Loads
	metrics   Metrics
	forecasts *forecasts

	mu      sync.Mutex
	windows map[types.UID]*window
}

// window is a policy's memory of its own recommendations and of who shared the load, for the target they were made for.
type window struct {
	target v1alpha1.ScaleTargetRef
	rules  rules
	starts starts
	scaling.Window
	// ready are the pods that were ready at the last look, shared since when they were.
	ready  []string
	shared time.Time
	// settling is since when the load has told of before, zero when it does not.
	settling time.Time
	calendar *calendar
	surges   surges
	readings readings
}

// days is the policy's calendar, which is made when it changes.
func (w *window) days(spec *v1alpha1.AdvancedHorizontalPodAutoscalerSpec, files []file) *calendar {
	if !w.calendar.of(spec, files) {
		w.calendar = newCalendar(spec, files)
	}
	return w.calendar
}

// settleAtMost is how long decisions wait for that. Pods that come and go without end, or a node's slow clock, must not keep a
// workload from growing: then the plain average has to do.
const settleAtMost = 10 * time.Second

// bounded says whether to wait on.
func (w *window) bounded(settling bool, now time.Time) bool {
	if !settling {
		w.settling = time.Time{}
		return false
	}
	if w.settling.IsZero() {
		w.settling = now
	}
	return now.Sub(w.settling) <= settleAtMost
}

// settleLoad is how long after a change of the ready pods their utilization may still tell of before: NVML averages over up to a
// second (nvml.h, nvmlUtilization_t).
const settleLoad = time.Second

// since returns from when on the present ready pods share the load as they do now. An average that reaches back beyond that
// would count the same demand twice: the old pod's, when it bore all of it, and the new pod's share.
func (w *window) since(pods []Pod, now time.Time) time.Time {
	var ready []string
	var newest time.Time
	for _, pod := range pods {
		if pod.State == scaling.Ready {
			ready = append(ready, pod.Name)
			if pod.ReadySince.After(newest) {
				newest = pod.ReadySince
			}
		}
	}
	slices.Sort(ready)
	switch {
	case w.ready == nil:
		w.shared = newest
	case !slices.Equal(ready, w.ready):
		w.shared = now
	}
	w.ready = ready
	return w.shared.Add(settleLoad)
}

// NewEvaluator returns an Evaluator over the loads, the other metrics and the history given. Without metrics those but the busy
// GPUs are unknown. A forecaster elsewhere is preferred to our own while it answers; nil means there is none.
func NewEvaluator(loads Loads, metrics Metrics, history History, outside Outside) *Evaluator {
	return &Evaluator{loads: loads, metrics: metrics, forecasts: newForecasts(history, outside), windows: make(map[types.UID]*window)}
}

// Evaluate decides what a policy wants for its target as it was read. The policy's defaults must be filled in.
func (e *Evaluator) Evaluate(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, target Target, now time.Time) Evaluation {
	out := describe(policy, now)
	out.Workload, out.Current = target.Workload, &target.Replicas

	memory := e.window(policy)
	memory.starts.watch(target.Pods)
	out.Lead, out.LeadPods = memory.starts.lead(policy.Spec)
	wanted := memory.rules.of(policy, target.Replicas, now, out.Lead)
	out.Min, out.Max, out.WrongBounds = wanted.MinReplicas, wanted.MaxReplicas, memory.rules.wrong

	out.Bounds, out.GPUsPerPod = memory.rules.bounds.at, gpusPerPod(target.Pods)
	look := look{policy: policy, target: target, gpusPerPod: out.GPUsPerPod, now: now, days: memory.days(&policy.Spec, e.files(ctx, policy, now)), readings: memory.readings}
	look.ahead = ahead{out.Lead, later(policy.Spec, out.Lead, wanted.Down.Stabilization)}
	settling := false
	var recent []float64
	look.pods, recent, settling, out.Data = e.observe(target, memory.since(target.Pods, now), now)
	surge, gpus := "", slices.ContainsFunc(policy.Spec.Metrics, ofGPUs)
	settling = settling && gpus // else what GPUs do decides nothing
	if gpus && !settling {
		surge = memory.surges.raise(look.pods, recent, now)
	}
	out.Forecast = e.forecasts.predict(ctx, look.asked(GPU), look.ahead, now)

	in := scaling.Inputs{Current: target.Replicas, Settling: memory.bounded(settling, now)}
	for _, spec := range policy.Spec.Metrics {
		seen, metric := e.metric(ctx, spec, look, out.Forecast)
		out.Metrics, in.Metrics = append(out.Metrics, seen), append(in.Metrics, metric)
	}
	told := tellsOfWaiting(out.Metrics)
	for i, m := range out.Metrics {
		in.Metrics[i].Hides = m.Spec.Is(v1alpha1.ResourceGPU) && !told
	}
	out.Data = out.Data.and(out.Metrics, len(memory.ready) > 0)
	decision := scaling.Decide(wanted, in, &memory.Window, now)
	if surge != "" && decision.Reason == scaling.ReactiveDemand {
		decision.Message += "; " + surge
	}
	out.Decision, out.Level = &decision, memory.level(wanted, now)
	out.ValidUntil = sooner(decision.Until, memory.rules.changeOfBounds(now, out.Lead))
	return out
}

// later is until when a replica that is removed now must not be missed.
func later(spec v1alpha1.AdvancedHorizontalPodAutoscalerSpec, lead, stabilization time.Duration) time.Duration {
	if s := spec.Prediction.ScaleDownForward; s != nil {
		return max(lead, seconds(*s))
	}
	return lead + stabilization
}

// Forget drops what is remembered for a policy: the next evaluation starts from the replicas it finds.
func (e *Evaluator) Forget(policy types.UID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.windows, policy)
}

// window returns the policy's memory, a new one when the policy was pointed at another target.
func (e *Evaluator) window(policy *v1alpha1.AdvancedHorizontalPodAutoscaler) *window {
	e.mu.Lock()
	defer e.mu.Unlock()
	w, ok := e.windows[policy.UID]
	if !ok || w.target != policy.Spec.ScaleTargetRef {
		w = &window{target: policy.Spec.ScaleTargetRef, readings: readings{}}
		e.windows[policy.UID] = w
	}
	return w
}

// describe begins an evaluation with what the policy itself says.
func describe(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, now time.Time) Evaluation {
	spec := policy.Spec
	location, err := spec.Location()
	if err != nil { // the conditions say so
		location = time.UTC
	}
	return Evaluation{
		Location:      location,
		Namespace:     policy.Namespace,
		Name:          policy.Name,
		UID:           policy.UID,
		At:            now,
		Strategy:      spec.ScaleStrategy,
		TargetPercent: targetPercent(spec),
		Min:           *spec.MinReplicas,
		Max:           spec.MaxReplicas,
		Lead:          fixedLead(spec),
		Quantile:      spec.Prediction.Quantile.Level(),
		Workload:      workloadOf(policy),
	}
}

// workloadOf is what a policy scales.
func workloadOf(policy *v1alpha1.AdvancedHorizontalPodAutoscaler) Workload {
	ref := policy.Spec.ScaleTargetRef
	return Workload{policy.Namespace, ref.Kind, ref.Name}
}

// targetPercent is the target of the policy's first metric; 0 when it is no utilization.
func targetPercent(spec v1alpha1.AdvancedHorizontalPodAutoscalerSpec) int32 {
	if len(spec.Metrics) == 0 {
		return 0
	}
	return toTarget(spec.Metrics[0].Target()).Percent
}

// gpusPerPod is what a new replica will hold: what the ready pods ask for, mean over them, or the unready ones where none is
// ready; 0 when no pod asks for any.
func gpusPerPod(pods []Pod) float64 {
	for _, state := range []scaling.PodState{scaling.Ready, scaling.Unready} {
		sum, n := 0.0, 0
		for _, pod := range pods {
			if pod.State == state && pod.GPUs > 0 {
				sum, n = sum+pod.GPUs, n+1
			}
		}
		if n > 0 {
			return sum / float64(n)
		}
	}
	return 0
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }
