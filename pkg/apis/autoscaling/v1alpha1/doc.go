// Package v1alpha1 is the policy users write: an AdvancedHorizontalPodAutoscaler says which workload to scale, on what, and
// within which bounds; its status says what was seen, what was forecast and what was decided.
//
//	kubectl get ahpa
//
// It takes its shape from the resource of the same name that Alibaba Cloud documents for AHPA, so a manifest written for that
// one needs another apiVersion line and nothing else, as far as the fields below go. Fields of it that are not below
// are not acted upon and not stored: an API server that validates strictly (kubectl apply's default) refuses
// the manifest and names the field; one that only warns prunes the field and says so.
//
// +kubebuilder:object:generate=true
// +groupName=autoscaling.foretide.dev
package v1alpha1
