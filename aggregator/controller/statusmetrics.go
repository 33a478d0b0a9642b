package controller

import (
	"math"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// metrics are those of an evaluation as the status has them.
func metrics(e Evaluation) []v1alpha1.MetricStatus {
	var out []v1alpha1.MetricStatus
	for i, m := range e.Metrics {
		if i >= len(e.Decision.Metrics) { // an invalid policy is not looked at
			break
		}
		read := e.Decision.Metrics[i]
		s := v1alpha1.MetricStatus{Type: m.Spec.Type, ReactiveReplicas: read.Reactive, ProactiveReplicas: read.Proactive}
		switch current := valueOf(read); {
		case m.Spec.Resource != nil:
			s.Resource = &v1alpha1.ResourceMetricStatus{Name: m.Spec.Resource.Name, Current: current}
		case m.Spec.Pods != nil:
			s.Pods = &v1alpha1.NamedMetricStatus{Name: m.ID, Current: current}
		default:
			s.External = &v1alpha1.NamedMetricStatus{Name: m.ID, Current: current}
		}
		out = append(out, s)
	}
	return out
}

func valueOf(r scaling.Reading) v1alpha1.MetricValueStatus {
	return v1alpha1.MetricValueStatus{AverageUtilization: r.Percent, AverageValue: quantity(r.Average), Value: quantity(r.Value)}
}

// quantity writes a measurement as the API has it: in thousandths, and what is large in whole ones.
func quantity(v *float64) *resource.Quantity {
	switch {
	case v == nil || math.Abs(*v) >= math.MaxInt64/2:
		return nil
	case math.Abs(*v) >= 1e6:
		return resource.NewQuantity(int64(math.Round(*v)), resource.DecimalSI)
	}
	return resource.NewMilliQuantity(int64(math.Round(*v*1000)), resource.DecimalSI)
}
