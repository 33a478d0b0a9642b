package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The names under which the API server knows the policy.
const (
	Group    = "autoscaling.foretide.dev"
	Version  = "v1alpha1"
	Kind     = "AdvancedHorizontalPodAutoscaler"
	Resource = "advancedhorizontalpodautoscalers"
)

// GroupVersion returns autoscaling.foretide.dev/v1alpha1.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: Group, Version: Version}
}

// AddToScheme makes the policy and its list known to a scheme, so that a typed client can read and write them.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion(), &AdvancedHorizontalPodAutoscaler{}, &AdvancedHorizontalPodAutoscalerList{})
	metav1.AddToGroupVersion(scheme, GroupVersion())
	return nil
}
