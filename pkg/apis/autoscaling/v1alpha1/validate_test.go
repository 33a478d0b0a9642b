package v1alpha1

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

func valid() AdvancedHorizontalPodAutoscalerSpec {
	s := AdvancedHorizontalPodAutoscalerSpec{
		ScaleTargetRef: ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: "bert"},
		Metrics: []MetricSpec{{
			Type:     MetricSourceResource,
			Resource: &ResourceMetric{Name: ResourceGPU, Target: MetricTarget{Type: UtilizationTarget, AverageUtilization: new(int32(20))}},
		}},
		MaxReplicas: 8,
	}
	s.Default()
	return s
}

func TestDefaultsAreValid(t *testing.T) {
	s := valid()
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	if s.ScaleStrategy != StrategyObserver || *s.MinReplicas != 1 || *s.StabilizationWindowSeconds != 300 ||
		*s.Prediction.Quantile != 80 || s.Prediction.ScaleUpForward.IntVal != 180 || s.TimeZone != "UTC" {
		t.Errorf("defaults: %+v", s)
	}
}

func TestWrongFieldIsNamedWithItsValueAndWhatIsAllowed(t *testing.T) {
	n := func(v int32) *int32 { return &v }
	for name, c := range map[string]struct {
		change func(*AdvancedHorizontalPodAutoscalerSpec)
		want   string
	}{
		"strategy":     {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.ScaleStrategy = "automatic" }, `spec.scaleStrategy is "automatic": it must be observer, auto, scalingUpOnly, proactive or reactive`},
		"target":       {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.ScaleTargetRef.Name = "" }, `spec.scaleTargetRef.name is "": it must be given`},
		"no metric":    {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.Metrics = nil }, `spec.metrics is 0: it must be a list of 1 to 10 metrics`},
		"other metric": {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.Metrics[0].Resource.Name = "qps" }, `spec.metrics[0].resource.name is "qps": it must be one of [gpu gpu-memory gpu-sm-active gpu-tensor-active cpu memory]`},
		"utilization": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.Metrics[0].Resource.Target.AverageUtilization = new(int32(101))
		}, `spec.metrics[0].resource.target.averageUtilization is 101: it must be 1 to 100`},
		"long query": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.Metrics[0] = MetricSpec{Type: MetricSourceExternal, External: &ExternalMetric{
				Query: strings.Repeat("é", 2049), Target: MetricTarget{Type: ValueTarget, Value: new(resource.MustParse("1"))},
			}}
		}, `spec.metrics[0].external.query is 2049: it must be at most 2048 characters`},
		"min":           {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.MinReplicas = n(0) }, `spec.minReplicas is 0: it must be 1 to 2147483647`},
		"max below min": {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.MinReplicas = n(9) }, `spec.maxReplicas is 8: it must be minReplicas (9) or more`},
		"window":        {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.StabilizationWindowSeconds = n(3601) }, `spec.stabilizationWindowSeconds is 3601: it must be 0 to 3600`},
		"quantile":      {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.Prediction.Quantile = new(Quantile(100)) }, `spec.prediction.quantile is 100: it must be 1 to 99 (percent) or 0.01 to 0.99`},
		"lead": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.Prediction.ScaleUpForward = ptr.To(intstr.FromInt32(-1))
		}, `spec.prediction.scaleUpForward is "-1": it must be 0 to 3600, or auto`},
		"lead in words": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.Prediction.ScaleUpForward = ptr.To(intstr.FromString("3m"))
		}, `spec.prediction.scaleUpForward is "3m": it must be 0 to 3600, or auto`},
		"waiting":     {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.MaxPendingReplicas = n(-1) }, `spec.maxPendingReplicas is -1: it must be 0 to 100000`},
		"budget name": {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.ReplicaBudget = &ReplicaBudget{"A", 1} }, `spec.replicaBudget.name is "A": it must be a DNS label of 1 to 63`},
		"budget":      {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.ReplicaBudget = &ReplicaBudget{"a", 0} }, `spec.replicaBudget.maxGPUs is 0: it must be 1 to 1000000`},
		"node's time": {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.Placeholders = &Placeholders{n(29)} }, `spec.placeholders.provisioningSeconds is 29: it must be 30 to 3600`},
		"no time":     {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.Placeholders = &Placeholders{} }, `spec.placeholders.provisioningSeconds is <nil>: it must be 30 to 3600`},
		"time zone":   {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.TimeZone = "Europe/Atlantis" }, `spec.timeZone is "Europe/Atlantis": it must be a name of the IANA`},
		"their time":  {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.TimeZone = "Local" }, `spec.timeZone is "Local": it must be a name of the IANA`},
		"start": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.InstanceBounds = []InstanceBounds{{StartTime: "2026-02-30 00:00:00"}}
		}, `spec.instanceBounds[0].startTime is "2026-02-30 00:00:00": it must be a time as 2006-01-02 15:04:05`},
		"end": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.InstanceBounds = []InstanceBounds{{StartTime: "2026-02-03 00:00:00", EndTime: "2026-02-03 00:00:00"}}
		}, `spec.instanceBounds[0].endTime is "2026-02-03 00:00:00": it must be after startTime (2026-02-03 00:00:00)`},
		"no bounds": {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.InstanceBounds = []InstanceBounds{{}} }, `spec.instanceBounds[0].bounds is 0: it must be a list of at least one`},
		"cron": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.InstanceBounds = []InstanceBounds{{Bounds: []CronBounds{{Cron: "* 22-6 ? * *", MinReplicas: 1, MaxReplicas: 2}}}}
		}, `spec.instanceBounds[0].bounds[0].cron is "* 22-6 ? * *": it must be a cron expression: beginning of range (22)`},
		"bound": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.InstanceBounds = []InstanceBounds{{Bounds: []CronBounds{{Cron: "* * * * *", MinReplicas: 3, MaxReplicas: 2}}}}
		}, `spec.instanceBounds[0].bounds[0].maxReplicas is 2: it must be minReplicas (3) or more`},
		"up window": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.Behavior = &Behavior{ScaleUp: &ScalingRules{StabilizationWindowSeconds: n(3601)}}
		}, `spec.behavior.scaleUp.stabilizationWindowSeconds is 3601: it must be 0 to 3600`},
		"select": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.Behavior = &Behavior{ScaleDown: &ScalingRules{SelectPolicy: "Least"}}
		}, `spec.behavior.scaleDown.selectPolicy is "Least": it must be Max, Min or Disabled`},
		"limit type": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.Behavior = &Behavior{ScaleDown: &ScalingRules{Policies: []ScalingPolicy{{Type: "GPUs", Value: 1, PeriodSeconds: 1}}}}
		}, `spec.behavior.scaleDown.policies[0].type is "GPUs": it must be Pods or Percent`},
		"limit value": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.Behavior = &Behavior{ScaleDown: &ScalingRules{Policies: []ScalingPolicy{{Type: PodsPolicy, PeriodSeconds: 1}}}}
		}, `spec.behavior.scaleDown.policies[0].value is 0: it must be 1 to 2147483647`},
		"limit period": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.Behavior = &Behavior{ScaleDown: &ScalingRules{Policies: []ScalingPolicy{{Type: PercentPolicy, Value: 1, PeriodSeconds: 1801}}}}
		}, `spec.behavior.scaleDown.policies[0].periodSeconds is 1801: it must be 1 to 1800`},
		"tolerance": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.Behavior = &Behavior{ScaleUp: &ScalingRules{Tolerance: ptr.To(resource.MustParse("1.5"))}}
		}, `spec.behavior.scaleUp.tolerance is "1500m": it must be 0 to 1`},
		"no such day": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.Prediction.Days = []SpecialDay{{Date: "2026-02-30", Like: "Sunday"}}
		},
			`spec.prediction.days[0].date is "2026-02-30": it must be a day, such as 2026-12-25`},
		"no weekday": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.Prediction.Days = []SpecialDay{{Date: "2026-12-25", Like: "holiday"}}
		},
			`spec.prediction.days[0].like is "holiday": it must be one of Sunday, Monday, Tuesday, Wednesday, Thursday, Friday, Saturday`},
		"a day twice": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.Prediction.Days = []SpecialDay{{Date: "2026-12-25", Like: "Sunday"}, {Date: "2026-12-25", Like: "Monday"}}
		}, `spec.prediction.days[1].date is "2026-12-25": it must be another day than those before it`},
		"like nothing": {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.Prediction.Days = []SpecialDay{{Date: "2026-12-25"}} },
			`spec.prediction.days[0] has neither like nor scale: it must have like, scale or both`},
		"scale": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.Prediction.Days = []SpecialDay{{Date: "2026-12-25", Scale: 1001}}
		},
			`spec.prediction.days[0].scale is 1001: it must be 1 to 1000`},
		"calendar": {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.Prediction.Calendars = []Calendar{{Like: "Sunday"}} },
			`spec.prediction.calendars[0].configMapName is "": it must be given`},
		"calendar like nothing": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.Prediction.Calendars = []Calendar{{ConfigMapName: "holidays"}}
		},
			`spec.prediction.calendars[0] has neither like nor scale: it must have like, scale or both`},
		"calendar like no weekday": {func(s *AdvancedHorizontalPodAutoscalerSpec) {
			s.Prediction.Calendars = []Calendar{{ConfigMapName: "holidays", Like: "holiday"}}
		},
			`spec.prediction.calendars[0].like is "holiday": it must be one of Sunday`},
		"too many calendars": {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.Prediction.Calendars = make([]Calendar, 11) }, `spec.prediction.calendars is 11: it must be a list of at most 10 calendars`},
		"too many days":      {func(s *AdvancedHorizontalPodAutoscalerSpec) { s.Prediction.Days = make([]SpecialDay, 101) }, `spec.prediction.days is 101: it must be a list of at most 100 days`},
	} {
		t.Run(name, func(t *testing.T) {
			s := valid()
			c.change(&s)
			err := s.Validate()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestDaysAreReadAsTheyAreWritten(t *testing.T) {
	s := AdvancedHorizontalPodAutoscalerSpec{TimeZone: "Europe/Berlin"}
	s.Prediction.Days = []SpecialDay{{Date: "2026-12-25", Like: "Sunday"}, {Date: "2028-02-29", Like: "Saturday"}}
	if location, err := s.Location(); err != nil || location.String() != "Europe/Berlin" {
		t.Errorf("time zone %v, %v", location, err)
	}
	for i, want := range []string{"2026-12-25 like Sunday", "2028-02-29 like Saturday"} {
		date, err := s.Prediction.Day(i)
		like, _ := s.Prediction.Days[i].Kind().Weekday()
		if got := date.Format("2006-01-02") + " like " + like.String(); err != nil || got != want {
			t.Errorf("day %d is %s, %v; want %s", i, got, err, want)
		}
	}
	if location, err := (&AdvancedHorizontalPodAutoscalerSpec{}).Location(); err != nil || location.String() != "UTC" {
		t.Errorf("without a time zone: %v, %v", location, err)
	}
}
