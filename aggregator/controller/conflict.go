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

// rival says what else scales a policy's target, "" when nothing does: two that scale one target fight without end.
func (r *Reconciler) rival(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler) (string, error) {
	older, err := r.olderPolicy(ctx, policy)
	if err != nil {
		return "", err
	}
	if older != "" {
		return fmt.Sprintf("policy %q is older and scales the same target: this one scales nothing", older), nil
	}
	return r.foreign(ctx, policy)
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
func (r *Reconciler) foreign(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler) (string, error) {
	var others autoscalingv2.HorizontalPodAutoscalerList
	if err := r.listOnTarget(ctx, policy, &others); err != nil {
		return "", err
	}
	for i := range others.Items {
		other := &others.Items[i]
		if !other.DeletionTimestamp.IsZero() {
			continue
		}
		who := fmt.Sprintf("HorizontalPodAutoscaler %q", other.Name)
		if owner := metav1.GetControllerOf(other); owner != nil {
			who = fmt.Sprintf("%s %q (through HorizontalPodAutoscaler %q)", owner.Kind, owner.Name, other.Name)
		}
		return who + " scales the same target: this policy scales nothing until that is deleted", nil
	}
	return "", nil
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
