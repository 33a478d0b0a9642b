package exporter

import "github.com/prometheus/client_golang/prometheus"

// ahpaDescriptions are the metrics of a policy under the names that the dashboards of Alibaba Cloud's AHPA ask for
// (help.aliyun.com/document_detail/612715.html). Which labels those have is not written there.
type ahpaDescriptions struct {
	proactive, reactive, requested, max, min, target *prometheus.Desc
}

func newAHPADescriptions() ahpaDescriptions {
	ahpa := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("ahpa_"+name, help+" As AHPA names it.", []string{"namespace", "name"}, nil)
	}
	return ahpaDescriptions{
		proactive: ahpa("proactive_pods", "Replicas the forecast asks for."),
		reactive:  ahpa("reactive_pods", "Replicas the present load asks for."),
		requested: ahpa("requested_pods", "Replicas decided."),
		max:       ahpa("max_pods", "Upper bound of the policy."),
		min:       ahpa("min_pods", "Lower bound of the policy."),
		target:    ahpa("target_metric", "Utilization the policy's first metric aims for, percent; absent where its target is another."),
	}
}

func (d ahpaDescriptions) all() []*prometheus.Desc {
	return []*prometheus.Desc{d.proactive, d.reactive, d.requested, d.max, d.min, d.target}
}

func (d ahpaDescriptions) collect(out chan<- prometheus.Metric, p Policy) {
	put := func(desc *prometheus.Desc, value *int32) {
		if value != nil {
			out <- gauge(desc, float64(*value), p.Namespace, p.Name)
		}
	}
	put(d.proactive, p.Proactive)
	put(d.reactive, p.Reactive)
	put(d.requested, p.Desired)
	put(d.max, &p.Max)
	put(d.min, &p.Min)
	if p.TargetPercent > 0 {
		put(d.target, &p.TargetPercent)
	}
}
