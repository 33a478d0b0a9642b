package v1alpha1

import (
	"errors"
	"fmt"
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
	if s.ScaleStrategy != StrategyObserver && s.ScaleStrategy != StrategyAuto {
		wrong("scaleStrategy", string(s.ScaleStrategy), "%s or %s", StrategyObserver, StrategyAuto)
	}
	for field, value := range map[string]string{
		"apiVersion": s.ScaleTargetRef.APIVersion, "kind": s.ScaleTargetRef.Kind, "name": s.ScaleTargetRef.Name,
	} {
		if value == "" {
			wrong("scaleTargetRef."+field, value, "given")
		}
	}
	if len(s.Metrics) != 1 {
		wrong("metrics", len(s.Metrics), "a list of exactly one metric")
	}
	for i, m := range s.Metrics {
		at := fmt.Sprintf("metrics[%d].", i)
		if m.Type != MetricSourceResource {
			wrong(at+"type", string(m.Type), "%s", MetricSourceResource)
		}
		if m.Resource.Name != ResourceGPU {
			wrong(at+"resource.name", string(m.Resource.Name), "%s", ResourceGPU)
		}
		if m.Resource.Target.Type != UtilizationTarget {
			wrong(at+"resource.target.type", string(m.Resource.Target.Type), "%s", UtilizationTarget)
		}
		between(at+"resource.target.averageUtilization", &m.Resource.Target.AverageUtilization, 1, 100)
	}
	if s.MinReplicas == nil || *s.MinReplicas < 1 {
		between("minReplicas", s.MinReplicas, 1, 1<<31-1)
	} else if s.MaxReplicas < *s.MinReplicas {
		wrong("maxReplicas", s.MaxReplicas, "minReplicas (%d) or more", *s.MinReplicas)
	}
	between("stabilizationWindowSeconds", s.StabilizationWindowSeconds, 0, 3600)
	between("prediction.quantile", s.Prediction.Quantile, 1, 99)
	between("prediction.scaleUpForward", s.Prediction.ScaleUpForward, 0, 3600)
	if _, err := s.Prediction.Location(); err != nil {
		errs = append(errs, err)
	}
	if n := len(s.Prediction.Days); n > 100 {
		wrong("prediction.days", n, "a list of at most 100 days")
	}
	dates := map[string]bool{}
	for i, day := range s.Prediction.Days {
		if _, _, err := s.Prediction.Day(i); err != nil {
			errs = append(errs, err)
		}
		if dates[day.Date] {
			wrong(fmt.Sprintf("prediction.days[%d].date", i), day.Date, "another day than those before it")
		}
		dates[day.Date] = true
	}
	return errors.Join(errs...)
}
