package v1alpha1

import "regexp"

// Limits of the fields about capacity.
const (
	mostPending          = 100_000
	mostBudget           = 1_000_000
	leastProvisioning    = 30
	mostProvisioning     = 3600
	budgetNamePattern    = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	longestBudgetName    = 63
	placeholderName      = "-placeholder"
	longestPlaceholder   = 253
	longestPlaceholdered = longestPlaceholder - len(placeholderName)
)

var budgetName = regexp.MustCompile(budgetNamePattern)

// ReplicaBudget is a policy's part in a cap on GPUs that it has together with others.
type ReplicaBudget struct {
	// The budget: all policies of the namespace that name it share it. A DNS label of up to 63 characters, such as `inference`.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +required
	Name string `json:"name"`

	// How many GPUs the replicas of all its policies may hold together: 1 to 1000000. Where policies name different numbers, the
	// smallest counts.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	// +required
	MaxGPUs int32 `json:"maxGPUs"`
}

// Placeholders are pods of a low priority that hold nodes for replicas to come.
type Placeholders struct {
	// How long, in seconds, a new node takes from being asked for until pods run on it: 30 to 3600, default 300. Placeholders are
	// there for what is forecast so long after the lead time (prediction.scaleUpForward), and stay that long after it is forecast no more.
	// +kubebuilder:default=300
	// +kubebuilder:validation:Minimum=30
	// +kubebuilder:validation:Maximum=3600
	// +optional
	ProvisioningSeconds *int32 `json:"provisioningSeconds,omitempty"`
}

// LabelPlaceholder is on placeholder pods, with the policy's UID. They are no workload, and their load is no demand.
const LabelPlaceholder = "autoscaling.foretide.dev/placeholder"

// PlaceholderName is the name of the Deployment of a policy's placeholders; "" where the policy's name is too long for one.
func PlaceholderName(policy string) string {
	if len(policy) > longestPlaceholdered {
		return ""
	}
	return policy + placeholderName
}

// validateCapacity says what is wrong with the fields about capacity.
func (s *AdvancedHorizontalPodAutoscalerSpec) validateCapacity(wrong func(field string, value any, allowed string, args ...any)) {
	if n := s.MaxPendingReplicas; n != nil && (*n < 0 || *n > mostPending) {
		wrong("maxPendingReplicas", *n, "0 to %d", mostPending)
	}
	if b := s.ReplicaBudget; b != nil {
		if len(b.Name) > longestBudgetName || !budgetName.MatchString(b.Name) {
			wrong("replicaBudget.name", b.Name, "a DNS label of 1 to %d lower-case letters, digits and '-'", longestBudgetName)
		}
		if b.MaxGPUs < 1 || b.MaxGPUs > mostBudget {
			wrong("replicaBudget.maxGPUs", b.MaxGPUs, "1 to %d", mostBudget)
		}
	}
	if p := s.Placeholders; p != nil {
		if n := p.ProvisioningSeconds; n == nil || *n < leastProvisioning || *n > mostProvisioning {
			value := any(nil)
			if n != nil {
				value = *n
			}
			wrong("placeholders.provisioningSeconds", value, "%d to %d", leastProvisioning, mostProvisioning)
		}
	}
}
