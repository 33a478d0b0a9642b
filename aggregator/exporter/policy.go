package exporter

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Policy is one policy as it was last decided. Pointers are nil when the value is not known.
type Policy struct {
	Namespace, Name string
	At              time.Time
	// Took is how long the decision took, from reading the target to applying it; Age how old the newest telemetry was that it
	// was made from.
	Took time.Duration
	Age  *time.Duration

	Min, Max                              int32
	Current, Desired, Proactive, Reactive *int32
	// TargetPercent is the utilization that the first metric aims for, 0 when it aims for none; UtilizationPercent what that is now.
	TargetPercent      int32
	UtilizationPercent *int32
	// Lead is how far ahead pods are asked for. Saturated: the ready pods are busy all the time; nil while their load is not known.
	Lead      time.Duration
	Saturated *bool
	// Reason is the decision's, or that of the problem which prevented one. Limited is by what it is limited, "" when it is not.
	Reason, Limited string
	// ForecastReady: the forecasts take part in the decision. DataFresh: there is telemetry of every ready pod; nil where
	// there is none to wait for.
	ForecastReady bool
	DataFresh     *bool
	Peaks         []Peak
	Accuracies    []Accuracy
}

// Peak is the largest demand forecast within the policy's lead time at a quantile (0 to 1).
type Peak struct {
	Quantile, GPUs float64
}

// Accuracy is how good forecasts were Over a time, such as "1d": at the lead next above the policy's, with the coverage of its quantile.
// NaN is not known.
type Accuracy struct {
	Over           string
	WAPE, Coverage float64
}

// policyDescriptions are the metrics of a Policy.
type policyDescriptions struct {
	current, desired, proactive, reactive, min, max *prometheus.Desc
	target, utilization, saturated, lead            *prometheus.Desc
	forecastReady, peak, dataFresh                  *prometheus.Desc
	wape, coverage                                  *prometheus.Desc
	decision, limited                               enum
}

func newPolicyDescriptions(decisions, limits []string) policyDescriptions {
	policy := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc("foretide_policy_"+name, help, append([]string{"namespace", "policy"}, more...), nil)
	}
	return policyDescriptions{
		current:       policy("current_replicas", "Replicas the scale target is set to."),
		desired:       policy("desired_replicas", "Replicas decided; under the strategy observer they are not applied."),
		proactive:     policy("proactive_replicas", "Replicas the forecast asks for; absent while the forecast takes no part in the decision."),
		reactive:      policy("reactive_replicas", "Replicas the present load asks for; absent while it is not known."),
		min:           policy("min_replicas", "Lower bound of the policy."),
		max:           policy("max_replicas", "Upper bound of the policy."),
		target:        policy("target_ratio", "Utilization the policy's first metric aims for, such as that of GPUs; absent where its target is another."),
		utilization:   policy("utilization_ratio", "Utilization of the ready pods by that metric; absent while none of them is known."),
		saturated:     policy("saturated", "1 when the ready pods are busy all the time, so that demand may be more than is seen, otherwise 0; absent while their load is not known."),
		lead:          policy("lead_time_seconds", "How far ahead pods are asked for: scaleUpForward, or what it is measured to be."),
		forecastReady: policy("forecast_ready", "1 when the forecasts of all metrics that have one take part in the decision, otherwise 0."),
		peak: policy("forecast_peak_gpus",
			"Largest demand forecast, in busy GPUs, from now until the policy's lead time (scaleUpForward) and one step of the forecast (five minutes) ahead, at a quantile.", "quantile"),
		dataFresh: policy("data_fresh", "1 when there is fresh telemetry of every ready pod, 0 when some is missing; absent without ready pods."),
		wape: policy("forecast_wape_ratio",
			"Error of the median forecast 15 minutes or an hour ahead, whichever is next above the lead time, as a part of the demand that came. Absent when less than a quarter of the time could be compared.", "over"),
		coverage: policy("forecast_coverage_ratio",
			"Share of the time in which demand was at or under the forecast at the policy's quantile, as far ahead: as much as that quantile when the forecast is right about its doubt.", "over"),
		decision: enum{policy("decision_reason", "Why the decision is what it is, or why there is none: 1 for the present reason, 0 for the others.", "reason"), decisions},
		limited:  enum{policy("limited_reason", "By what the decision is limited: 1 for the present reason, 0 for the others, all 0 when it is not.", "reason"), limits},
	}
}

func (d policyDescriptions) all() []*prometheus.Desc {
	return []*prometheus.Desc{
		d.current, d.desired, d.proactive, d.reactive, d.min, d.max, d.target, d.utilization, d.saturated, d.lead,
		d.forecastReady, d.peak, d.dataFresh, d.wape, d.coverage, d.decision.desc, d.limited.desc,
	}
}

func (d policyDescriptions) collect(out chan<- prometheus.Metric, p Policy) {
	put := func(desc *prometheus.Desc, value float64, labels ...string) {
		if !math.IsNaN(value) {
			out <- gauge(desc, value, append([]string{p.Namespace, p.Name}, labels...)...)
		}
	}
	count := func(desc *prometheus.Desc, value *int32) {
		if value != nil {
			put(desc, float64(*value))
		}
	}
	count(d.current, p.Current)
	count(d.desired, p.Desired)
	count(d.proactive, p.Proactive)
	count(d.reactive, p.Reactive)
	put(d.min, float64(p.Min))
	put(d.max, float64(p.Max))
	if p.TargetPercent > 0 {
		put(d.target, float64(p.TargetPercent)/100)
	}
	if p.UtilizationPercent != nil {
		put(d.utilization, float64(*p.UtilizationPercent)/100)
	}
	put(d.lead, p.Lead.Seconds())
	if p.Saturated != nil {
		put(d.saturated, number(*p.Saturated))
	}
	put(d.forecastReady, number(p.ForecastReady))
	for _, peak := range p.Peaks {
		put(d.peak, peak.GPUs, strconv.FormatFloat(peak.Quantile, 'g', -1, 64))
	}
	if p.DataFresh != nil {
		put(d.dataFresh, number(*p.DataFresh))
	}
	for _, a := range p.Accuracies {
		put(d.wape, a.WAPE, a.Over)
		put(d.coverage, a.Coverage, a.Over)
	}
	d.decision.put(put, p.Reason)
	d.limited.put(put, p.Limited)
}

// enum is a metric that is 1 for one of several words, its last label, and 0 for the others: so that a word that was is no gap in
// a chart, and can be counted over time.
type enum struct {
	desc  *prometheus.Desc
	words []string
}

// put shows which word holds, also one that is not among the words; "" is none.
func (e enum) put(put func(desc *prometheus.Desc, value float64, labels ...string), holds string) {
	for _, word := range e.words {
		put(e.desc, number(word == holds), word)
	}
	if holds != "" && !slices.Contains(e.words, holds) {
		put(e.desc, 1, holds)
	}
}
