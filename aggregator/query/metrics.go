package query

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type metrics struct {
	seconds *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "foretide_aggregator_query_duration_seconds",
		Help: "How long requests of the Prometheus API took, waiting included, by endpoint and HTTP status.",
		// 1 ms to 33 s: one workload's series take a millisecond, the timeout is 30 s.
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
	}, []string{"endpoint", "code"})}
	r.MustRegister(m.seconds)
	return m
}

// observe measures an endpoint.
func (m *metrics) observe(endpoint string, h http.Handler) http.Handler {
	return promhttp.InstrumentHandlerDuration(m.seconds.MustCurryWith(prometheus.Labels{"endpoint": endpoint}), h)
}

// watch shows how many requests are inside of a gate and before it.
func (m *metrics) watch(r prometheus.Registerer, kind string, g *gate) {
	gauge := func(name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: prometheus.Labels{"kind": kind}}, value))
	}
	gauge("foretide_aggregator_query_running", "Requests of the Prometheus API that are answered now, by kind: read or write.",
		func() float64 { return float64(len(g.places)) })
	gauge("foretide_aggregator_query_waiting", "Requests of the Prometheus API that wait for a place, by kind: read or write.",
		func() float64 { return float64(g.waiting.Load()) })
}
