package v1alpha1

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// Validate says what is wrong with a policy that did not pass an API server, such as one from a file: each wrong field by its
// path, its value and what is allowed. The rules are those of the CRD's schema, and the time zone
// must be known. Call Default first.
func (s *AdvancedHorizontalPodAutoscalerSpec) Validate() error {
	var errs []error
	wrong := func(field string, value any, allowed string, args ...any) {
		errs = append(errs, fmt.Errorf("spec.%s is %#v: it must be %s", field, value, fmt.Sprintf(allowed, args...)))
	}
	between := func(field string, value *int32, low, high int32) {
		switch {
		case value == nil:
			wrong(field, nil, "given")
		case *value < low || *value > high:
			wrong(field, *value, "%d to %d", low, high)
		}
	}
	if !slices.Contains(strategies, s.ScaleStrategy) {
		wrong("scaleStrategy", string(s.ScaleStrategy), "observer, auto, scalingUpOnly, proactive or reactive")
	}
	for field, value := range map[string]string{
		"apiVersion": s.ScaleTargetRef.APIVersion, "kind": s.ScaleTargetRef.Kind, "name": s.ScaleTargetRef.Name,
	} {
		if value == "" {
			wrong("scaleTargetRef."+field, value, "given")
		}
	}
	if n := len(s.Metrics); n < 1 || n > 10 {
		wrong("metrics", n, "a list of 1 to 10 metrics")
	}
	for i, m := range s.Metrics {
		m.validate(fmt.Sprintf("metrics[%d].", i), wrong)
	}
	if s.MinReplicas == nil || *s.MinReplicas < 1 {
		between("minReplicas", s.MinReplicas, 1, 1<<31-1)
	} else if s.MaxReplicas < *s.MinReplicas {
		wrong("maxReplicas", s.MaxReplicas, "minReplicas (%d) or more", *s.MinReplicas)
	}
	between("stabilizationWindowSeconds", s.StabilizationWindowSeconds, 0, 3600)
	if q := s.Prediction.Quantile; q == nil || !q.valid() {
		wrong("prediction.quantile", shown(q), "1 to 99 (percent) or 0.01 to 0.99")
	}
	if s.Prediction.ScaleDownForward != nil {
		between("prediction.scaleDownForward", s.Prediction.ScaleDownForward, 0, 3600)
	}
	errs = append(errs, s.Prediction.validate()...)
	if _, err := s.Location(); err != nil {
		errs = append(errs, err)
	}
	for i, b := range s.InstanceBounds {
		b.validate(fmt.Sprintf("instanceBounds[%d].", i), wrong)
	}
	s.validateCapacity(wrong)
	if s.Behavior != nil {
		for direction, rules := range map[string]*ScalingRules{"scaleUp": s.Behavior.ScaleUp, "scaleDown": s.Behavior.ScaleDown} {
			rules.validate("behavior."+direction+".", wrong)
		}
	}
	return errors.Join(errs...)
}

// validate returns what is wrong with it but for the quantile.
func (p Prediction) validate() (errs []error) {
	if lead := p.ScaleUpForward; lead == nil || lead.Type == intstr.String && lead.StrVal != Auto || lead.Type == intstr.Int && (lead.IntVal < 0 || lead.IntVal > 3600) {
		errs = append(errs, fmt.Errorf("spec.prediction.scaleUpForward is %q: it must be 0 to 3600, or %s", lead, Auto))
	}
	if n := len(p.Days); n > 100 {
		errs = append(errs, fmt.Errorf("spec.prediction.days is %d: it must be a list of at most 100 days", n))
	}
	dates := map[string]bool{}
	for i, day := range p.Days {
		if _, err := p.Day(i); err != nil {
			errs = append(errs, err)
		}
		if dates[day.Date] {
			errs = append(errs, fmt.Errorf("spec.prediction.days[%d].date is %q: it must be another day than those before it", i, day.Date))
		}
		dates[day.Date] = true
	}
	if n := len(p.Calendars); n > 10 {
		errs = append(errs, fmt.Errorf("spec.prediction.calendars is %d: it must be a list of at most 10 calendars", n))
	}
	for i := range p.Calendars {
		if err := p.Calendar(i); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
