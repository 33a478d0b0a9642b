package controller

import (
	"context"
	"fmt"
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// Room is what the cluster has for more pods like a target's.
type Room struct {
	// Pods is how many more could be scheduled now, up to as many as were asked for. Known is false when that is not known.
	Pods  int32
	Known bool
	// Type is that of their GPUs, such as "NVIDIA-A100-SXM4-80GB"; "" when it is not known.
	Type string
	// FreeGPUs is how many GPUs are free on the nodes they may run on.
	FreeGPUs int64
}

// Capacity knows what the cluster has room for.
type Capacity interface {
	// Room tells how many more pods of a shape could be scheduled now, up to most. One such pod runs on the node; "" where none does.
	Room(shape *corev1.PodSpec, node string, most int32) Room
}

// endless is where nothing is known of the cluster.
type endless struct{}

func (endless) Room(*corev1.PodSpec, string, int32) Room { return Room{} }

// GPUs is what a replica of a policy's target has.
type GPUs struct {
	// Type is "" when it is not known, and PerPod 0.
	Type   string
	PerPod float64
	// Shape is what a replica asks of a node, nil when that is not known. It is not to be changed.
	Shape *corev1.PodSpec
}

// limit holds what was decided to what the policy's budget leaves, and, where the policy wants that, to what the cluster has GPUs
// for. Either is told: asking for pods that cannot run is asking for a cluster autoscaler, or a mistake.
func (r *Reconciler) limit(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, target Target, conflict State, e *Evaluation) {
	decision := *e.Decision
	e.GPUs = GPUs{PerPod: gpusPerPod(target.Pods), Shape: target.Shape}
	queue := queueOf(target)
	room := r.Capacity.Room(target.Shape, nodeOf(target.Pods), max(decision.Replicas-target.Replicas+queue.unseen, queue.lacking))
	e.GPUs.Type = room.Type
	perPod := int64(max(1, math.Ceil(e.GPUs.PerPod)))

	wants := claim{running: target.Replicas, acts: acts(policy) && conflict != True, stands: policy.Status.ManualOverride != nil}
	wants.Share = scaling.Share{Name: policy.Name, GPUs: perPod, Held: max(target.Replicas, e.Min), Wanted: decision.Replicas}
	if b := policy.Spec.ReplicaBudget; b != nil {
		wants.maxGPUs = int64(b.MaxGPUs)
	}
	members := func() []types.UID { return r.members(ctx, policy) }
	if ceiling, ok := r.budgets.ceiling(policy, wants, members, e.At); ok {
		if under := decision.Under(ceiling, target.Replicas, e.Min); under.Replicas < decision.Replicas {
			e.Shortage = Note{string(ceiling.Limit), fmt.Sprintf("%d replicas are wanted: %s", decision.Replicas, ceiling.Why)}
			decision = under
		}
	}
	if room.Known && decision.Reason != scaling.Disabled && decision.Reason != scaling.InvalidPolicy {
		r.limitToRoom(policy, target, queue, room, e, &decision)
	}
	e.Decision = &decision
}

// queue is how far a target's replicas have come.
type queue struct {
	placed  int32 // have a node
	waiting int32 // have none
	lacking int32 // of those, for want of GPUs
	unseen  int32 // of those, are asked for and no pod yet
}

func queueOf(target Target) (q queue) {
	q.unseen = target.Replicas
	for _, pod := range target.Pods {
		if pod.State == scaling.Gone {
			continue
		}
		q.unseen--
		switch {
		case pod.Node != "":
			q.placed++
		case pod.LacksGPUs:
			q.lacking++
		}
	}
	q.unseen, q.waiting = max(0, q.unseen), max(0, target.Replicas-q.placed)
	return q
}

// limitToRoom tells when more replicas are wanted than have a node or could get one now, and cuts those that would be too many to wait.
func (r *Reconciler) limitToRoom(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, target Target, q queue, room Room, e *Evaluation, d *scaling.Decision) {
	wanted := d.Replicas
	if short := q.lacking + max(0, wanted-target.Replicas+q.unseen-room.Pods); short == 0 || wanted <= q.placed {
		return
	}
	message := fmt.Sprintf("%d replicas are wanted and %d have a node: %.4g more GPUs of type %s are wanted, %d are free, which is room for %d replicas",
		wanted, q.placed, float64(wanted-q.placed)*e.GPUs.PerPod, room.Type, room.FreeGPUs, room.Pods)
	if q.lacking > 0 {
		message += fmt.Sprintf("; %d pods wait for a GPU", q.lacking)
	}
	e.Shortage = Note{string(scaling.NoFreeGPUs), message}
	if most := policy.Spec.MaxPendingReplicas; most != nil {
		*d = d.Under(scaling.Ceiling{
			Replicas: target.Replicas + max(0, room.Pods-q.lacking-q.unseen) + max(0, *most-q.waiting), Limit: scaling.NoFreeGPUs,
			Why: fmt.Sprintf("there is room for %d more and %d wait already, of at most %d (maxPendingReplicas)", room.Pods, q.waiting, *most),
		}, target.Replicas, e.Min)
	}
}

// nodeOf is the node of a pod that has one, the same as long as that pod is there.
func nodeOf(pods []Pod) string {
	for _, pod := range pods {
		if pod.Node != "" && pod.State != scaling.Gone {
			return pod.Node
		}
	}
	return ""
}

// tellShortage records that GPUs or a budget are short when that begins.
func (r *Reconciler) tellShortage(before, after *v1alpha1.AdvancedHorizontalPodAutoscaler) {
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionScalingLimited)
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionScalingLimited)
	if is == nil || was != nil && was.Reason == is.Reason {
		return
	}
	switch scaling.LimitReason(is.Reason) {
	case scaling.NoFreeGPUs, scaling.BudgetExceeded:
		r.Events.Eventf(after, nil, corev1.EventTypeWarning, is.Reason, "Evaluate", "%s", is.Message)
	}
}
