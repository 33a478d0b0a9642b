package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// action is what became of a decision.
type action struct {
	// able is the condition AbleToScale.
	able State
	note Note
	// conflict is the condition TargetConflict.
	conflict stated
	// override is what someone else set, when that stands.
	override *v1alpha1.ManualOverrideStatus
	// scaled is true when the target was set; from and to are its replicas then.
	scaled   bool
	from, to int32
}

// apply sets the target to what was decided, where the strategy allows it, nothing else scales it, and it is not there yet.
func (r *Reconciler) apply(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, target Target, e Evaluation, conflict stated) action {
	act := action{able: True, note: Note{"ReadyForNewScale", "the target can be read and set"}, conflict: conflict}
	switch {
	case !policy.Spec.ScaleStrategy.Acts():
		act.note = Note{"ObserverStrategy", fmt.Sprintf("the strategy is %s: decisions are shown and not applied", policy.Spec.ScaleStrategy)}
	case policy.Spec.Paused:
		act.note = Note{"Paused", "the policy is paused: decisions are shown and not applied"}
	case conflict.State == True:
		act.able, act.note = False, Note{"TargetConflict", conflict.Note.Message}
	case conflict.State == Unknown:
		act.able, act.note, act.override = Unknown, conflict.Note, policy.Status.ManualOverride
	default:
		return r.set(ctx, policy, target, e, act)
	}
	r.letGo(policy.UID)
	return act
}

// set sets the target, unless what someone else set stands.
func (r *Reconciler) set(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, target Target, e Evaluation, act action) action {
	hand, want := r.hand(policy.UID), e.Decision.Replicas
	if target.Floor == nil { // the floor of a Knative Service begins anew with each revision, whoever makes it
		hand.look(policy, target.Replicas, e.At)
	}
	stands := hand.stands(policy, target.Pods, e)
	fought := hand.paused(e.At)
	switch {
	case fought != "":
		act.conflict = stated{True, Note{"ReplicasFought", fought}}
		act.able, act.note = False, Note{"TargetConflict", fought}
		return act
	case stands:
		act.note, act.override = hand.standing.note(), hand.status()
		return act
	case want == target.set() || e.Decision.Reason == scaling.Disabled:
		return act
	}
	err := r.Targets.Scale(ctx, policy.Namespace, policy.Spec.ScaleTargetRef, want, target.Version)
	if apierrors.IsConflict(err) {
		return act // It changed meanwhile: the next sync decides on what it is by then.
	}
	hand.set(want, err)
	if err != nil {
		act.able, act.note = False, Note{"FailedUpdateScale", err.Error()}
		return act
	}
	act.scaled, act.from, act.to = true, target.set(), want
	act.note = Note{"SucceededRescale", fmt.Sprintf("scaled from %d to %d", act.from, act.to)}
	return act
}

// release hands back what a policy that is being deleted has taken over, and tries again when it cannot.
func (r *Reconciler) release(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler) (reconcile.Result, error) {
	if err := r.handBack(ctx, policy.DeepCopy(), ""); err != nil {
		r.Events.Eventf(policy, nil, corev1.EventTypeWarning, "FailedHandBack", "HandBack", "%v", err)
		r.Logger.Warn("a deleted policy waits", "policy", client.ObjectKeyFromObject(policy), "err", err)
		return reconcile.Result{RequeueAfter: quiet}, nil
	}
	return reconcile.Result{}, nil
}

// hand is what is remembered of who set a policy's target. One worker looks at a policy at a time.
func (r *Reconciler) hand(policy types.UID) *hand {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, ok := r.hands[policy]
	if !ok {
		h = &hand{}
		r.hands[policy] = h
	}
	return h
}

func (r *Reconciler) letGo(policy types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.hands, policy)
}
