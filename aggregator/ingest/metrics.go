package ingest

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	batches, samples, appendFailures prometheus.Counter
	refused, rejected                *prometheus.CounterVec
	streams                          prometheus.Gauge
	appendSeconds                    prometheus.Histogram
	// interval is asked when metrics are read.
	interval func() time.Duration
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
			Help: "Batches that could not be stored when they came; their agents send them again.",
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
			Help: "Time to make one group of batches durable.",
			// 50 µs to 3 s: a batch of 8 GPUs alone takes about 0.2 ms, a full disk queue seconds.
			Buckets: prometheus.ExponentialBuckets(50e-6, 4, 9),
		}),
	}
	m.interval = func() time.Duration { return 0 }
	interval := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "foretide_aggregator_ingest_report_interval_seconds",
		Help: "How often agents are asked to report: shortest in a small cluster, longer as load grows.",
	}, func() float64 { return m.interval().Seconds() })
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{interval, m.batches, m.samples, m.appendFailures, m.refused, m.rejected, m.streams, m.appendSeconds} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of ingest: %w", err)
		}
	}
	return m, nil
}
