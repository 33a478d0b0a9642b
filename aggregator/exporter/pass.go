package exporter

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collectPass says how many policies are decided and how long a pass over all of them takes.
func (d descriptions) collectPass(out chan<- prometheus.Metric, policies []Policy, now time.Time) {
	out <- prometheus.MustNewConstMetric(d.decided, prometheus.GaugeValue, float64(len(policies)))
	if len(policies) == 0 {
		return
	}
	oldest := now
	for _, p := range policies {
		if p.At.Before(oldest) {
			oldest = p.At
		}
	}
	out <- prometheus.MustNewConstMetric(d.waiting, prometheus.GaugeValue, now.Sub(oldest).Seconds())
}
