package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// A HorizontalPodAutoscaler is taken over and handed back with one write each, so that whoever is killed at any point leaves one
// that scales as before, or one that scales nothing and carries its spec of before:
//
//	the policy can decide ─► finalizer on it ─► inert spec, original spec and owner on the HorizontalPodAutoscaler ─► the policy acts
//	original spec back, annotations off ─► finalizer off
//
// Nothing is remembered but there: the next leader, or the same one after a restart, goes on from what it finds.

// takenIndex is the cache index of HorizontalPodAutoscalers by the policy that took them over.
const takenIndex = "takenOverBy"

func indexTaken(object client.Object) []string {
	if by := object.GetAnnotations()[v1alpha1.TakenOverByAnnotation]; by != "" {
		return []string{by}
	}
	return nil
}

// inert is a spec with which a HorizontalPodAutoscaler sets no replicas: both directions are disabled (autoscaling/v2,
// selectPolicy), and the bounds, which it sets right even then, hold nothing back.
func inert(spec autoscalingv2.HorizontalPodAutoscalerSpec) autoscalingv2.HorizontalPodAutoscalerSpec {
	spec = *spec.DeepCopy()
	if spec.Behavior == nil {
		spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{}
	}
	for _, rules := range []**autoscalingv2.HPAScalingRules{&spec.Behavior.ScaleUp, &spec.Behavior.ScaleDown} {
		if *rules == nil {
			*rules = &autoscalingv2.HPAScalingRules{}
		}
		(*rules).SelectPolicy = new(autoscalingv2.DisabledPolicySelect)
	}
	spec.MinReplicas, spec.MaxReplicas = new(int32(1)), math.MaxInt32
	return spec
}

func isInert(spec autoscalingv2.HorizontalPodAutoscalerSpec) bool {
	return disabled(spec.Behavior) && wideMin(spec) && spec.MaxReplicas == math.MaxInt32
}

func disabled(b *autoscalingv2.HorizontalPodAutoscalerBehavior) bool {
	off := func(rules *autoscalingv2.HPAScalingRules) bool {
		return rules != nil && rules.SelectPolicy != nil && *rules.SelectPolicy == autoscalingv2.DisabledPolicySelect
	}
	return b != nil && off(b.ScaleUp) && off(b.ScaleDown)
}

func wideMin(spec autoscalingv2.HorizontalPodAutoscalerSpec) bool {
	return spec.MinReplicas == nil || *spec.MinReplicas == 1
}

// restored is a spec as it was before it was made inert. What somebody changed meanwhile stays changed; the second result says
// whether something was.
func restored(now, original autoscalingv2.HorizontalPodAutoscalerSpec) (spec autoscalingv2.HorizontalPodAutoscalerSpec, edited bool) {
	spec = *now.DeepCopy()
	edited = !isInert(now)
	if disabled(now.Behavior) {
		spec.Behavior = original.Behavior
	}
	if wideMin(now) {
		spec.MinReplicas = original.MinReplicas
	}
	if now.MaxReplicas == math.MaxInt32 {
		spec.MaxReplicas = original.MaxReplicas
	}
	if spec.MinReplicas != nil { // one bound was changed and does not suit the other
		spec.MaxReplicas = max(spec.MaxReplicas, *spec.MinReplicas)
	}
	return spec, edited
}

// keeps is the HorizontalPodAutoscaler that a policy keeps taken over, "" when none: the one it names, on its target.
func keeps(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, others []autoscalingv2.HorizontalPodAutoscaler, holds bool) string {
	wanted := policy.Annotations[v1alpha1.TakeoverAnnotation]
	for i := range others {
		if holds && others[i].Name == wanted {
			return wanted
		}
	}
	return ""
}

// takeOver makes a HorizontalPodAutoscaler inert, unless it is so already. A policy acts beside it from the next look on.
func (r *Reconciler) takeOver(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, hpa *autoscalingv2.HorizontalPodAutoscaler) stated {
	failed := func(err error) stated {
		if apierrors.IsConflict(err) { // it changed a moment ago
			return stated{Unknown, Note{"TakingOver", fmt.Sprintf("HorizontalPodAutoscaler %q is being taken over", hpa.Name)}}
		}
		why := err.Error()
		if apierrors.IsForbidden(err) {
			why += "; deploy/components/takeover grants what it needs"
		}
		return stated{True, Note{"TakeoverFailed", fmt.Sprintf("HorizontalPodAutoscaler %q scales the same target and cannot be taken over: %s", hpa.Name, why)}}
	}
	switch by := hpa.Annotations[v1alpha1.TakenOverByAnnotation]; {
	case by == policy.Name && isInert(hpa.Spec):
		return stated{False, Note{"TakenOver", fmt.Sprintf("HorizontalPodAutoscaler %q is taken over: it scales nothing until it is handed back", hpa.Name)}}
	case by == policy.Name:
		return stated{True, Note{"TakeoverUndone", fmt.Sprintf("HorizontalPodAutoscaler %q was changed after it was taken over and may scale again, such as by a tool that "+
			"applies its manifest: this policy scales nothing; delete it, or take the annotation %s off the policy and put it on again", hpa.Name, v1alpha1.TakeoverAnnotation)}}
	case by != "":
		return failed(fmt.Errorf("policy %q has taken it over", by))
	case !meta.IsStatusConditionTrue(policy.Status.Conditions, v1alpha1.ConditionScalingActive): // at the last look
		return stated{Unknown, Note{"TakingOver", fmt.Sprintf("HorizontalPodAutoscaler %q is taken over once this policy can decide (ScalingActive)", hpa.Name)}}
	}
	if !controllerutil.ContainsFinalizer(policy, v1alpha1.TakeoverFinalizer) {
		held := policy.DeepCopy()
		controllerutil.AddFinalizer(held, v1alpha1.TakeoverFinalizer)
		if err := r.Client.Patch(ctx, held, lockedPatch(policy)); err != nil {
			return failed(err)
		}
		policy.Finalizers, policy.ResourceVersion = held.Finalizers, held.ResourceVersion
	}
	original, err := json.Marshal(hpa.Spec)
	if err != nil {
		return failed(err)
	}
	taken := hpa.DeepCopy()
	taken.Spec = inert(hpa.Spec)
	metav1.SetMetaDataAnnotation(&taken.ObjectMeta, v1alpha1.OriginalSpecAnnotation, string(original))
	metav1.SetMetaDataAnnotation(&taken.ObjectMeta, v1alpha1.TakenOverByAnnotation, policy.Name)
	if err := r.Client.Patch(ctx, taken, lockedPatch(hpa)); err != nil {
		return failed(err)
	}
	r.Events.Eventf(policy, hpa, corev1.EventTypeNormal, "TookOver", "TakeOver", "HorizontalPodAutoscaler %q scales nothing until it is handed back", hpa.Name)
	r.Logger.Info("took over", "policy", client.ObjectKeyFromObject(policy), "hpa", hpa.Name)
	return stated{Unknown, Note{"TakingOver", fmt.Sprintf("HorizontalPodAutoscaler %q is being taken over", hpa.Name)}}
}

// handBack gives back what a policy has taken over but for one, and takes its finalizer off when nothing is left. What is held is
// asked of the API server itself: a cache may not know yet what was taken over a moment ago.
func (r *Reconciler) handBack(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, keep string) error {
	if !controllerutil.ContainsFinalizer(policy, v1alpha1.TakeoverFinalizer) {
		return nil
	}
	reader, which := r.Live, []client.ListOption{client.InNamespace(policy.Namespace)}
	if keep != "" { // the usual look at a policy that holds what it should
		reader, which = r.Client, append(which, client.MatchingFields{takenIndex: policy.Name})
	}
	var all autoscalingv2.HorizontalPodAutoscalerList
	if err := reader.List(ctx, &all, which...); err != nil {
		return fmt.Errorf("list HorizontalPodAutoscalers: %w", err)
	}
	for i := range all.Items {
		hpa := &all.Items[i]
		if hpa.Annotations[v1alpha1.TakenOverByAnnotation] != policy.Name || hpa.Name == keep {
			continue
		}
		if err := r.handBackOne(ctx, policy, hpa); err != nil {
			return err
		}
	}
	if keep != "" {
		return nil
	}
	free := policy.DeepCopy()
	controllerutil.RemoveFinalizer(free, v1alpha1.TakeoverFinalizer)
	if err := r.Client.Patch(ctx, free, lockedPatch(policy)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("take the finalizer off: %w", err)
	}
	policy.Finalizers, policy.ResourceVersion = free.Finalizers, free.ResourceVersion
	return nil
}

func (r *Reconciler) handBackOne(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, hpa *autoscalingv2.HorizontalPodAutoscaler) error {
	var original autoscalingv2.HorizontalPodAutoscalerSpec
	if err := json.Unmarshal([]byte(hpa.Annotations[v1alpha1.OriginalSpecAnnotation]), &original); err != nil {
		return fmt.Errorf("hand back HorizontalPodAutoscaler %q: its annotation %s is not the spec it had: %w; set its behavior and bounds by hand, "+
			"and take the annotation %s off it", hpa.Name, v1alpha1.OriginalSpecAnnotation, err, v1alpha1.TakenOverByAnnotation)
	}
	back := hpa.DeepCopy()
	edited := false
	back.Spec, edited = restored(hpa.Spec, original)
	delete(back.Annotations, v1alpha1.OriginalSpecAnnotation)
	delete(back.Annotations, v1alpha1.TakenOverByAnnotation)
	if err := r.Client.Patch(ctx, back, lockedPatch(hpa)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("hand back HorizontalPodAutoscaler %q: %w", hpa.Name, err)
	}
	how := "scales as before"
	if edited {
		how = "scales again; it was changed while it was taken over, and what was changed stays"
	}
	r.Events.Eventf(policy, hpa, corev1.EventTypeNormal, "HandedBack", "HandBack", "HorizontalPodAutoscaler %q %s", hpa.Name, how)
	r.Logger.Info("handed back", "policy", client.ObjectKeyFromObject(policy), "hpa", hpa.Name, "edited", edited)
	return nil
}

// lockedPatch is the difference to what was read, and fails when that has changed since.
func lockedPatch(read client.Object) client.Patch {
	return client.MergeFromWithOptions(read.DeepCopyObject().(client.Object), client.MergeFromWithOptimisticLock{})
}
