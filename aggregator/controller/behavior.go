package controller

import (
	"time"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// rules are a policy as it was last read.
type rules struct {
	generation int64
	policy     scaling.Policy
	bounds     bounds
	wrong      string // what of the bounds could not be read
	next       nextChange
}

// of returns what a policy wants now for so many current replicas, with the bounds of the moment. While something of the bounds could
// not be read, nothing is removed, not even what is above them: there may be replicas that a window asks for.
func (r *rules) of(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, current int32, now time.Time, lead time.Duration) scaling.Policy {
	if r.generation == 0 || r.generation != policy.Generation {
		*r = rules{generation: policy.Generation, policy: scalingPolicy(policy.Spec)}
		if r.bounds, r.wrong = newBounds(&policy.Spec); r.wrong != "" {
			r.policy.Down.Select = scaling.SelectDisabled
		}
	}
	p := r.policy
	p.MinReplicas, p.MaxReplicas = r.bounds.ahead(now, lead)
	if r.wrong != "" {
		p.MaxReplicas = max(p.MaxReplicas, current)
	}
	return p
}

// scalingPolicy is a policy as the decision knows it, but for its bounds.
func scalingPolicy(spec v1alpha1.AdvancedHorizontalPodAutoscalerSpec) scaling.Policy {
	p := scaling.Policy{Up: scaling.DefaultUp(), Down: scaling.DefaultDown()}
	p.Down.Stabilization = seconds(*spec.StabilizationWindowSeconds)
	if b := spec.Behavior; b != nil {
		p.Up, p.Down = changed(p.Up, b.ScaleUp), changed(p.Down, b.ScaleDown)
	}
	switch spec.ScaleStrategy {
	case v1alpha1.StrategyScalingUpOnly:
		p.Down.Select = scaling.SelectDisabled
	case v1alpha1.StrategyProactive:
		p.Only = scaling.ProactiveHalf
	case v1alpha1.StrategyReactive:
		p.Only = scaling.ReactiveHalf
	}
	return p
}

// changed are rules with what is given of them in the policy.
func changed(rules scaling.Rules, given *v1alpha1.ScalingRules) scaling.Rules {
	if given == nil {
		return rules
	}
	if s := given.StabilizationWindowSeconds; s != nil {
		rules.Stabilization = seconds(*s)
	}
	if given.Tolerance != nil {
		rules.Tolerance = given.Tolerance.AsApproximateFloat64()
	}
	rules.Select = scaling.Select(given.SelectPolicy)
	if len(given.Policies) > 0 { // a list of none is one that was left out
		rules.Limits = nil
	}
	for _, l := range given.Policies {
		rules.Limits = append(rules.Limits, scaling.Limit{Percent: l.Type == v1alpha1.PercentPolicy, Value: l.Value, Period: seconds(l.PeriodSeconds)})
	}
	return rules
}
