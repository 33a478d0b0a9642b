package scaling

import "fmt"

// Limits from outside the policy.
const (
	NoFreeGPUs     LimitReason = "NoFreeGPUs"     // cut to what the cluster has GPUs for
	BudgetExceeded LimitReason = "BudgetExceeded" // cut to what a budget leaves
)

// Ceiling is how many replicas something outside the policy leaves room for.
type Ceiling struct {
	Replicas int32
	Limit    LimitReason
	Why      string // in words, to follow "because"
}

// Under holds a decision's growth to a ceiling. A ceiling evicts nothing: replicas that there are stay, and so does minReplicas.
func (d Decision) Under(c Ceiling, current, minReplicas int32) Decision {
	most := max(c.Replicas, min(current, d.Replicas), min(minReplicas, d.Replicas))
	if d.Replicas <= most {
		return d
	}
	d.Replicas, d.Limited = most, c.Limit
	d.Message += fmt.Sprintf("; held to %d, because %s", most, c.Why)
	return d
}
