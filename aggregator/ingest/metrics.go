package ingest

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	batches, samples, appendFailures prometheus.Counter
	refused, rejected                *prometheus.CounterVec
	streams                          prometheus.Gauge
	appendSeconds                    prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		batches: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "foretide_aggregator_ingest_batches_total",
			Help: "Batches stored and acknowledged.",
		}),
		samples: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "foretide_aggregator_ingest_samples_total",
			Help: "Values in the batches stored and acknowledged.",
		}),
		appendFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "foretide_aggregator_ingest_append_failures_total",
			Help: "Batches the store could not take at that time; their agents send them again.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "foretide_aggregator_ingest_refused_batches_total",
			Help: "Batches that will never be taken, by class of the reason.",
		}, []string{"class"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "foretide_aggregator_ingest_rejected_streams_total",
			Help: "Streams turned away before their first batch, by gRPC status code.",
		}, []string{"code"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "foretide_aggregator_ingest_streams",
			Help: "Agents connected.",
		}),
		appendSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "foretide_aggregator_ingest_append_duration_seconds",
			Help: "Time to make one batch durable.",
			// 50 µs to 3 s: a batch of 8 GPUs takes about 0.2 ms, a full disk queue seconds.
			Buckets: prometheus.ExponentialBuckets(50e-6, 4, 9),
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.batches, m.samples, m.appendFailures, m.refused, m.rejected, m.streams, m.appendSeconds} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of ingest: %w", err)
		}
	}
	return m, nil
}
