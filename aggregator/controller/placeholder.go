package controller

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

const (
	// DefaultPlaceholderImage does nothing and is on every node already.
	DefaultPlaceholderImage = "registry.k8s.io/pause:3.10"
	// PlaceholderPriorityClass is that of placeholder pods (deploy/components/placeholders).
	PlaceholderPriorityClass = "foretide-placeholder"
	// placeholderOwner is the field manager.
	placeholderOwner = "foretide-aggregator"
	// reapply is how often what was asked for is asked for again, in case someone has removed it.
	reapply = 10 * time.Minute
)

// placeholders remembers what was asked for, by policy.
type placeholders struct {
	mu sync.Mutex
	of map[types.UID]*held
}

// held is a policy's placeholders.
type held struct {
	// peak is the most replicas that were foretold within the last provisioning time, which is remembered until then.
	peak  int32
	until time.Time

	replicas int32 // that were asked for, of this shape, at this time
	shape    *corev1.PodSpec
	at       time.Time
	trouble  string // that was told
}

func (p *placeholders) get(uid types.UID) *held {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.of[uid]
	if h == nil {
		h = &held{}
		p.of[uid] = h
	}
	return h
}

func (p *placeholders) forget(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.of, uid)
}

// holdNodes keeps as many placeholder pods as the policy is to have, and writes that into its status.
func (r *Reconciler) holdNodes(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, e Evaluation, act action) {
	was := policy.Status.PlaceholderReplicas
	if policy.Spec.Placeholders == nil && was == nil {
		return
	}
	h := r.placeholders.get(policy.UID)
	n, known := h.count(policy, e, act)
	if !known {
		return // as they are
	}
	err := r.setPlaceholders(ctx, policy, e, h, n)
	if err == nil {
		policy.Status.PlaceholderReplicas = nil
		if n > 0 {
			policy.Status.PlaceholderReplicas = &n
		}
		h.trouble = ""
		return
	}
	if trouble := string(apierrors.ReasonForError(err)); trouble != h.trouble || trouble == "" {
		h.trouble = trouble
		message := fmt.Sprintf("placeholder pods cannot be set to %d: %v", n, err)
		if apierrors.IsForbidden(err) {
			message += "; apply deploy/components/placeholders"
		}
		r.Events.Eventf(policy, nil, corev1.EventTypeWarning, "FailedPlaceholders", "Evaluate", "%s", message)
		r.Logger.Warn("placeholder pods cannot be set", "policy", client.ObjectKeyFromObject(policy), "replicas", n, "err", err)
	}
}

// count is how many placeholders there are to be; false when what is there has to do, because nothing is known at the moment.
func (h *held) count(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, e Evaluation, act action) (int32, bool) {
	spec := policy.Spec
	switch {
	case spec.Placeholders == nil || !spec.ScaleStrategy.Acts() || spec.Paused || e.Problem.Reason == "TargetNotFound" || act.note.Reason == "TargetConflict":
		return 0, true
	case e.Decision == nil || act.able != True:
		return 0, false
	case e.Decision.Reason == scaling.Disabled || e.Shortage.Reason == string(scaling.BudgetExceeded):
		return 0, true
	case e.GPUs.Shape == nil || len(e.GPUs.Shape.ResourceClaims) > 0 || !(e.GPUs.PerPod > 0) || e.GPUTarget() < 1:
		return 0, true
	}
	present := max(e.Decision.Replicas, *e.Current)
	provisioning := seconds(*spec.Placeholders.ProvisioningSeconds)
	if gpus := e.gpus(); gpus.Acts && gpus.Forecast != nil {
		f := gpus.Forecast
		peak, ok := f.Peak(e.Quantile, e.At, e.At.Add(e.Lead+provisioning+f.Step))
		if replicas := math.Ceil(peak*100/(float64(e.GPUTarget())*e.GPUs.PerPod) - 1e-9); ok {
			h.foretold(int32(min(replicas, float64(e.Max))), e.At, provisioning)
		}
	} else if !gpus.Lost {
		h.peak = 0
	}
	return max(0, min(h.peak, e.Max)-present), true
}

// foretold takes how many replicas are foretold now. Fewer than before count once the provisioning time has passed: a node that comes
// is not sent away for a moment's doubt.
func (h *held) foretold(replicas int32, now time.Time, provisioning time.Duration) {
	if replicas >= h.peak || !now.Before(h.until) {
		h.peak, h.until = replicas, now.Add(provisioning)
	}
}

// setPlaceholders makes, changes or removes the Deployment when it is not what was asked for last.
func (r *Reconciler) setPlaceholders(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, e Evaluation, h *held, n int32) error {
	name := v1alpha1.PlaceholderName(policy.Name)
	if name == "" {
		return fmt.Errorf("the policy's name is too long for one with %q after it", v1alpha1.PlaceholderName(""))
	}
	if n == 0 {
		if policy.Status.PlaceholderReplicas == nil {
			return nil
		}
		there := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: policy.Namespace, Name: name}}
		if err := r.Client.Delete(ctx, there, client.PropagationPolicy(metav1.DeletePropagationBackground)); client.IgnoreNotFound(err) != nil {
			return err
		}
		h.replicas, h.shape = 0, nil
		return nil
	}
	if h.replicas == n && h.shape == e.GPUs.Shape && e.At.Sub(h.at) < reapply {
		return nil
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(placeholderDeployment(policy, name, e.GPUs.Shape, n, r.PlaceholderImage))
	if err != nil {
		return err
	}
	delete(object, "status")
	// Without force: a Deployment of that name that is someone else's is a conflict, and stays theirs.
	if err := r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(&unstructured.Unstructured{Object: object}), client.FieldOwner(placeholderOwner)); err != nil {
		return err
	}
	h.replicas, h.shape, h.at = n, e.GPUs.Shape, e.At
	return nil
}

// placeholderDeployment asks for n pods that ask of a node what a replica asks of it, do nothing, and give way to any pod.
func placeholderDeployment(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, name string, shape *corev1.PodSpec, n int32, image string) *appsv1.Deployment {
	labels := map[string]string{v1alpha1.LabelPlaceholder: string(policy.UID)}
	pod := shape.DeepCopy()
	pod.Priority, pod.PreemptionPolicy = nil, nil // the class says
	pod.PriorityClassName = PlaceholderPriorityClass
	pod.Overhead = nil // its runtime class says
	pod.TerminationGracePeriodSeconds = new(int64(0))
	pod.AutomountServiceAccountToken, pod.EnableServiceLinks = new(false), new(false)
	pod.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: new(true), RunAsUser: new(int64(65535)), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	requests := pod.Containers[0].Resources.Requests
	limits := corev1.ResourceList{}
	for resource, quantity := range requests { // of extended resources and huge pages both must be the same
		if strings.Contains(string(resource), "/") || strings.HasPrefix(string(resource), corev1.ResourceHugePagesPrefix) {
			limits[resource] = quantity
		}
	}
	pod.Containers[0] = corev1.Container{
		Name: "placeholder", Image: image, Resources: corev1.ResourceRequirements{Requests: requests, Limits: limits},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
	owner := metav1.NewControllerRef(policy, v1alpha1.GroupVersion().WithKind(v1alpha1.Kind))
	owner.BlockOwnerDeletion = nil // needs rights on the policy's finalizers
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: policy.Namespace, Name: name, Labels: labels, OwnerReferences: []metav1.OwnerReference{*owner}},
		Spec: appsv1.DeploymentSpec{
			Replicas: &n, Selector: &metav1.LabelSelector{MatchLabels: labels},
			// A new shape replaces the old at once: nothing is served meanwhile.
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: *pod},
		},
	}
}
