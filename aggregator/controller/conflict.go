package controller

import (
	"context"
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// targetIndex is the cache index of policies by what they scale.
const targetIndex = "scaleTarget"

func indexTarget(object client.Object) []string {
	policy, ok := object.(*v1alpha1.AdvancedHorizontalPodAutoscaler)
	if !ok {
		return nil
	}
	return []string{targetKey(policy.Spec.ScaleTargetRef)}
}

// targetKey names a target without the version, which is a hint.
func targetKey(ref v1alpha1.ScaleTargetRef) string {
	group, _, found := strings.Cut(ref.APIVersion, "/")
	if !found {
		group = ""
	}
	return group + "/" + ref.Kind + "/" + ref.Name
}

// olderPolicy returns the name of the policy that scales this one's target in its place: the oldest that acts, by
// creation time, then by name. Empty when this one is it. A policy that only observes is in nobody's way; one that is paused keeps its target.
func (r *Reconciler) olderPolicy(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler) (string, error) {
	var rivals v1alpha1.AdvancedHorizontalPodAutoscalerList
	err := r.Client.List(ctx, &rivals, client.InNamespace(policy.Namespace),
		client.MatchingFields{targetIndex: targetKey(policy.Spec.ScaleTargetRef)})
	if err != nil {
		return "", fmt.Errorf("list policies of %s %s: %w", policy.Spec.ScaleTargetRef.Kind, policy.Spec.ScaleTargetRef.Name, err)
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
