package controller

import (
	"context"
	"fmt"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// targetIndex is the cache index of autoscalers, ours and others, by what they scale.
const targetIndex = "scaleTarget"

func indexTarget(object client.Object) []string {
	switch o := object.(type) {
	case *v1alpha1.AdvancedHorizontalPodAutoscaler:
		ref := o.Spec.ScaleTargetRef
		return []string{targetKey(ref.APIVersion, ref.Kind, ref.Name)}
	case *autoscalingv2.HorizontalPodAutoscaler:
		ref := o.Spec.ScaleTargetRef
		return []string{targetKey(ref.APIVersion, ref.Kind, ref.Name)}
	}
	return nil
}

// targetKey names a target without the version, which is a hint.
func targetKey(apiVersion, kind, name string) string {
	group, _, found := strings.Cut(apiVersion, "/")
	if !found {
		group = ""
	}
	return group + "/" + kind + "/" + name
}

// noRival is the condition TargetConflict of a policy that is alone.
var noRival = stated{False, Note{"NoRival", "nothing else scales the target"}}

// conflict says whether something else scales a policy's target: two that scale one target fight without end. It also takes over
// or hands back what the policy is to.
//
//	nothing else                                    False    NoRival
//	taken over / to be, once the policy acts        False    TakenOver / ToBeTakenOver
//	being taken over, at the next look it is        Unknown  TakingOver
//	an older policy that acts                       True     OlderPolicy
//	a HorizontalPodAutoscaler, or KEDA through one  True     HorizontalPodAutoscaler, ScaledObject
//	one that cannot be taken over, or was changed   True     TakeoverFailed, TakeoverUndone
//	someone who sets replicas back again and again  True     ReplicasFought (override.go)
//	Knative, which scales the target itself         True     Knative (apply)
func (r *Reconciler) conflict(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler) stated {
	older, err := r.olderPolicy(ctx, policy)
	if err != nil {
		return stated{Unknown, Note{"FailedListAutoscalers", err.Error()}}
	}
	var others autoscalingv2.HorizontalPodAutoscalerList
	if err := r.listOnTarget(ctx, policy, &others); err != nil {
		return stated{Unknown, Note{"FailedListAutoscalers", err.Error()}}
	}
	holds := acts(policy) && older == ""
	if err := r.handBack(ctx, policy, keeps(policy, others.Items, holds)); err != nil {
		return stated{Unknown, Note{"FailedHandBack", err.Error()}}
	}
	if older != "" {
		return stated{True, Note{"OlderPolicy", fmt.Sprintf("policy %q is older and scales the same target: %s", older, consequence(policy, "acts"))}}
	}
	return r.foreign(ctx, policy, others.Items, holds)
}

// acts reports whether a policy's decisions are applied.
func acts(policy *v1alpha1.AdvancedHorizontalPodAutoscaler) bool {
	return policy.Spec.ScaleStrategy.Acts() && !policy.Spec.Paused && policy.DeletionTimestamp.IsZero()
}

// consequence is what a conflict means for a policy for as long as the other does what is said.
func consequence(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, does string) string {
	if acts(policy) {
		return "this policy scales nothing as long as that " + does
	}
	return "this policy would scale nothing if it acted"
}

// listOnTarget lists the autoscalers of a kind that scale a policy's target.
func (r *Reconciler) listOnTarget(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, list client.ObjectList) error {
	ref := policy.Spec.ScaleTargetRef
	err := r.Client.List(ctx, list, client.InNamespace(policy.Namespace), client.MatchingFields{targetIndex: targetKey(ref.APIVersion, ref.Kind, ref.Name)})
	if err != nil {
		return fmt.Errorf("list what scales %s %s: %w", ref.Kind, ref.Name, err)
	}
	return nil
}

// foreign says which HorizontalPodAutoscaler scales a policy's target; a KEDA ScaledObject scales through one of its own.
func (r *Reconciler) foreign(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, others []autoscalingv2.HorizontalPodAutoscaler, holds bool) stated {
	wanted := policy.Annotations[v1alpha1.TakeoverAnnotation]
	var named *autoscalingv2.HorizontalPodAutoscaler
	for i := range others {
		other := &others[i]
		switch owner := metav1.GetControllerOf(other); {
		case !other.DeletionTimestamp.IsZero():
		case owner != nil && owner.Kind == "ScaledObject":
			return stated{True, Note{owner.Kind, fmt.Sprintf("ScaledObject %q (through HorizontalPodAutoscaler %q) scales the same target: %s; "+
				"its annotation autoscaling.keda.sh/paused=true takes the HorizontalPodAutoscaler away", owner.Name, other.Name, consequence(policy, "exists"))}}
		case owner != nil:
			return stated{True, Note{"HorizontalPodAutoscaler", fmt.Sprintf("%s %q (through HorizontalPodAutoscaler %q) scales the same target: %s",
				owner.Kind, owner.Name, other.Name, consequence(policy, "exists"))}}
		case other.Name != wanted:
			return stated{True, Note{"HorizontalPodAutoscaler", fmt.Sprintf("HorizontalPodAutoscaler %q scales the same target: %s; "+
				"the annotation %s=%s would take it over", other.Name, consequence(policy, "exists"), v1alpha1.TakeoverAnnotation, other.Name)}}
		default:
			named = other
		}
	}
	switch { // where nothing else is in the way
	case named == nil:
		return noRival
	case !holds:
		return stated{False, Note{"ToBeTakenOver", fmt.Sprintf("HorizontalPodAutoscaler %q scales the target; it is taken over as soon as the policy acts", named.Name)}}
	}
	return r.takeOver(ctx, policy, named)
}

// olderPolicy returns the name of the policy that scales this one's target in its place: the oldest that acts, by
// creation time, then by name. Empty when this one is it. A policy that only observes is in nobody's way; one that is paused keeps its target.
func (r *Reconciler) olderPolicy(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler) (string, error) {
	var rivals v1alpha1.AdvancedHorizontalPodAutoscalerList
	if err := r.listOnTarget(ctx, policy, &rivals); err != nil {
		return "", err
	}
	oldest := policy
	for i := range rivals.Items {
		rival := &rivals.Items[i]
		if !rival.Spec.ScaleStrategy.Acts() || !rival.DeletionTimestamp.IsZero() {
			continue
		}
		if older(rival, oldest) {
			oldest = rival
		}
	}
	if oldest.Name == policy.Name {
		return "", nil
	}
	return oldest.Name, nil
}

func older(a, b *v1alpha1.AdvancedHorizontalPodAutoscaler) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Name < b.Name
}
