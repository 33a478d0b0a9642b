package main

import (
	"fmt"
	"math"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/foretide/foretide/aggregator/app"
	"github.com/foretide/foretide/aggregator/simulate"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
	"github.com/foretide/foretide/test/replay"
)

const (
	// ours is the name of what is judged, and surer that of the same with another quantile.
	ours  = "foretide"
	surer = "foretide p95"
	// targetPercent is everyone's, where none is swept.
	targetPercent = 80
	gpusPerPod    = 1
	lag           = 15 * time.Second
	drain         = 30 * time.Second
	mostReplicas  = 10_000
)

// sweep are the targets, percent, by which the Horizontal Pod Autoscaler's costs and shortfalls are known.
var sweep = []int{5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 90, 95, 100}

// delays are how long a pod takes from created to ready.
var delays = []time.Duration{time.Minute, 3 * time.Minute, 7 * time.Minute}

// outcome is what a policy came to.
type outcome struct {
	// Hours are GPU-hours, Short the minutes in which work waited, Events how often replicas changed.
	Hours, Short float64
	Events       int
}

// played is a trace with a startup delay, and what each policy came to.
type played struct {
	trace    string
	delay    time.Duration
	policies map[string]outcome
	swept    []outcome // of the Horizontal Pod Autoscaler, with each target of sweep
}

// play plays a flight with a startup delay: ours, every peer, and the Horizontal Pod Autoscaler with every target.
func play(f replay.Flight, delay time.Duration) (played, error) {
	out := played{trace: f.Name, delay: delay, policies: map[string]outcome{}}
	world := world(f, delay)
	for name, quantile := range map[string]v1alpha1.Quantile{ours: v1alpha1.DefaultQuantile, surer: 95} {
		p := policy(delay)
		p.Spec.Prediction.Quantile = &quantile
		r, err := app.Fly(world, f.Trace, p, f.Before, nil)
		if err != nil {
			return out, fmt.Errorf("%s, delay %v: %s: %w", f.Name, delay, name, err)
		}
		out.policies[name] = of(r)
	}
	peer := func(name string, target int) (outcome, error) {
		d, err := simulate.Peer(name, simulate.PeerOptions{
			Bounds: simulate.Bounds{Min: 1, Max: mostReplicas}, Target: float64(target) / 100, GPUsPerPod: gpusPerPod, Trace: f.Trace,
			Before: f.Before, Step: world.Step, Sync: world.Sync, Ahead: delay + world.Sync,
		})
		if err != nil {
			return outcome{}, err
		}
		r, err := simulate.Run(world, f.Trace, d, nil)
		return of(r), err
	}
	for _, name := range simulate.PeerNames {
		p, err := peer(name, targetPercent)
		if err != nil {
			return out, fmt.Errorf("%s, delay %v: %s: %w", f.Name, delay, name, err)
		}
		out.policies[name] = p
	}
	for _, target := range sweep {
		p, err := peer("hpa", target)
		if err != nil {
			return out, fmt.Errorf("%s, delay %v: hpa at %d %%: %w", f.Name, delay, target, err)
		}
		out.swept = append(out.swept, p)
	}
	return out, nil
}

// world begins with as many pods as the first step asks for.
func world(f replay.Flight, delay time.Duration) simulate.World {
	return simulate.World{
		Step: replay.Step, Sync: replay.Step, Lag: lag, GPUsPerPod: gpusPerPod, Startup: simulate.Always(delay), Drain: drain,
		Replicas: max(1, int32(math.Ceil(100*f.Trace.Offered[0]/targetPercent))),
	}
}

func of(r simulate.Result) outcome { return outcome{r.GPUHours, r.Short.Minutes(), r.Ups + r.Downs} }

// policy is one with every default but the lead time, which is the startup delay.
func policy(delay time.Duration) *v1alpha1.AdvancedHorizontalPodAutoscaler {
	p := &v1alpha1.AdvancedHorizontalPodAutoscaler{}
	p.Namespace, p.Name, p.UID, p.Generation = "default", "judged", "judged", 1
	p.Spec = v1alpha1.AdvancedHorizontalPodAutoscalerSpec{
		ScaleStrategy:  v1alpha1.StrategyAuto,
		ScaleTargetRef: v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: "judged"},
		MaxReplicas:    mostReplicas,
		Metrics: []v1alpha1.MetricSpec{{Type: v1alpha1.MetricSourceResource, Resource: &v1alpha1.ResourceMetric{
			Name: v1alpha1.ResourceGPU, Target: v1alpha1.MetricTarget{Type: v1alpha1.UtilizationTarget, AverageUtilization: new(int32(targetPercent))},
		}}},
	}
	p.Spec.Prediction.ScaleUpForward = new(intstr.FromInt32(int32(delay / time.Second)))
	p.Spec.Default()
	return p
}
