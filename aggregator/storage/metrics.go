package storage

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the store's own; the TSDBs bring theirs.
type metrics struct {
	registry *prometheus.Registry
	dropped  *prometheus.CounterVec
	diskFull prometheus.Gauge
	open     *prometheus.GaugeVec
	damaged  *prometheus.GaugeVec
	reopened *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "foretide_aggregator_storage_dropped_series_total",
			Help: "Series of inference servers that were left out, counted for each new layout of a node: their names are no metric names or begin with foretide_.",
		}, []string{"reason"}),
		diskFull: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "foretide_aggregator_storage_disk_full",
			Help: "1 while nothing is taken because the file system has too little room left, else 0.",
		}),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "foretide_aggregator_storage_open",
			Help: "1 when the tier can be read and written, 0 while its log is being read.",
		}, []string{"tier"}),
		damaged: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "foretide_aggregator_storage_damaged_blocks",
			Help: "Blocks that could not be opened and lie in the tier's folder damaged, until someone repairs or removes them.",
		}, []string{"tier"}),
		reopened: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "foretide_aggregator_storage_reopened_total",
			Help: "Times the tier was closed to be opened anew, because a write to its log failed.",
		}, []string{"tier"}),
	}
	m.registry.MustRegister(m.dropped, m.diskFull, m.open, m.damaged, m.reopened)
	for _, reason := range []string{droppedInvalid, droppedReserved} {
		m.dropped.WithLabelValues(reason)
	}
	return m
}
