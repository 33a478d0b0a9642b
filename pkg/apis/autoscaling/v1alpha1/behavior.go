package v1alpha1

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Behavior says how replicas move in each direction. Its fields, defaults and meaning are those of autoscaling/v2.
type Behavior struct {
	// How replicas are added. By default by 4 or by 100 %, whichever is more, within 15 seconds, without a stabilization window.
	// +optional
	ScaleUp *ScalingRules `json:"scaleUp,omitempty"`

	// How replicas are removed. By default all that are too many, after spec.stabilizationWindowSeconds.
	// +optional
	ScaleDown *ScalingRules `json:"scaleDown,omitempty"`
}

// ScalingRules say how readily and how fast replicas move in one direction. What is left out has its default.
type ScalingRules struct {
	// For how long, in seconds, is looked back: 0 to 3600. Replicas are removed only to the largest, and added only to the
	// smallest recommendation of that long. Default: 0 up, spec.stabilizationWindowSeconds down.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3600
	// +optional
	StabilizationWindowSeconds *int32 `json:"stabilizationWindowSeconds,omitempty"`

	// Which of several policies counts: `Max` (default), the one that allows the larger change; `Min`, the smaller;
	// `Disabled`: no change in this direction.
	// +optional
	SelectPolicy SelectPolicy `json:"selectPolicy,omitempty"`

	// The most that replicas may change. Changes made by others count too. Default: up by 4 or by 100 %, down by 100 %, within
	// 15 seconds.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	// +optional
	Policies []ScalingPolicy `json:"policies,omitempty"`

	// By how much a metric may be off its target in this direction before anything moves, as a share of the target: 0 to 1,
	// default 0.1.
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('0')) >= 0 && quantity(string(self)).compareTo(quantity('1')) <= 0",message="must be from 0 to 1"
	// +optional
	Tolerance *resource.Quantity `json:"tolerance,omitempty"`
}

// SelectPolicy chooses among the policies of a direction.
//
// +kubebuilder:validation:Enum=Max;Min;Disabled
type SelectPolicy string

// What can be selected.
const (
	SelectMax      SelectPolicy = "Max"
	SelectMin      SelectPolicy = "Min"
	SelectDisabled SelectPolicy = "Disabled"
)

// ScalingPolicyType is what a policy counts.
//
// +kubebuilder:validation:Enum=Pods;Percent
type ScalingPolicyType string

// What can be counted.
const (
	PodsPolicy    ScalingPolicyType = "Pods"
	PercentPolicy ScalingPolicyType = "Percent"
)

// ScalingPolicy is the most that replicas may change within a period.
type ScalingPolicy struct {
	// What value counts: `Pods`, or `Percent` of the replicas at the beginning of the period.
	// +required
	Type ScalingPolicyType `json:"type"`

	// How many: 1 or more.
	// +kubebuilder:validation:Minimum=1
	// +required
	Value int32 `json:"value"`

	// The period in seconds: 1 to 1800.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1800
	// +required
	PeriodSeconds int32 `json:"periodSeconds"`
}

// validate names what is wrong with the rules of a direction; nil rules are the defaults.
func (r *ScalingRules) validate(path string, wrong func(field string, value any, allowed string, args ...any)) {
	if r == nil {
		return
	}
	if s := r.StabilizationWindowSeconds; s != nil && (*s < 0 || *s > 3600) {
		wrong(path+"stabilizationWindowSeconds", *s, "0 to 3600")
	}
	switch r.SelectPolicy {
	case "", SelectMax, SelectMin, SelectDisabled:
	default:
		wrong(path+"selectPolicy", string(r.SelectPolicy), "Max, Min or Disabled")
	}
	if r.Tolerance != nil && (r.Tolerance.Sign() < 0 || r.Tolerance.Cmp(resource.MustParse("1")) > 0) {
		wrong(path+"tolerance", r.Tolerance.String(), "0 to 1")
	}
	for i, p := range r.Policies {
		at := fmt.Sprintf("%spolicies[%d].", path, i)
		if p.Type != PodsPolicy && p.Type != PercentPolicy {
			wrong(at+"type", string(p.Type), "Pods or Percent")
		}
		if p.Value < 1 {
			wrong(at+"value", p.Value, "1 to %d", 1<<31-1)
		}
		if p.PeriodSeconds < 1 || p.PeriodSeconds > 1800 {
			wrong(at+"periodSeconds", p.PeriodSeconds, "1 to 1800")
		}
	}
}
