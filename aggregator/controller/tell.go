package controller

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// quiet is how long a status stands before a mere change of numbers is written; with more than 250 policies it is quietEach for each of
// them, so that all together write no more than 25 times a second: a write costs the API server ten milliseconds, ten times what a look does.
const (
	quiet     = 10 * time.Second
	quietEach = 40 * time.Millisecond
)

// When thousands of policies change at once, as after a restart, their statuses are written in turn: a look must not wait for the API server
// to take them all. What a policy scaled is written at once.
const (
	writesPerSecond = 50
	writesAtOnce    = 100
)

func (r *Reconciler) mayWrite(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.Sub(r.written[policy.UID]) >= max(quiet, time.Duration(len(r.policies))*quietEach)
}

func (r *Reconciler) wrote(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.written[policy.UID] = now
}

// write patches the status when something visible in it changed, and no more than once in quiet when only numbers moved: a utilization moves
// with nearly every sample, and thousands of policies share one API server. It is false when there is a change whose turn is to come: the
// next look sees it again.
func (r *Reconciler) write(ctx context.Context, before, after *v1alpha1.AdvancedHorizontalPodAutoscaler, scaled bool, now time.Time) (bool, error) {
	if sameToTheEye(before.Status, after.Status) || onlyNumbersMoved(before.Status, after.Status) && !r.mayWrite(after, now) {
		return true, nil
	}
	if !r.writes.AllowN(now, 1) && !scaled {
		return false, nil
	}
	r.wrote(after, now)
	// The answer is decoded into the object: into a copy, for the numbers of this one are shown elsewhere.
	return true, client.IgnoreNotFound(r.Client.Status().Patch(ctx, after.DeepCopy(), client.MergeFrom(before)))
}

// tellScaled records a rescale.
func (r *Reconciler) tellScaled(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, evaluation Evaluation, act action) {
	ref := policy.Spec.ScaleTargetRef
	r.Events.Eventf(policy, nil, corev1.EventTypeNormal, "SuccessfulRescale", "Rescale", "%s %s from %d to %d: %s",
		ref.Kind, ref.Name, act.from, act.to, evaluation.Decision.Message)
	r.Logger.Info("scaled", "policy", client.ObjectKeyFromObject(policy), "kind", ref.Kind, "target", ref.Name,
		"from", act.from, "to", act.to, "reason", evaluation.Decision.Reason)
}

// troubles are the conditions that are worth an event, and the state that is the trouble.
var troubles = map[string]State{v1alpha1.ConditionAbleToScale: False, v1alpha1.ConditionDataFresh: False, v1alpha1.ConditionTargetConflict: True}

// tellTroubles records each condition that came to be a trouble or is one for another reason than before, and what others set.
func (r *Reconciler) tellTroubles(before, after *v1alpha1.AdvancedHorizontalPodAutoscaler) {
	for _, is := range after.Status.Conditions {
		was := meta.FindStatusCondition(before.Status.Conditions, is.Type)
		if string(is.Status) != string(troubles[is.Type]) || was != nil && was.Status == is.Status && was.Reason == is.Reason {
			continue
		}
		reason := is.Reason
		switch {
		case reason == v1alpha1.ConditionTargetConflict: // told of by the condition of that name
			continue
		case is.Type == v1alpha1.ConditionTargetConflict:
			reason = is.Type
		case reason == "FailedUpdateScale":
			reason = "FailedRescale" // The HorizontalPodAutoscaler's word for this event.
		}
		r.Events.Eventf(after, nil, corev1.EventTypeWarning, reason, "Evaluate", "%s", is.Message)
		r.Logger.Warn("policy cannot be followed", "policy", client.ObjectKeyFromObject(after), "reason", reason, "message", is.Message)
	}
	if is, was := after.Status.ManualOverride, before.Status.ManualOverride; is != nil && (was == nil || was.Replicas != is.Replicas) {
		r.Events.Eventf(after, nil, corev1.EventTypeNormal, "ManualOverride", "Evaluate", "someone else set %d replicas when %d were decided: that stands until something else is decided",
			is.Replicas, is.DecidedReplicas)
	}
}
