package controller

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// A surge is not waited for until the next sync: Wake has the policies of a workload looked at now. What that may cost is bounded: a
// policy is looked at again after wakeEvery at the earliest, and all of them together are woken no more often than wakesPerSecond. What
// is not woken is looked at when its turn comes.
const (
	wakeEvery      = 500 * time.Millisecond
	wakesPerSecond = 50
)

// sleepers are the policies that wait for their next look, by what they scale.
type sleepers struct {
	limit *rate.Limiter

	mu       sync.Mutex
	queue    workqueue.TypedRateLimitingInterface[reconcile.Request] // nil until the controller runs
	policies map[types.NamespacedName]*sleeper
	on       map[Workload]map[types.NamespacedName]*sleeper
}

// sleeper is one policy: what it scales, when it was looked at last, and whether it has been woken since.
type sleeper struct {
	workload Workload
	looked   time.Time
	woken    bool
}

func newSleepers() *sleepers {
	return &sleepers{
		limit:    rate.NewLimiter(wakesPerSecond, wakesPerSecond),
		policies: make(map[types.NamespacedName]*sleeper), on: make(map[Workload]map[types.NamespacedName]*sleeper),
	}
}

// start is the source of the controller's requests that come from Wake.
func (s *sleepers) start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = queue
	return nil
}

// looked notes that a look at a policy begins.
func (s *sleepers) looked(policy types.NamespacedName, workload Workload, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.policies[policy]
	if p == nil || p.workload != workload {
		s.leave(policy)
		p = &sleeper{workload: workload}
		s.policies[policy] = p
		if s.on[workload] == nil {
			s.on[workload] = make(map[types.NamespacedName]*sleeper)
		}
		s.on[workload][policy] = p
	}
	p.looked, p.woken = now, false
}

// forget drops a policy that is gone.
func (s *sleepers) forget(policy types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(policy)
}

// leave is called with the lock held.
func (s *sleepers) leave(policy types.NamespacedName) {
	p := s.policies[policy]
	if p == nil {
		return
	}
	delete(s.policies, policy)
	delete(s.on[p.workload], policy)
	if len(s.on[p.workload]) == 0 {
		delete(s.on, p.workload)
	}
}

// wake has the policies of a workload looked at soon.
func (s *sleepers) wake(workload Workload, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queue == nil {
		return
	}
	for policy, p := range s.on[workload] {
		if p.woken || !s.limit.AllowN(now, 1) {
			continue
		}
		p.woken = true
		s.queue.AddAfter(reconcile.Request{NamespacedName: policy}, max(0, wakeEvery-now.Sub(p.looked)))
	}
}

// Wake has the policies that scale a workload looked at now instead of at their next sync, for its load has changed. It may be called
// at any time and does not wait.
func (r *Reconciler) Wake(workload Workload) { r.sleepers.wake(workload, r.Now()) }
