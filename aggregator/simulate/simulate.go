// Package simulate plays the load that is offered to a workload against whoever decides its replicas, in virtual time: pods take a while
// to start, serve what they can, and what they cannot serve waits.
//
//	offered ─► ready pods ─► served                    ┌► Decider ─► replicas ─► pods start, or drain
//	      └──► waiting ◄── what they cannot serve      │
//	             what is seen of it, a while later ────┘
//
// It has no clock, no I/O, and no randomness but that of its seed: the same world and trace give the same result. A step costs the same
// however many pods there are.
package simulate

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// World is what the workload runs in.
type World struct {
	// Step is the grain of time, such as 15 s; the offered load has a value for each.
	Step time.Duration
	// Sync is how often the replicas are decided: a whole number of steps.
	Sync time.Duration
	// Lag is how old what a Decider sees is: sampling, reports, scrapes.
	Lag time.Duration
	// GPUsPerPod is what each pod holds.
	GPUsPerPod float64
	// Startup draws how long a pod takes from created to ready; nil means at once.
	Startup Startup
	// Drain is how long a pod that is removed holds its GPUs without serving.
	Drain time.Duration
	// GPUs is how many the cluster has for this workload; 0 means that it never runs out.
	GPUs float64
	// Provisioning is how long a cluster autoscaler takes to bring GPUs for pods that found none; 0 means that nobody brings any.
	Provisioning time.Duration
	// Outages are when nothing is seen of the load.
	Outages []Span
	// Rollouts are when all pods are replaced, a quarter of them at a time, each new one before an old one goes.
	Rollouts []time.Time
	// Replicas is how many there are at the beginning.
	Replicas int32
	// Seed is that of the startup times.
	Seed uint64
}

// Span is from a moment up to another.
type Span struct{ From, To time.Time }

// Startup draws how long a pod takes from created to ready.
type Startup func(*rand.Rand) time.Duration

// Always takes the same time.
func Always(d time.Duration) Startup { return func(*rand.Rand) time.Duration { return d } }

// Measured draws from times that were measured.
func Measured(times []time.Duration) Startup {
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
	// Utilization is that of the ready pods' GPUs a lag ago, 0 to 1; NaN is not known.
	Utilization float64
	// Busy is the same in GPUs, and Waiting the work that waits, in GPU seconds; NaN is not known.
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
	// Short is for how long work waited; Wait is how long a GPU second of work waited on average, and LongestWait how long the ready pods
	// would have taken at most to get through what waited.
	Short, Wait, LongestWait time.Duration
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
	case w.Lag < 0 || w.Drain < 0 || w.Provisioning < 0:
		return fmt.Errorf("lag is %v, drain %v, provisioning %v: none may be negative", w.Lag, w.Drain, w.Provisioning)
	case !(w.GPUsPerPod > 0):
		return fmt.Errorf("a pod has %g GPUs: it must be more than 0", w.GPUsPerPod)
	case w.Replicas < 1:
		return fmt.Errorf("there are %d replicas at the beginning: there must be one", w.Replicas)
	}
	return nil
}

// Run plays a trace. What watch is told of each step may be nil.
func Run(w World, t Trace, d Decider, watch func(View)) (Result, error) {
	if err := w.check(); err != nil {
		return Result{}, err
	}
	if len(t.Offered) == 0 {
		return Result{}, errors.New("the trace is empty")
	}
	s := newState(w)
	watcher, watches := d.(Watcher)
	for i, offered := range t.Offered {
		now := t.Start.Add(time.Duration(i) * w.Step)
		if math.IsNaN(offered) {
			offered = 0
		}
		s.serve(now, offered)
		view := s.view(now)
		if watch != nil {
			watch(view)
		}
		if watches {
			watcher.Watch(view)
		}
		if time.Duration(i)*w.Step%w.Sync == 0 {
			s.scale(now, max(0, d.Decide(view)))
		}
	}
	return s.result(), nil
}
