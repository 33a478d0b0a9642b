package app

import (
	"fmt"
	"math"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/foretide/foretide/aggregator/simulate"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
	"github.com/foretide/foretide/pkg/trace"
)

// flight is a recorded load, the world it is played in, and the policy that decides there.
type flight struct {
	name  string // of the recording
	start time.Time
	// offered is the load of the whole recording in busy GPUs by the step; NaN is missing.
	offered []float64
	// flown is the first step that is played; what is before is history.
	flown    int
	place    simulate.World                            // but for the replicas at the beginning
	startups []time.Duration                           // shortest first
	given    *v1alpha1.AdvancedHorizontalPodAutoscaler // the policy as it was read
	policy   *v1alpha1.AdvancedHorizontalPodAutoscaler // and what of it is simulated
	// target is the utilization that the policy aims for, 0 to 1.
	target float64
	// notes say what of the policy is not simulated.
	notes []string
}

// take reads the policy, and leaves of it what a simulation knows of.
func (f *flight) take(path string) error {
	all, err := readPolicies(path)
	if err != nil {
		return err
	}
	if len(all) != 1 {
		return fmt.Errorf("%q holds %d policies: it must hold one", path, len(all))
	}
	f.given, f.policy = all[0], all[0].DeepCopy()
	spec := &f.policy.Spec
	var gpu []v1alpha1.MetricSpec
	for _, m := range spec.Metrics {
		if m.Is(v1alpha1.ResourceGPU) && m.Target().AverageUtilization != nil {
			gpu = append(gpu, m)
			f.target = float64(*m.Target().AverageUtilization) / 100
		} else {
			f.notes = append(f.notes, fmt.Sprintf("the metric %s is left out: a recording has busy GPUs alone", m.ID()))
		}
	}
	if len(gpu) == 0 {
		return fmt.Errorf("%q has no metric of the type Resource, named gpu, with a target of the type Utilization: nothing else can be simulated", path)
	}
	spec.Metrics = gpu
	if forward := spec.Prediction.ScaleUpForward; forward.Type == intstr.String {
		lead := min(f.startup(0.9), time.Hour)
		spec.Prediction.ScaleUpForward = new(intstr.FromInt32(int32(lead.Seconds())))
		f.notes = append(f.notes, fmt.Sprintf("scaleUpForward: auto is %v, what nine in ten pods take to start", lead))
	}
	for what, is := range map[string]bool{
		"replicaBudget": spec.ReplicaBudget != nil, "placeholders": spec.Placeholders != nil, "maxPendingReplicas": spec.MaxPendingReplicas != nil,
		"prediction.calendars": len(spec.Prediction.Calendars) > 0, "paused": spec.Paused,
	} {
		if is {
			f.notes = append(f.notes, what+" is left out: it is of the cluster")
		}
	}
	if len(spec.InstanceBounds) > 0 {
		f.notes = append(f.notes, "instanceBounds hold for the policy alone: the others stay within minReplicas and maxReplicas")
	}
	slices.Sort(f.notes)
	return nil
}

// startup is what so large a share of the pods takes at most from created to ready.
func (f *flight) startup(share float64) time.Duration {
	return f.startups[int(math.Ceil(share*float64(len(f.startups))))-1]
}

// time is when a step of the recording begins.
func (f *flight) time(i int) time.Time { return f.start.Add(time.Duration(i) * f.place.Step) }

// part is the flight over the steps from up to, with what is before as history.
func (f *flight) part(from, to int) leg {
	offered, bridged := simulate.Bridge(f.offered[from:to])
	l := leg{world: f.place, trace: simulate.Trace{Start: f.time(from), Offered: offered}, bridged: bridged,
		before: meansOf(f.offered[:from], int(time.Minute/f.place.Step))}
	l.world.Rollouts = slices.DeleteFunc(slices.Clone(f.place.Rollouts), func(at time.Time) bool { return at.Before(l.trace.Start) }) // else they would all begin with it
	l.bounds = simulate.Bounds{Min: *f.policy.Spec.MinReplicas, Max: f.policy.Spec.MaxReplicas}
	pods := math.Ceil(offered[0] / (f.target * f.place.GPUsPerPod)) // which may be more than an int32 holds
	l.world.Replicas = int32(min(max(pods, float64(l.bounds.Min)), float64(l.bounds.Max)))
	return l
}

// leg is a stretch of a flight.
type leg struct {
	world   simulate.World
	trace   simulate.Trace
	before  []float64 // demand of the minutes before it; NaN is missing
	bounds  simulate.Bounds
	bridged int // steps of which nothing is recorded
}

// length is how long it takes.
func (l leg) length() time.Duration { return time.Duration(len(l.trace.Offered)) * l.world.Step }

// resample puts points on a grid of a step that begins with a whole minute: the mean of those that are in a step, else the line between two
// neighbours, and NaN where they are further apart than twice the usual.
func resample(points []trace.Point, scale float64, step time.Duration) (start time.Time, values []float64) {
	usual := usualDistance(points)
	start = points[0].Time.Add(time.Minute - 1).Truncate(time.Minute)
	last := points[len(points)-1].Time
	next := 0 // the first point that is not before the step
	for from := start; !from.After(last); from = from.Add(step) {
		for points[next].Time.Before(from) {
			next++
		}
		sum, n := 0.0, 0
		for i := next; i < len(points) && points[i].Time.Before(from.Add(step)); i++ {
			sum, n = sum+points[i].Value, n+1
		}
		value := sum / float64(n) // 0/0 is NaN
		if n == 0 && next > 0 {
			a, b := points[next-1], points[next]
			if gap := b.Time.Sub(a.Time); gap <= 2*usual {
				value = a.Value + float64(from.Sub(a.Time))/float64(gap)*(b.Value-a.Value)
			}
		}
		values = append(values, scale*value)
	}
	return start, values
}

// meansOf is the mean of each n values as far as they are known, NaN where none is.
func meansOf(values []float64, n int) []float64 {
	out := make([]float64, 0, len(values)/n)
	for part := range slices.Chunk(values, n) {
		sum, known := 0.0, 0
		for _, v := range part {
			if !math.IsNaN(v) {
				sum, known = sum+v, known+1
			}
		}
		out = append(out, sum/float64(known))
	}
	return out
}
