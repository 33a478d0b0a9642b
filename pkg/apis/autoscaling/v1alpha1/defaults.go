package v1alpha1

import "k8s.io/apimachinery/pkg/util/intstr"

// What the API server fills in, for readers that get a policy from elsewhere. The CRD's schema carries the same numbers.
const (
	DefaultMinReplicas                int32    = 1
	DefaultStabilizationWindowSeconds int32    = 300
	DefaultQuantile                   Quantile = 80
	DefaultScaleUpForward             int32    = 180
	DefaultProvisioningSeconds        int32    = 300
	DefaultTimeZone                            = "UTC"
	DefaultCalendarKey                         = "calendar.ics"
)

// Auto is the scaleUpForward that is measured.
const Auto = "auto"

// Default fills the fields that were left out with the defaults of the schema.
func (s *AdvancedHorizontalPodAutoscalerSpec) Default() {
	if s.ScaleStrategy == "" {
		s.ScaleStrategy = StrategyObserver
	}
	fill(&s.MinReplicas, DefaultMinReplicas)
	fill(&s.StabilizationWindowSeconds, DefaultStabilizationWindowSeconds)
	if s.Prediction.Quantile == nil {
		s.Prediction.Quantile = new(DefaultQuantile)
	}
	for i := range s.Metrics {
		if s.Metrics[i].Forecast == nil {
			s.Metrics[i].Forecast = new(true)
		}
	}
	if s.Prediction.ScaleUpForward == nil {
		s.Prediction.ScaleUpForward = new(intstr.FromInt32(DefaultScaleUpForward))
	}
	if s.Placeholders != nil {
		fill(&s.Placeholders.ProvisioningSeconds, DefaultProvisioningSeconds)
	}
	if s.TimeZone == "" {
		s.TimeZone = DefaultTimeZone
	}
	for i := range s.Prediction.Calendars {
		if c := &s.Prediction.Calendars[i]; c.Key == "" {
			c.Key = DefaultCalendarKey
		}
	}
}

func fill(field **int32, value int32) {
	if *field == nil {
		*field = &value
	}
}
