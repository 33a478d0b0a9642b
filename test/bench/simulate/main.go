// Command simulate measures how fast the simulator is: decision steps without a forecast, by the Horizontal Pod Autoscaler's arithmetic,
// and four weeks of our own policy with a forecast each minute. Both run on one processor, and the time is what they had of it: other work on
// the machine does not count. Figures come last, one a line.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/foretide/foretide/aggregator/app"
	"github.com/foretide/foretide/aggregator/simulate"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

const (
	step    = 15 * time.Second
	startup = 3 * time.Minute
	weeks   = 28 * 24 * time.Hour
	target  = 80 // percent
)

func main() {
	length := flag.Duration("length", time.Second, "how long to take steps without a forecast at least")
	flag.Parse()
	if err := run(*length); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

func run(length time.Duration) error {
	runtime.GOMAXPROCS(1)
	world := simulate.World{
		Step: step, Sync: step, Lag: step, GPUsPerPod: 1, Startup: simulate.Always(startup), Drain: 30 * time.Second, Replicas: 8,
	}
	trace := simulate.Trace{Start: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), Offered: offered(weeks, step)}

	began, steps := cpuTime(), 0
	for cpuTime()-began < length {
		hpa := &simulate.HPA{Bounds: simulate.Bounds{Min: 1, Max: 100}, Target: target / 100.0}
		r, err := simulate.Run(world, trace, hpa, nil)
		if err != nil {
			return err
		}
		steps += r.Steps
	}
	perSecond := float64(steps) / (cpuTime() - began).Seconds()

	before := offered(weeks, time.Minute)
	began = cpuTime()
	r, err := app.Fly(world, trace, policy(), before, nil)
	if err != nil {
		return err
	}
	took := cpuTime() - began
	fmt.Printf("28 days of ours: %d steps, %.0f GPU-hours, %v short, %d times up and %d down\n", r.Steps, r.GPUHours, r.Short, r.Ups, r.Downs)
	fmt.Printf("BENCH simulate_steps %.0f /s\nBENCH simulate_28d %.2f s\n", perSecond, took.Seconds())
	return nil
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil { // only for an address or a kind that is none
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// offered is three busy GPUs at night and thirteen by day, with ripples of minutes and of an hour and a half.
func offered(length, step time.Duration) []float64 {
	out := make([]float64, length/step)
	for i := range out {
		minutes := float64(i) * step.Minutes()
		out[i] = 8 - 5*math.Cos(2*math.Pi*minutes/1440) + math.Sin(minutes/3)*math.Sin(minutes/14)
	}
	return out
}

func policy() *v1alpha1.AdvancedHorizontalPodAutoscaler {
	p := &v1alpha1.AdvancedHorizontalPodAutoscaler{}
	p.Namespace, p.Name, p.UID, p.Generation = "default", "bench", "bench", 1
	p.Spec = v1alpha1.AdvancedHorizontalPodAutoscalerSpec{
		ScaleStrategy:  v1alpha1.StrategyAuto,
		ScaleTargetRef: v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: "bench"},
		MaxReplicas:    100,
		Metrics: []v1alpha1.MetricSpec{{Type: v1alpha1.MetricSourceResource, Resource: &v1alpha1.ResourceMetric{
			Name: v1alpha1.ResourceGPU, Target: v1alpha1.MetricTarget{Type: v1alpha1.UtilizationTarget, AverageUtilization: new(int32(target))},
		}}},
	}
	p.Spec.Prediction.ScaleUpForward = new(intstr.FromInt32(int32(startup / time.Second)))
	p.Spec.Default()
	return p
}
