package controller

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

const (
	// waitForOthers is how long growth waits for the first look at the other policies of a budget: a leader that has just begun knows
	// of none what it wants.
	waitForOthers = 30 * time.Second
	// A budget of more policies than fewMembers is divided once in divideEvery, however often one of them wants something else.
	fewMembers  = 256
	divideEvery = time.Second
)

// budgetKey names a budget.
type budgetKey struct{ namespace, name string }

// budgets divides each budget among the policies that name it.
type budgets struct {
	mu    sync.Mutex
	known map[budgetKey]*budget
	of    map[types.UID]budgetKey
}

// budget is what its policies want of it, and what each gets.
type budget struct {
	claims map[types.UID]claim
	// unseen are policies that have not been looked at yet; growth waits for them until a moment.
	unseen map[types.UID]bool
	until  time.Time

	changed bool      // a claim has, since it was divided
	divided time.Time // when it was
	maxGPUs int64     // the smallest that is named
	granted map[types.UID]int32
}

// claim is what one policy wants.
type claim struct {
	scaling.Share
	running int32 // replicas that there are
	acts    bool  // else those stay as they are, and it is only told what it would get
	stands  bool  // it acts, and does not go below those: someone else set them
	maxGPUs int64
}

// ceiling is what a policy's budget leaves it; false when it has none, or its budget leaves it all it wants.
func (b *budgets) ceiling(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, wants claim, members func() []types.UID, now time.Time) (scaling.Ceiling, bool) {
	spec := policy.Spec.ReplicaBudget
	b.mu.Lock()
	defer b.mu.Unlock()
	if spec == nil {
		b.leave(policy.UID)
		return scaling.Ceiling{}, false
	}
	key := budgetKey{policy.Namespace, spec.Name}
	if b.of[policy.UID] != key {
		b.leave(policy.UID)
	}
	shared := b.known[key]
	if shared == nil {
		shared = &budget{claims: map[types.UID]claim{}, unseen: map[types.UID]bool{}, until: now.Add(waitForOthers)}
		for _, uid := range members() {
			shared.unseen[uid] = true
		}
		b.known[key] = shared
	}
	b.of[policy.UID] = key
	shared.take(policy.UID, wants)
	if len(shared.unseen) > 0 && now.Before(shared.until) {
		why := fmt.Sprintf("%d other policies of the budget %q have not been looked at yet", len(shared.unseen), spec.Name)
		return scaling.Ceiling{Replicas: wants.Held, Limit: scaling.BudgetExceeded, Why: why}, true
	}
	shared.divide(now)
	granted, ok := shared.granted[policy.UID]
	switch {
	case !ok: // not divided since it came
		return scaling.Ceiling{Replicas: wants.Held, Limit: scaling.BudgetExceeded, Why: fmt.Sprintf("the budget %q is about to be divided anew", spec.Name)}, true
	case granted >= wants.Wanted:
		return scaling.Ceiling{}, false
	}
	return scaling.Ceiling{Replicas: granted, Limit: scaling.BudgetExceeded, Why: fmt.Sprintf(
		"the budget %q of %d GPUs, which %d policies share, leaves it %d replicas of %d GPUs", spec.Name, shared.maxGPUs, len(shared.claims), granted, wants.GPUs)}, true
}

// take writes down what a policy wants.
func (b *budget) take(uid types.UID, wants claim) {
	delete(b.unseen, uid)
	if b.claims[uid] != wants {
		b.claims[uid], b.changed = wants, true
	}
}

// divide grants replicas anew when a claim has changed. Those who do not act are granted what they would get if all did.
func (b *budget) divide(now time.Time) {
	if !b.changed || len(b.claims) > fewMembers && now.Sub(b.divided) < divideEvery && !now.Before(b.divided) {
		return
	}
	b.changed, b.divided, b.maxGPUs = false, now, math.MaxInt64
	members := slices.SortedFunc(maps.Keys(b.claims), func(a, c types.UID) int { return strings.Compare(string(a), string(c)) })
	acting, all := make([]scaling.Share, len(members)), make([]scaling.Share, len(members))
	for i, uid := range members {
		c := b.claims[uid]
		acting[i], all[i] = c.Share, c.Share
		switch {
		case !c.acts:
			acting[i].Held, acting[i].Wanted = c.running, c.running
		case c.stands:
			acting[i].Wanted = max(c.Wanted, c.running)
		}
		b.maxGPUs = min(b.maxGPUs, c.maxGPUs)
	}
	granted, would := scaling.Divide(b.maxGPUs, acting), scaling.Divide(b.maxGPUs, all)
	b.granted = make(map[types.UID]int32, len(members))
	for i, uid := range members {
		b.granted[uid] = granted[i]
		if !b.claims[uid].acts {
			b.granted[uid] = would[i]
		}
	}
}

// missed notes that a policy was looked at and its target could not be read: what it wanted before stands, and nobody waits for it.
func (b *budgets) missed(policy *v1alpha1.AdvancedHorizontalPodAutoscaler) {
	if policy.Spec.ReplicaBudget == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if shared := b.known[budgetKey{policy.Namespace, policy.Spec.ReplicaBudget.Name}]; shared != nil {
		delete(shared.unseen, policy.UID)
	}
}

// forget drops a policy that is gone.
func (b *budgets) forget(uid types.UID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leave(uid)
}

// leave takes a policy out of its budget. b.mu is held.
func (b *budgets) leave(uid types.UID) {
	key, ok := b.of[uid]
	if !ok {
		return
	}
	delete(b.of, uid)
	shared := b.known[key]
	delete(shared.claims, uid)
	shared.changed = true
	if len(shared.claims) == 0 {
		delete(b.known, key)
	}
}

// members are the policies that name a policy's budget, as they are in the cache.
func (r *Reconciler) members(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler) []types.UID {
	var all v1alpha1.AdvancedHorizontalPodAutoscalerList
	if err := r.Client.List(ctx, &all, client.InNamespace(policy.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		r.Logger.Warn("policies of a budget cannot be listed", "policy", client.ObjectKeyFromObject(policy), "err", err)
		return nil
	}
	var uids []types.UID
	for i := range all.Items {
		other := &all.Items[i]
		if b := other.Spec.ReplicaBudget; b != nil && b.Name == policy.Spec.ReplicaBudget.Name && other.DeletionTimestamp.IsZero() {
			uids = append(uids, other.UID)
		}
	}
	return uids
}
