package exporter

import "github.com/prometheus/client_golang/prometheus"

// descriptions are the metrics made at each scrape.
type descriptions struct {
	current, desired, proactive, reactive, min, max *prometheus.Desc
	target, utilization, saturated, lead            *prometheus.Desc
	forecastReady, peak, dataFresh, decision        *prometheus.Desc
	demand, pods, lastBatch                         *prometheus.Desc
	decided, waiting                                *prometheus.Desc
	forecasts                                       forecastDescriptions
}

func newDescriptions() descriptions {
	policy := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc("foretide_policy_"+name, help, append([]string{"namespace", "policy"}, more...), nil)
	}
	workload := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc("foretide_"+name, help, append([]string{"namespace", "kind", "name"}, more...), nil)
	}
	return descriptions{
		current:       policy("current_replicas", "Replicas the scale target is set to."),
		desired:       policy("desired_replicas", "Replicas decided; under the strategy observer they are not applied."),
		proactive:     policy("proactive_replicas", "Replicas the forecast asks for; absent while the forecast takes no part in the decision."),
		reactive:      policy("reactive_replicas", "Replicas the present load asks for; absent while it is not known."),
		min:           policy("min_replicas", "Lower bound of the policy."),
		max:           policy("max_replicas", "Upper bound of the policy."),
		target:        policy("target_ratio", "GPU utilization the policy aims for."),
		utilization:   policy("utilization_ratio", "GPU utilization of the ready pods whose load is known; absent while none is."),
		saturated:     policy("saturated", "1 when the ready pods are busy all the time, so that demand may be more than is seen, otherwise 0; absent while their load is not known."),
		lead:          policy("lead_time_seconds", "How far ahead pods are asked for: scaleUpForward, or what it is measured to be."),
		forecastReady: policy("forecast_ready", "1 when the forecast takes part in the decision, otherwise 0."),
		peak: policy("forecast_peak_gpus",
			"Largest demand forecast, in busy GPUs, from now until the policy's lead time (scaleUpForward) and one minute ahead, at a quantile.", "quantile"),
		dataFresh: policy("data_fresh", "1 when there is fresh telemetry of every ready pod, 0 when some is missing; absent without ready pods."),
		decision:  policy("decision_info", "Why the decision is what it is: 1 for the present reason.", "reason"),
		demand:    workload("workload_demand_gpus", "Demand of the workload's pods now, in busy GPUs; absent while some ready pod's load is not known."),
		pods:      workload("workload_ready_pods", "Ready pods that share the workload's demand."),
		decided:   prometheus.NewDesc("foretide_aggregator_policies", "Policies that this replica decides.", nil, nil),
		waiting: prometheus.NewDesc("foretide_aggregator_oldest_decision_age_seconds",
			"How long ago the policy was decided whose turn was the longest ago: about --controller.sync-interval, or how long it takes to decide all of them. Absent while there is none.", nil, nil),
		forecasts: newForecastDescriptions(),
		lastBatch: prometheus.NewDesc("foretide_node_last_batch_timestamp_seconds", "End of the newest window the node's agent reported.", []string{"node"}, nil),
	}
}

func (d descriptions) all() []*prometheus.Desc {
	return append(d.forecasts.all(),
		d.current, d.desired, d.proactive, d.reactive, d.min, d.max, d.target, d.utilization, d.saturated, d.lead,
		d.forecastReady, d.peak, d.dataFresh, d.decision, d.demand, d.pods, d.lastBatch, d.decided, d.waiting,
	)
}
