package simulate

import (
	"math"
	"math/rand/v2"
	"time"
)

// state is the workload at a moment.
type state struct {
	World
	startups *rand.Rand // a stream of its own each, so that noise changes no startup
	noise    *rand.Rand

	replicas  int32 // decided last
	ready     int32
	old       int32 // of the ready, those that a rollout has yet to replace
	starting  queue // when each is ready
	pending   int32 // pods that found no GPU
	draining  queue // when each is gone
	unsettled queue // of the ready that became so lately: when what is seen is of them too
	rollout   int   // the next one
	cluster   cluster

	seen []seen // ring, by step
	load load
	tally
}

// tally is what a result is made of beside the load.
type tally struct {
	step     int // the present one
	gpuHours float64
	ups      int
	downs    int
	most     int32
}

// seen is what was to be seen of a step.
type seen struct{ utilization, busy, waiting float64 }

var unseen = seen{math.NaN(), math.NaN(), math.NaN()}

func newState(w World, t Trace) *state {
	s := &state{World: w, startups: rand.New(rand.NewPCG(w.Seed, 1)), noise: rand.New(rand.NewPCG(w.Seed, 2)),
		replicas: w.Replicas, ready: w.Replicas, cluster: cluster{gpus: w.GPUs}, load: load{trace: t, step: w.Step}}
	s.most = w.Replicas
	s.seen = make([]seen, int(w.Lag/w.Step)+2)
	for i := range s.seen {
		s.seen[i] = unseen
	}
	return s
}

// advance brings the pods up to now.
func (s *state) advance(now time.Time) {
	s.progress(now)
	s.roll(now)
	s.supply(now)
}

// progress lets pods become ready, and go.
func (s *state) progress(now time.Time) {
	for range s.starting.until(now) {
		s.ready++
		s.unsettled.put(now.Add(s.Lag + s.Step))
	}
	s.draining.until(now)
	s.unsettled.until(now)
}

// serve lets the step that begins now go by.
func (s *state) serve(now time.Time) {
	s.progress(now) // of what was decided: a pod that takes no time to start, or to go
	capacity := float64(s.ready) * s.GPUsPerPod
	busy := s.load.serve(s.step, capacity)
	s.gpuHours += float64(s.holding()) * s.GPUsPerPod * s.Step.Hours()
	s.seen[s.step%len(s.seen)] = s.sampled(now, busy, capacity)
	s.step++
}

// sampled is what is to be seen of a step, by and by. Where no pod holds a GPU there is nothing that reports, which is not zero.
func (s *state) sampled(now time.Time, busy, capacity float64) seen {
	for _, out := range s.Outages {
		if !now.Before(out.From) && now.Before(out.To) {
			return unseen
		}
	}
	if s.holding() == 0 {
		busy = math.NaN()
	}
	utilization := math.NaN()
	if capacity > 0 {
		utilization = busy / capacity
		if s.Noise > 0 {
			utilization = min(1, utilization*max(0, 1+s.Noise*s.noise.NormFloat64()))
			busy = utilization * capacity
		}
	}
	return seen{utilization, busy, s.load.waiting}
}

// view is what is seen now: a step's time that ended a lag ago, parts of two steps where the lag is no whole number of them.
func (s *state) view(now time.Time) View {
	whole, part := int(s.Lag/s.Step), float64(s.Lag%s.Step)/float64(s.Step)
	newer, older := s.past(1+whole), s.past(2+whole)
	if part > 0 {
		newer.utilization += part * (older.utilization - newer.utilization)
		newer.busy += part * (older.busy - newer.busy)
		newer.waiting += part * (older.waiting - newer.waiting)
	}
	return View{Now: now, Replicas: s.replicas, Ready: s.ready, Settled: max(0, s.ready-int32(s.unsettled.len())),
		Starting: int32(s.starting.len()) + s.pending, Pending: s.pending, Seen: now.Add(-s.Lag - s.Step),
		Utilization: newer.utilization, Busy: newer.busy, Waiting: newer.waiting}
}

// past is what was to be seen so many steps ago.
func (s *state) past(steps int) seen {
	if steps > s.step {
		return unseen
	}
	return s.seen[(s.step-steps)%len(s.seen)]
}

// holding is how many pods hold GPUs, and total how many there are but for those that drain.
func (s *state) holding() int { return int(s.ready) + s.starting.len() + s.draining.len() }
func (s *state) total() int32 { return s.ready + int32(s.starting.len()) + s.pending }

// scale makes pods, or removes them: those first that do not serve yet, then the youngest, as a ReplicaSet does.
func (s *state) scale(now time.Time, replicas int32) {
	change := replicas - s.replicas
	s.replicas, s.most = replicas, max(s.most, replicas)
	switch {
	case change > 0:
		s.ups++
	case change < 0:
		s.downs++
	}
	for ; change > 0; change-- {
		s.start(now)
	}
	for ; change < 0; change++ {
		switch {
		case s.pending > 0:
			s.pending--
		case s.starting.len() > 0:
			s.starting.dropLast()
		default:
			s.remove(now)
		}
	}
	s.supply(now)
}

// start makes a pod, which waits when there is no GPU for it.
func (s *state) start(now time.Time) {
	if !s.fits() {
		s.pending++
		return
	}
	takes := time.Duration(0)
	if s.Startup != nil {
		takes = max(0, s.Startup(s.startups))
	}
	s.starting.put(now.Add(takes))
}

// remove takes a pod out that is ready, in a rollout an old one while there are any.
func (s *state) remove(now time.Time) {
	s.ready--
	switch {
	case s.old > 0:
		s.old--
	case s.unsettled.len() > 0:
		s.unsettled.dropLast()
	}
	s.draining.put(now.Add(s.Drain))
}

// roll replaces all pods from when a rollout begins, as a Deployment does by default (maxSurge and maxUnavailable of a quarter, the one
// rounded up, the other down): pods that do not serve yet are made anew at once, and of the others as many go as the new ones that are ready
// and a quarter that may be away allow.
func (s *state) roll(now time.Time) {
	if s.rollout < len(s.Rollouts) && !now.Before(s.Rollouts[s.rollout]) {
		s.rollout++
		s.old = s.ready
		s.starting, s.pending = queue{}, 0
		s.surge(now)
	}
	if s.old == 0 {
		return
	}
	s.surge(now)
	for s.old > 0 && s.ready > s.replicas-s.replicas/4 {
		s.remove(now)
	}
	s.surge(now)
}

// surge makes as many new pods as a rollout may.
func (s *state) surge(now time.Time) {
	for s.total() < s.replicas+(s.replicas+3)/4 && s.total()-s.old < s.replicas {
		s.start(now)
	}
}
