// Package simulate plays the load that is offered to a workload against whoever decides its replicas, in virtual time: pods take a while
// to start, serve what they can, and what they cannot serve waits.
//
//	offered ─► ready pods ─► served                    ┌► Decider ─► replicas ─► pods start, or drain
//	      └──► waiting ◄── what they cannot serve      │
//	             what is seen of it, a while later ────┘
//
// It has no clock, no I/O, and no randomness but that of its seed: the same world, trace and Decider give the same result. Who decides sees
// what is over, and what it decides holds from the next step on. A step costs the same however many pods there are.
package simulate

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// World is what the workload runs in.
type World struct {
	// Step is the grain of time, such as 15 s; the offered load has a value for each.
	Step time.Duration
	// Sync is how often the replicas are decided: a whole number of steps.
	Sync time.Duration
	// Lag is how old what a Decider sees is: sampling, reports, scrapes. It sees the mean of a step's time that ended so long ago.
	Lag time.Duration
	// Noise is the relative standard deviation of what is seen of the utilization: that of each step is multiplied by a normal draw around 1, and
	// never more than 1. What is served has none.
	Noise float64
	// GPUsPerPod is what each pod holds.
	GPUsPerPod float64
	// Startup draws how long a pod takes from having its GPUs to ready, for each anew; nil means no time.
	Startup Startup
	// Drain is how long a pod that is removed holds its GPUs without serving.
	Drain time.Duration
	// GPUs is how many the cluster has for this workload; 0 means that it never runs out.
	GPUs float64
	// Provisioning is how long a cluster autoscaler takes to bring GPUs for a pod that found none; 0 means that nobody brings any.
	Provisioning time.Duration
	// Unneeded is how long GPUs that were brought stay without a pod (scale-down-unneeded-time of Kubernetes' cluster autoscaler, 10 min by
	// default); 0 means that they stay.
	Unneeded time.Duration
	// Outages are when nothing is seen of the load.
	Outages []Span
	// Rollouts are when all pods are replaced as a Deployment does it, a quarter more or less at a time; in the order of time.
	Rollouts []time.Time
	// Replicas is how many there are at the beginning, all ready.
	Replicas int32
	// Seed is that of startup times and noise.
	Seed uint64
}

// Span is from a moment up to another.
type Span struct{ From, To time.Time }

// Startup draws how long a pod takes from having its GPUs to ready.
type Startup func(*rand.Rand) time.Duration

// Always takes the same time.
func Always(d time.Duration) Startup { return func(*rand.Rand) time.Duration { return d } }

// Measured draws from times that were measured; of none, a pod takes no time.
func Measured(times []time.Duration) Startup {
	if len(times) == 0 {
		return nil
	}
	return func(r *rand.Rand) time.Duration { return times[r.IntN(len(times))] }
}

// Decider decides how many replicas there shall be.
type Decider interface {
	// Decide is asked once in each Sync, in the order of time.
	Decide(View) int32
}

// Watcher is a Decider that wants to see each step, and not only those of a Sync; it sees one before it decides.
type Watcher interface{ Watch(View) }

// View is what is seen of the workload.
type View struct {
	Now time.Time
	// Replicas is what was decided last; Ready serve, Starting are on their way, Pending of which found no GPUs.
	Replicas, Ready, Starting, Pending int32
	// Settled of the ready were so already when the load was what is seen of it; the others did nothing then.
	Settled int32
	// Seen is when the step's time began that the rest is of.
	Seen time.Time
	// Utilization is that of the GPUs of the pods that were ready then, 0 to 1; NaN is not known.
	Utilization float64
	// Busy is the same in GPUs, and Waiting the work that waited, in GPU seconds; NaN is not known.
	Busy, Waiting float64
}

// Trace is the load that is offered, in GPUs that it would keep busy.
type Trace struct {
	Start   time.Time
	Offered []float64 // [step]; NaN is none
}

// Result is what came of it.
type Result struct {
	// Steps is how many were played.
	Steps int
	// Short is for how long work waited; Wait is how long a GPU second of work waited on average, and LongestWait how long the one did that
	// waited longest, what came first being served first.
	Short, Wait, LongestWait time.Duration
	// Offered is the work in GPU hours, Served of which was and Waiting was not when the trace was over.
	Offered, Served, Waiting float64
	// GPUHours are those that pods held, starting and draining ones too.
	GPUHours float64
	// Ups and Downs are how often replicas were added and removed; Most is the largest number.
	Ups, Downs int
	Most       int32
}

// check says what is wrong with a world.
func (w World) check() error {
	switch {
	case w.Step <= 0 || w.Sync < w.Step || w.Sync%w.Step != 0:
		return fmt.Errorf("step is %v and sync %v: sync must be a whole number of steps", w.Step, w.Sync)
	case w.Lag < 0 || w.Drain < 0 || w.Provisioning < 0 || w.Unneeded < 0:
		return fmt.Errorf("lag is %v, drain %v, provisioning %v, unneeded %v: none may be negative", w.Lag, w.Drain, w.Provisioning, w.Unneeded)
	case !(w.Noise >= 0) || math.IsInf(w.Noise, 0) || !(w.GPUs >= 0):
		return fmt.Errorf("noise is %g and there are %g GPUs: neither may be negative", w.Noise, w.GPUs)
	case !slices.IsSortedFunc(w.Rollouts, time.Time.Compare):
		return fmt.Errorf("rollouts are at %v: they must be in the order of time", w.Rollouts)
	case !(w.GPUsPerPod > 0) || math.IsInf(w.GPUsPerPod, 0):
		return fmt.Errorf("a pod has %g GPUs: it must be more than 0", w.GPUsPerPod)
	case w.Replicas < 1:
		return fmt.Errorf("there are %d replicas at the beginning: there must be one", w.Replicas)
	}
	return nil
}

// MostOffered is the most GPUs that a trace may offer: far more than there are, and no sum of what waits overflows.
const MostOffered = 1e9

// check says what is wrong with a trace.
func (t Trace) check() error {
	if len(t.Offered) == 0 {
		return errors.New("the trace is empty")
	}
	for i, v := range t.Offered {
		if v < 0 || v > MostOffered {
			return fmt.Errorf("step %d of the trace offers %g GPUs: it must be 0 to %g, or NaN for none", i, v, float64(MostOffered))
		}
	}
	return nil
}

// Run plays a trace. What watch is told of each step, before it is decided on, may be nil.
func Run(w World, t Trace, d Decider, watch func(View)) (Result, error) {
	if err := w.check(); err != nil {
		return Result{}, err
	}
	if err := t.check(); err != nil {
		return Result{}, err
	}
	s := newState(w, t)
	watcher, watches := d.(Watcher)
	every := int(w.Sync / w.Step)
	for i := range t.Offered {
		now := t.Start.Add(time.Duration(i) * w.Step)
		s.advance(now)
		view := s.view(now)
		if watch != nil {
			watch(view)
		}
		if watches {
			watcher.Watch(view)
		}
		if i%every == 0 {
			s.scale(now, max(0, d.Decide(view)))
		}
		s.serve(now)
	}
	r := s.load.result()
	r.Steps, r.GPUHours, r.Ups, r.Downs, r.Most = s.step, s.gpuHours, s.ups, s.downs, s.most
	return r, nil
}
