package simulate

import (
	"math"
	"math/rand/v2"
	"time"
)

// state is the workload at a moment.
type state struct {
	World
	random   *rand.Rand
	ready    int32
	starting queue     // when each is ready
	pending  int32     // pods that found no GPU
	draining queue     // when each is gone
	comes    time.Time // when GPUs come for those that are pending; zero when none do
	gpus     float64   // of the cluster
	replicas int32
	rollout  int // the next one
	waiting  float64

	seen      []seen // ring of what a Decider will see
	short     time.Duration
	waited    float64 // GPU seconds² of waiting work
	offered   float64 // GPU seconds
	longest   time.Duration
	gpuHours  float64
	ups, down int
	most      int32
	steps     int
}

// seen is what was to be seen at a step.
type seen struct{ utilization, busy, waiting float64 }

func newState(w World) *state {
	s := &state{World: w, random: rand.New(rand.NewPCG(w.Seed, 1)), ready: w.Replicas, replicas: w.Replicas, most: w.Replicas, gpus: w.GPUs}
	s.seen = make([]seen, int(w.Lag/w.Step)+1)
	for i := range s.seen {
		s.seen[i] = seen{math.NaN(), math.NaN(), math.NaN()}
	}
	return s
}

// serve lets a step go by.
func (s *state) serve(now time.Time, offered float64) {
	seconds := s.Step.Seconds()
	s.ready += int32(s.starting.until(now))
	s.draining.until(now)
	s.bring(now)
	s.roll(now)

	capacity := float64(s.ready) * s.GPUsPerPod
	work := s.waiting + offered*seconds
	done := min(work, capacity*seconds)
	s.waiting = work - done
	if s.waiting > 1e-9 {
		s.short += s.Step
		s.waited += s.waiting * seconds
		wait := time.Duration(math.MaxInt64)
		if capacity > 0 {
			wait = time.Duration(min(s.waiting/capacity, 1e9) * float64(time.Second))
		}
		s.longest = max(s.longest, wait)
	}
	s.offered += offered * seconds
	s.gpuHours += float64(s.holding()) * s.GPUsPerPod * seconds / 3600
	now2 := seen{busy: done / seconds, waiting: s.waiting, utilization: math.NaN()}
	if capacity > 0 {
		now2.utilization = done / seconds / capacity
	}
	for _, out := range s.Outages {
		if !now.Before(out.From) && now.Before(out.To) {
			now2 = seen{math.NaN(), math.NaN(), math.NaN()}
		}
	}
	s.seen[s.steps%len(s.seen)] = now2
	s.steps++
}

// view is what is seen now.
func (s *state) view(now time.Time) View {
	old := s.seen[s.steps%len(s.seen)] // the oldest of the ring
	return View{Now: now, Replicas: s.replicas, Ready: s.ready, Starting: int32(s.starting.len()) + s.pending, Pending: s.pending,
		Utilization: old.utilization, Busy: old.busy, Waiting: old.waiting}
}

// holding is how many pods hold GPUs.
func (s *state) holding() int { return int(s.ready) + s.starting.len() + s.draining.len() }

// scale makes pods, or removes them: those first that do not serve yet.
func (s *state) scale(now time.Time, replicas int32) {
	switch {
	case replicas > s.replicas:
		s.ups++
		for range replicas - s.replicas {
			s.start(now)
		}
	case replicas < s.replicas:
		s.down++
		for range s.replicas - replicas {
			s.stop(now)
		}
	}
	s.replicas, s.most = replicas, max(s.most, replicas)
}

// start makes a pod, which waits when there is no GPU for it.
func (s *state) start(now time.Time) {
	if s.GPUs > 0 && float64(s.holding()+1)*s.GPUsPerPod > s.gpus+1e-9 {
		s.pending++
		if s.comes.IsZero() && s.Provisioning > 0 {
			s.comes = now.Add(s.Provisioning)
		}
		return
	}
	takes := time.Duration(0)
	if s.Startup != nil {
		takes = s.Startup(s.random)
	}
	s.starting.put(now.Add(takes))
}

func (s *state) stop(now time.Time) {
	switch {
	case s.pending > 0:
		s.pending--
	case s.starting.len() > 0:
		s.starting.dropLast()
	default:
		s.ready--
		s.draining.put(now.Add(s.Drain))
	}
}

// bring lets nodes come, and pods that are pending begin where there is room.
func (s *state) bring(now time.Time) {
	if s.pending == 0 {
		s.comes = time.Time{}
		return
	}
	if !s.comes.IsZero() && !now.Before(s.comes) {
		s.gpus += float64(s.pending) * s.GPUsPerPod
		s.comes = time.Time{}
	}
	for range s.pending {
		before := s.pending
		s.pending--
		s.start(now)
		if s.pending == before {
			return
		}
	}
}

// roll replaces all pods when a rollout begins: a quarter of them is away at a time, for as long as a new one takes.
func (s *state) roll(now time.Time) {
	if s.rollout >= len(s.Rollouts) || now.Before(s.Rollouts[s.rollout]) {
		return
	}
	s.rollout++
	at := now
	for left := s.ready; left > 0; {
		part := min(left, max(1, s.ready/4))
		takes := time.Duration(0)
		if s.Startup != nil {
			takes = s.Startup(s.random)
		}
		at = at.Add(takes)
		for range part { // the new one serves as the old one goes: what a rollout costs is the GPUs it holds meanwhile
			s.draining.put(at.Add(s.Drain))
		}
		left -= part
	}
}

func (s *state) result() Result {
	r := Result{Steps: s.steps, Short: s.short, LongestWait: s.longest, GPUHours: s.gpuHours, Ups: s.ups, Downs: s.down, Most: s.most}
	if s.offered > 0 {
		r.Wait = time.Duration(s.waited / s.offered * float64(time.Second))
	}
	return r
}
