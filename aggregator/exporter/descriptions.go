package exporter

import "github.com/prometheus/client_golang/prometheus"

// descriptions are the metrics made at each scrape.
type descriptions struct {
	policies                policyDescriptions
	ahpa                    ahpaDescriptions
	demand, pods, lastBatch *prometheus.Desc
	decided, waiting        *prometheus.Desc
	forecasts               forecastDescriptions
}

func newDescriptions(decisions, limits []string) descriptions {
	workload := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc("foretide_"+name, help, append([]string{"namespace", "kind", "name"}, more...), nil)
	}
	return descriptions{
		policies: newPolicyDescriptions(decisions, limits),
		ahpa:     newAHPADescriptions(),
		demand:   workload("workload_demand_gpus", "Demand of the workload's pods now, in busy GPUs; absent while some ready pod's load is not known."),
		pods:     workload("workload_ready_pods", "Ready pods that share the workload's demand."),
		decided:  prometheus.NewDesc("foretide_aggregator_policies", "Policies that this replica decides.", nil, nil),
		waiting: prometheus.NewDesc("foretide_aggregator_oldest_decision_age_seconds",
			"How long ago the policy was decided whose turn was the longest ago: about --controller.sync-interval, or how long it takes to decide all of them. Absent while there is none.", nil, nil),
		forecasts: newForecastDescriptions(),
		lastBatch: prometheus.NewDesc("foretide_node_last_batch_timestamp_seconds", "End of the newest window the node's agent reported.", []string{"node"}, nil),
	}
}

func (d descriptions) all(ahpa bool) []*prometheus.Desc {
	out := append(d.forecasts.all(), d.policies.all()...)
	if ahpa {
		out = append(out, d.ahpa.all()...)
	}
	return append(out, d.demand, d.pods, d.lastBatch, d.decided, d.waiting)
}
