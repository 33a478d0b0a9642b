package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// What a policy and a HorizontalPodAutoscaler that it takes over are marked with.
const (
	// TakeoverAnnotation on a policy names the HorizontalPodAutoscaler, in its namespace and on its target, that it takes over while it
	// acts. Taken away, or with the policy paused, deleted or back to observer, the HorizontalPodAutoscaler is handed back.
	TakeoverAnnotation = "autoscaling.foretide.dev/takeover-hpa"
	// TakenOverByAnnotation on a HorizontalPodAutoscaler names the policy that took it over: it scales nothing as long.
	TakenOverByAnnotation = "autoscaling.foretide.dev/taken-over-by"
	// OriginalSpecAnnotation on a HorizontalPodAutoscaler that is taken over is its spec of before, as JSON.
	OriginalSpecAnnotation = "autoscaling.foretide.dev/original-spec"
	// TakeoverFinalizer on a policy keeps it until what it took over is handed back.
	TakeoverFinalizer = "autoscaling.foretide.dev/takeover"
)

// ManualOverrideStatus is a count of replicas that someone else set and that stands for now.
type ManualOverrideStatus struct {
	// The replicas that were set.
	Replicas int32 `json:"replicas"`
	// What was decided then. As long as the same is decided, nothing is set.
	DecidedReplicas int32 `json:"decidedReplicas"`
	// When it was seen.
	Since metav1.Time `json:"since"`
}
