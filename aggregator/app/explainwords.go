package app

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// explain writes why a policy decides what it decides, and what would change that.
func explain(out io.Writer, p *v1alpha1.AdvancedHorizontalPodAutoscaler, now time.Time) {
	s, target := p.Status, p.Spec.ScaleTargetRef
	fmt.Fprintf(out, "%s %s in %s: %s\n", target.Kind, target.Name, p.Namespace, standing(p))
	if s.ObservedGeneration != p.Generation {
		fmt.Fprintln(out, "No aggregator has looked at it since it was last changed: what follows is of before.")
	}
	if s.Decision != nil {
		fmt.Fprintf(out, "\nWhy: %s\n     %s.\n", s.Decision.Reason, strings.ReplaceAll(s.Decision.Message, "; ", ";\n     "))
	}
	fmt.Fprintln(out)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(out, "%-10s %s\n", what, fmt.Sprintf(format, args...))
	}
	for i, m := range p.Spec.Metrics {
		var seen v1alpha1.MetricStatus
		if i < len(s.CurrentMetrics) {
			seen = s.CurrentMetrics[i]
		}
		foretold := ""
		if len(p.Spec.Metrics) > 1 && seen.ProactiveReplicas != nil {
			foretold = ", its forecast for " + count(seen.ProactiveReplicas)
		}
		line("Load", "%s is %s, the target is %s; that asks for %s%s", m.ID(), valueIn(seen.Current()), targetIn(m.Target()), count(seen.ReactiveReplicas), foretold)
	}
	if s.SaturatedSince != nil {
		line("", "the pods have been busy all the time since %s: there may be more demand than is seen", clock(*s.SaturatedSince))
	}
	line("Forecast", "%s", foretold(p))
	for _, text := range graded(p) {
		line("", "%s", text)
	}
	rules := rulesOf(p, now)
	for i, text := range bounded(rules, p) {
		line(map[bool]string{true: "Bounds"}[i == 0], "%s", text)
	}
	line("Growing", "replicas are %s", rules.Up)
	line("Shrinking", "replicas are %s", rules.Down)
	if s.LastScaleTime != nil {
		line("Scaled", "last at %s", clock(*s.LastScaleTime))
	}
	for i, text := range next(p, rules) {
		line(map[bool]string{true: "Next"}[i == 0], "%s", text)
	}
	fmt.Fprintln(out)
	for _, c := range s.Conditions {
		line(c.Type, "%s, %s: %s", c.Status, c.Reason, c.Message)
	}
}

// rulesOf are those in force for the replicas and the lead time that the status tells.
func rulesOf(p *v1alpha1.AdvancedHorizontalPodAutoscaler, now time.Time) controller.InForce {
	var replicas int32
	if p.Status.CurrentReplicas != nil {
		replicas = *p.Status.CurrentReplicas
	}
	lead := time.Duration(0)
	if p.Status.LeadTimeSeconds != nil {
		lead = time.Duration(*p.Status.LeadTimeSeconds) * time.Second
	}
	return controller.RulesInForce(&p.Spec, replicas, now, lead)
}

// valueIn is a metric's value in words.
func valueIn(v *v1alpha1.MetricValueStatus) string {
	switch {
	case v.AverageUtilization != nil:
		return fmt.Sprintf("%d%%", *v.AverageUtilization)
	case v.Value != nil:
		return v.Value.String()
	case v.AverageValue != nil:
		return v.AverageValue.String() + " by pod"
	}
	return "not known"
}

// targetIn is the value aimed for in words.
func targetIn(t *v1alpha1.MetricTarget) string {
	switch {
	case t.AverageUtilization != nil:
		return fmt.Sprintf("%d%%", *t.AverageUtilization)
	case t.AverageValue != nil:
		return t.AverageValue.String() + " by pod"
	case t.Value != nil:
		return t.Value.String()
	}
	return "not known"
}

// standing says how many replicas there are, how many there should be, and what is done about it.
func standing(p *v1alpha1.AdvancedHorizontalPodAutoscaler) string {
	s := p.Status
	if s.DesiredReplicas == nil {
		return "nothing is decided"
	}
	what := fmt.Sprintf("%s, and %s decided", count(s.CurrentReplicas), count(s.DesiredReplicas))
	rival := ""
	if c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionTargetConflict); c != nil && c.Status == metav1.ConditionTrue {
		rival = "; " + c.Message
	}
	switch {
	case p.Spec.Paused:
		return what + "; the policy is paused, so nothing is set" + rival
	case !p.Spec.ScaleStrategy.Acts():
		return what + fmt.Sprintf("; the strategy is %s, so nothing is set", p.Spec.ScaleStrategy) + rival
	}
	if able := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionAbleToScale); able != nil && able.Status != metav1.ConditionTrue {
		return what + "; nothing is set: " + able.Message
	}
	if o := s.ManualOverride; o != nil {
		return what + fmt.Sprintf("; nothing is set: someone else set %s at %s when %d were decided, and that stands until something else is decided",
			count(&o.Replicas), o.Since.UTC().Format(time.RFC3339), o.DecidedReplicas)
	}
	return what + fmt.Sprintf("; the strategy is %s", p.Spec.ScaleStrategy)
}

// foretold says what the forecast of busy GPUs asks for, or why it asks for nothing.
func foretold(p *v1alpha1.AdvancedHorizontalPodAutoscaler) string {
	s := p.Status
	if s.Forecast == nil {
		if ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionForecastReady); ready != nil && ready.Status != metav1.ConditionTrue {
			return "none: " + ready.Message
		}
		return "none"
	}
	text := fmt.Sprintf("%s, from %s of history", s.Forecast.Method, length(s.Forecast.HistorySeconds))
	if s.Periodicity != nil && *s.Periodicity > 0 {
		text += fmt.Sprintf(" that repeats each %s", length(int64(*s.Periodicity)))
	}
	if s.Forecast.PeakGPUs != "" && s.LeadTimeSeconds != nil {
		text += fmt.Sprintf("; its p%s peaks at %s busy GPUs within %d s", p.Spec.Prediction.Quantile.Percent(), s.Forecast.PeakGPUs, *s.LeadTimeSeconds)
	}
	if s.LeadTimePods > 0 {
		text += fmt.Sprintf(" (what nine in ten of %d pods took to start)", s.LeadTimePods)
	}
	gpu := slices.IndexFunc(p.Spec.Metrics, func(m v1alpha1.MetricSpec) bool { return m.Is(v1alpha1.ResourceGPU) })
	asks := s.ProactiveReplicas
	if len(p.Spec.Metrics) > 1 && gpu >= 0 && gpu < len(s.CurrentMetrics) {
		asks = s.CurrentMetrics[gpu].ProactiveReplicas
	}
	switch {
	case gpu < 0:
		return text + "; no metric of the policy uses it"
	case !p.Spec.Metrics[gpu].Forecasts():
		return text + "; it is switched off in the policy"
	case asks == nil:
		return text + "; it takes no part yet"
	}
	return text + "; that asks for " + count(asks)
}

// graded says how good forecasts were.
func graded(p *v1alpha1.AdvancedHorizontalPodAutoscaler) (out []string) {
	a := p.Status.Accuracy
	if a == nil {
		return []string{"how good forecasts were is not known yet: it takes a quarter of a day of forecasts and of the demand that came"}
	}
	for _, over := range []struct {
		what  string
		score *v1alpha1.AccuracyOver
	}{{"day", a.Day}, {"seven days", a.Week}} {
		if over.score == nil {
			continue
		}
		text := fmt.Sprintf("over the last %s, %s ahead: demand stayed at or below the p%s in %d %% of the time",
			over.what, length(int64(a.LeadSeconds)), p.Spec.Prediction.Quantile.Percent(), over.score.CoveragePercent)
		if e, bias := over.score.WAPEPercent, over.score.BiasPercent; e != nil && bias != nil {
			text += fmt.Sprintf("; the middle was off by %d %% of the demand, ", *e)
			switch {
			case *bias > 0:
				text += fmt.Sprintf("too high by %d %% in all", *bias)
			case *bias < 0:
				text += fmt.Sprintf("too low by %d %% in all", -*bias)
			default:
				text += "too high as much as too low"
			}
		}
		out = append(out, text)
	}
	return out
}

// bounded says which bounds are in force, and why.
func bounded(rules controller.InForce, p *v1alpha1.AdvancedHorizontalPodAutoscaler) (out []string) {
	why := "spec.minReplicas and spec.maxReplicas"
	if len(rules.Windows) > 0 {
		why = strings.Join(rules.Windows, " and ") + " in " + p.Spec.TimeZone
		if !rules.From.IsZero() {
			why += ", whose replicas are to be there at " + clock(metav1.NewTime(rules.From))
		}
	} else if len(p.Spec.InstanceBounds) > 0 {
		why += ", for no window of spec.instanceBounds holds now"
	}
	out = append(out, fmt.Sprintf("%d to %d, by %s", rules.Min, rules.Max, why))
	if rules.Wrong != "" {
		out = append(out, "not read: "+rules.Wrong)
	}
	return out
}

// next says what would change the number of replicas.
func next(p *v1alpha1.AdvancedHorizontalPodAutoscaler, rules controller.InForce) (out []string) {
	s := p.Status
	if s.DesiredReplicas == nil || s.CurrentReplicas == nil {
		return nil
	}
	if *s.CurrentReplicas == 0 {
		return []string{"someone sets the target to one replica or more: with none it is switched off"}
	}
	if !p.Spec.ScaleStrategy.Acts() && *s.DesiredReplicas != *s.CurrentReplicas {
		out = append(out, "spec.scaleStrategy auto sets what is decided")
	}
	if p.Spec.Paused {
		out = append(out, "spec.paused false sets what is decided")
	}
	if d := s.Decision; d != nil && d.ValidUntil != nil && strings.HasSuffix(d.Reason, "Stabilized") {
		out = append(out, fmt.Sprintf("at %s the stabilization window ends, unless more comes before", clock(*d.ValidUntil)))
	}
	if !rules.Next.IsZero() {
		out = append(out, fmt.Sprintf("at %s the bounds become %d to %d", clock(metav1.NewTime(rules.Next)), rules.NextMin, rules.NextMax))
	}
	switch {
	case p.Spec.ScaleStrategy == v1alpha1.StrategyProactive:
	case *s.CurrentReplicas >= rules.Max:
		out = append(out, fmt.Sprintf("there are no more than %d replicas, whatever is asked for", rules.Max))
	case rules.More > 0:
		out = append(out, fmt.Sprintf("more replicas when %s is above %d%%", p.Spec.Metrics[0].ID(), rules.More))
	}
	switch {
	case *s.CurrentReplicas <= rules.Min || rules.Fewer == 0:
	case p.Spec.ScaleStrategy == v1alpha1.StrategyReactive:
		out = append(out, fmt.Sprintf("fewer when %s is at or below %d%%, all of it known", p.Spec.Metrics[0].ID(), rules.Fewer))
	default:
		out = append(out, fmt.Sprintf("fewer when %s is at or below %d%%, all of it known, and the forecast asks for fewer too", p.Spec.Metrics[0].ID(), rules.Fewer))
	}
	return out
}

func count(replicas *int32) string {
	switch {
	case replicas == nil:
		return "an unknown number of replicas"
	case *replicas == 1:
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", *replicas)
}

// clock is a time as it is told: the same for everybody.
func clock(t metav1.Time) string { return t.UTC().Format(time.RFC3339) }

// length of a time in seconds, in its largest unit that is whole.
func length(seconds int64) string {
	for _, u := range []struct {
		seconds int64
		name    string
	}{{86400, "days"}, {3600, "hours"}, {60, "minutes"}} {
		switch {
		case seconds == u.seconds:
			return strings.TrimSuffix("1 "+u.name, "s")
		case seconds > 0 && seconds%u.seconds == 0:
			return fmt.Sprintf("%d %s", seconds/u.seconds, u.name)
		}
	}
	return fmt.Sprintf("%d seconds", seconds)
}
