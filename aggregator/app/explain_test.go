package app

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

func explained() *v1alpha1.AdvancedHorizontalPodAutoscaler {
	p := &v1alpha1.AdvancedHorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "fib-gpu"}}
	p.Spec.ScaleTargetRef = v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: "bert"}
	p.Spec.Metrics = []v1alpha1.MetricSpec{{Type: v1alpha1.MetricSourceResource, Resource: &v1alpha1.ResourceMetric{
		Name: v1alpha1.ResourceGPU, Target: v1alpha1.MetricTarget{Type: v1alpha1.UtilizationTarget, AverageUtilization: new(int32(60))},
	}}}
	p.Spec.ScaleStrategy, p.Spec.MaxReplicas = v1alpha1.StrategyAuto, 8
	p.Spec.Default()
	return p
}

// today is a Monday.
var today = time.Date(2026, 3, 2, 12, 0, 30, 0, time.UTC)

func TestAPolicyIsExplained(t *testing.T) {
	p := explained()
	p.Spec.TimeZone = "Europe/Berlin"
	p.Spec.InstanceBounds = []v1alpha1.InstanceBounds{{Bounds: []v1alpha1.CronBounds{{Cron: "* 8-20 ? * MON-FRI", MinReplicas: 2, MaxReplicas: 8}}}}
	p.Status = v1alpha1.AdvancedHorizontalPodAutoscalerStatus{
		CurrentReplicas: new(int32(3)), DesiredReplicas: new(int32(6)), ReactiveReplicas: new(int32(5)), ProactiveReplicas: new(int32(6)),
		MinReplicas: new(int32(2)), MaxReplicas: new(int32(8)), LeadTimeSeconds: new(int32(240)), LeadTimePods: 12, Periodicity: new(int32(86400)),
		CurrentMetrics: []v1alpha1.MetricStatus{{ReactiveReplicas: new(int32(5)), Resource: &v1alpha1.ResourceMetricStatus{Current: v1alpha1.MetricValueStatus{AverageUtilization: new(int32(97))}}}},
		SaturatedSince: &metav1.Time{Time: today.Add(-time.Minute)},
		Forecast:       &v1alpha1.ForecastStatus{Method: "seasonal", HistorySeconds: 12 * 86400, PeakGPUs: "3.1"},
		Accuracy: &v1alpha1.AccuracyStatus{LeadSeconds: 900,
			Day:  &v1alpha1.AccuracyOver{WAPEPercent: new(int32(14)), BiasPercent: new(int32(-3)), CoveragePercent: 94},
			Week: &v1alpha1.AccuracyOver{CoveragePercent: 97}},
		Decision:      &v1alpha1.DecisionStatus{Reason: "ForecastDemand", Message: "utilization is 97%: 5; the forecast peaks at 3.10 GPUs: 6; 6 replicas"},
		LastScaleTime: &metav1.Time{Time: today.Add(-30 * time.Second)},
		Conditions:    []metav1.Condition{{Type: "AbleToScale", Status: "True", Reason: "ReadyForNewScale", Message: "the target can be read and set"}},
	}
	var out bytes.Buffer
	explain(&out, p, today)
	want := `Deployment bert in default: 3 replicas, and 6 replicas decided; the strategy is auto

Why: ForecastDemand
     utilization is 97%: 5;
     the forecast peaks at 3.10 GPUs: 6;
     6 replicas.

Load       gpu is 97%, the target is 60%; that asks for 5 replicas
           the pods have been busy all the time since 2026-03-02T11:59:30Z: there may be more demand than is seen
Forecast   seasonal, from 12 days of history that repeats each 1 day; its p80 peaks at 3.1 busy GPUs within 240 s (what nine in ten of 12 pods took to start); that asks for 6 replicas
           over the last day, 15 minutes ahead: demand stayed at or below the p80 in 94 % of the time; the middle was off by 14 % of the demand, too low by 3 % in all
           over the last seven days, 15 minutes ahead: demand stayed at or below the p80 in 97 % of the time
Bounds     2 to 8, by spec.instanceBounds[0].bounds[0] (* 8-20 ? * MON-FRI) in Europe/Berlin
Growing    replicas are added at once, at most the largest of 100 % within 15s, 4 replicas within 15s; a difference of 10 % of the target is left alone
Shrinking  replicas are removed to the largest number that was asked for within 5m0s, at most 100 % within 15s; a difference of 10 % of the target is left alone
Scaled     last at 2026-03-02T12:00:00Z
Next       at 2026-03-02T20:00:00Z the bounds become 1 to 8
           more replicas when gpu is above 66%
           fewer when gpu is at or below 40%, all of it known, and the forecast asks for fewer too

AbleToScale True, ReadyForNewScale: the target can be read and set
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWhatWouldChangeTheCountIsSaid(t *testing.T) {
	for want, change := range map[string]func(p *v1alpha1.AdvancedHorizontalPodAutoscaler){
		"Next       spec.scaleStrategy auto sets what is decided\n": func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
			p.Spec.ScaleStrategy = v1alpha1.StrategyObserver
		},
		"Next       spec.paused false sets what is decided\n": func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.Paused = true },
		"Next       at 2026-03-02T12:05:00Z the stabilization window ends, unless more comes before\n": func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
			p.Status.Decision = &v1alpha1.DecisionStatus{Reason: "ScaleDownStabilized", ValidUntil: &metav1.Time{Time: today.Add(4*time.Minute + 30*time.Second)}}
		},
		"there are no more than 8 replicas, whatever is asked for\n": func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { *p.Status.CurrentReplicas = 8 },
		"someone sets the target to one replica or more":             func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { *p.Status.CurrentReplicas = 0 },
		"fewer when gpu is at or below 40%, all of it known\n": func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
			p.Spec.ScaleStrategy = v1alpha1.StrategyReactive
		},
		"not read: spec.instanceBounds[0].bounds[0].cron is \"* 22-6 ? * *\"": func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
			p.Spec.InstanceBounds = []v1alpha1.InstanceBounds{{Bounds: []v1alpha1.CronBounds{{Cron: "* 22-6 ? * *", MinReplicas: 1, MaxReplicas: 2}}}}
		},
		"1 to 8, by spec.minReplicas and spec.maxReplicas, for no window of spec.instanceBounds holds now\n": func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
			p.Spec.InstanceBounds = []v1alpha1.InstanceBounds{{Bounds: []v1alpha1.CronBounds{{Cron: "* 22 ? * *", MinReplicas: 1, MaxReplicas: 2}}}}
		},
		"how good forecasts were is not known yet": func(*v1alpha1.AdvancedHorizontalPodAutoscaler) {},
		"in UTC, whose replicas are to be there at 2026-03-02T12:02:00Z\n": func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
			p.Spec.InstanceBounds = []v1alpha1.InstanceBounds{{Bounds: []v1alpha1.CronBounds{{Cron: "2 12 ? * *", MinReplicas: 4, MaxReplicas: 4}}}}
			p.Status.LeadTimeSeconds = new(int32(180))
		},
	} {
		p := explained()
		p.Status.CurrentReplicas, p.Status.DesiredReplicas = new(int32(3)), new(int32(4))
		change(p)
		var out bytes.Buffer
		explain(&out, p, today)
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
}

func TestAPolicyIsNamedAsKubectlNamesIt(t *testing.T) {
	given := func() (string, error) { return "mine", nil }
	for _, c := range []struct{ flag, argument, want string }{
		{"default/fib-gpu", "", "default/fib-gpu"},
		{"ahpa/default/fib-gpu", "", "default/fib-gpu"},
		{"", "ahpa/fib-gpu", "mine/fib-gpu"},
		{"", "AHPA/fib-gpu", "mine/fib-gpu"},
		{"", "advancedhorizontalpodautoscalers.autoscaling.foretide.dev/fib-gpu", "mine/fib-gpu"},
		{"", "fib-gpu", "mine/fib-gpu"},
		{"", "prod/fib-gpu", "prod/fib-gpu"},
	} {
		namespace, name, err := nameOfPolicy(c.flag, c.argument, given)
		if got := namespace + "/" + name; err != nil || got != c.want {
			t.Errorf("%q %q: %s, %v; want %s", c.flag, c.argument, got, err, c.want)
		}
	}
	for _, c := range []struct{ flag, argument string }{{"", ""}, {"fib-gpu", ""}, {"a/b", "ahpa/b"}, {"", "ahpa/"}, {"", "/b"}, {"", "a/b/c"}} {
		if namespace, name, err := nameOfPolicy(c.flag, c.argument, given); err == nil {
			t.Errorf("%q %q: %s/%s", c.flag, c.argument, namespace, name)
		}
	}
}

func TestTheArgumentMayStandBeforeTheFlagsOrAfter(t *testing.T) {
	for text, want := range map[string]string{
		"ahpa/x -n prod":             "ahpa/x | -n prod",
		"-n prod ahpa/x":             "ahpa/x | -n prod",
		"-n=prod ahpa/x":             "ahpa/x | -n=prod",
		"ahpa/x":                     "ahpa/x | ",
		"--policy=a/b":               " | --policy=a/b",
		"--policy a/b":               " | --policy a/b",
		"":                           " | ",
		"--context=c -n=prod ahpa/x": "ahpa/x | --context=c -n=prod",
	} {
		argument, rest := firstArgument(strings.Fields(text))
		if got := argument + " | " + strings.Join(rest, " "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestWhatIsNotKnownIsSaid(t *testing.T) {
	p := explained()
	p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionForecastReady, Status: metav1.ConditionFalse, Reason: "InsufficientHistory", Message: "7 known points"}}
	for want, change := range map[string]func(){
		"nothing is decided": func() {},
		"an unknown number of replicas, and 2 replicas decided; the strategy is observer, so nothing is set": func() { p.Status.DesiredReplicas, p.Spec.ScaleStrategy = new(int32(2)), v1alpha1.StrategyObserver },
		"the policy is paused, so nothing is set":                                                            func() { p.Status.DesiredReplicas, p.Spec.Paused = new(int32(2)), true },
		"gpu is not known, the target is 60%; that asks for an unknown number of replicas":                   func() {},
		"2 replicas decided; nothing is set: HorizontalPodAutoscaler \"bert\" scales the same target": func() {
			p.Status.DesiredReplicas = new(int32(2))
			p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAbleToScale, Status: metav1.ConditionFalse, Message: `HorizontalPodAutoscaler "bert" scales the same target`}}
		},
		"nothing is set: someone else set 8 replicas at 2026-03-02T12:00:00Z when 4 were decided": func() {
			p.Status.DesiredReplicas = new(int32(4))
			p.Status.ManualOverride = &v1alpha1.ManualOverrideStatus{Replicas: 8, DecidedReplicas: 4, Since: metav1.NewTime(time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC))}
		},
		"the strategy is observer, so nothing is set; policy \"old\" is older": func() {
			p.Status.DesiredReplicas, p.Spec.ScaleStrategy = new(int32(2)), v1alpha1.StrategyObserver
			p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionTargetConflict, Status: metav1.ConditionTrue, Message: `policy "old" is older`}}
		},
		"No aggregator has looked at it since it was last changed": func() { p.Generation = 2 },
		"Forecast   none: 7 known points":                          func() {},
	} {
		change()
		var out bytes.Buffer
		explain(&out, p, today)
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
		p = explained()
		p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionForecastReady, Status: metav1.ConditionFalse, Message: "7 known points"}}
	}
}

func TestEachMetricsForecastIsExplained(t *testing.T) {
	p := explained()
	p.Spec.Metrics = append(p.Spec.Metrics, v1alpha1.MetricSpec{Type: v1alpha1.MetricSourceResource, Resource: &v1alpha1.ResourceMetric{
		Name: v1alpha1.ResourceCPU, Target: v1alpha1.MetricTarget{Type: v1alpha1.UtilizationTarget, AverageUtilization: new(int32(70))},
	}})
	p.Status.ProactiveReplicas = new(int32(7))
	p.Status.CurrentMetrics = []v1alpha1.MetricStatus{
		{ReactiveReplicas: new(int32(2)), ProactiveReplicas: new(int32(3))}, {ReactiveReplicas: new(int32(5)), ProactiveReplicas: new(int32(7))},
	}
	p.Status.Forecast = &v1alpha1.ForecastStatus{Method: "seasonal", HistorySeconds: 86400}
	var out bytes.Buffer
	explain(&out, p, today)
	for _, want := range []string{
		"gpu is not known, the target is 60%; that asks for 2 replicas, its forecast for 3 replicas\n",
		"cpu is not known, the target is 70%; that asks for 5 replicas, its forecast for 7 replicas\n",
		"seasonal, from 1 day of history; that asks for 3 replicas\n", // of busy GPUs
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
	p.Spec.Metrics = p.Spec.Metrics[1:]
	out.Reset()
	explain(&out, p, today)
	if want := "; no metric of the policy uses it\n"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is not in:\n%s", want, out.String())
	}
}

func TestExplainSaysWhatItNeeds(t *testing.T) {
	for _, name := range []string{"", "fib-gpu", "/fib-gpu", "default/", "ahpa/"} {
		if err := Explain(t.Context(), []string{"--policy=" + name}, io.Discard); err == nil || !strings.Contains(err.Error(), "it must be namespace/name") {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"--policy=a/b", "ahpa/b"} {
		if err := Explain(t.Context(), []string{name, "--kubernetes.kubeconfig=/nowhere"}, io.Discard); err == nil || !strings.Contains(err.Error(), "--kubernetes.kubeconfig") {
			t.Errorf("%s, no kubeconfig: %v", name, err)
		}
	}
}
