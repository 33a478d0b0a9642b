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
}

// of returns what a policy wants now: its bounds are those of the moment. The error names what is wrong with it, where the API
// server's schema could not.
func (r *rules) of(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, now time.Time, lead time.Duration) (scaling.Policy, error) {
	if r.generation == 0 || r.generation != policy.Generation {
		if err := policy.Spec.Validate(); err != nil {
			return scaling.Policy{}, err
		}
		bounds, err := newBounds(policy.Spec)
		if err != nil {
			return scaling.Policy{}, err
		}
		*r = rules{policy.Generation, scalingPolicy(policy.Spec), bounds}
	}
	p := r.policy
	p.MinReplicas, p.MaxReplicas = r.bounds.ahead(now, lead)
	return p, nil
}

// scalingPolicy is a policy as the decision knows it, but for its bounds.
func scalingPolicy(spec v1alpha1.AdvancedHorizontalPodAutoscalerSpec) scaling.Policy {
	p := scaling.Policy{TargetPercent: targetPercent(spec), Up: scaling.DefaultUp(), Down: scaling.DefaultDown()}
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
	if given.Policies != nil {
		rules.Limits = nil
	}
	for _, l := range given.Policies {
		rules.Limits = append(rules.Limits, scaling.Limit{Percent: l.Type == v1alpha1.PercentPolicy, Value: l.Value, Period: seconds(l.PeriodSeconds)})
	}
	return rules
}
