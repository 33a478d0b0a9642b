package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
)

// outOfOrderChunkSamples is how many late samples of a series are gathered in memory before they are written out. The TSDB's
// own 32 suits stragglers; an imported history comes in tens of thousands.
const outOfOrderChunkSamples = 120

type tierOptions struct {
	name       string
	dir        string
	logger     *slog.Logger
	registerer prometheus.Registerer
	retention  time.Duration
	outOfOrder time.Duration
	minBlock   time.Duration
	// maxPercentage of the file system; 0 is no limit.
	maxPercentage float64
}

// tier is one TSDB with its metrics.
type tier struct {
	name       string
	db         *tsdb.DB
	unregister func()
}

func openTier(o tierOptions) (*tier, error) {
	options := tsdb.DefaultOptions()
	options.WALCompression = compression.Snappy
	options.RetentionDuration = o.retention.Milliseconds()
	options.MaxPercentage = o.maxPercentage
	options.OutOfOrderTimeWindow = o.outOfOrder.Milliseconds()
	options.OutOfOrderCapMax = outOfOrderChunkSamples
	options.MinBlockDuration = o.minBlock.Milliseconds()
	// Blocks grow up to a tenth of the retention but not beyond 31 days, as Prometheus' own main does
	// (prometheus cmd/prometheus/main.go): retention drops whole blocks only.
	options.MaxBlockDuration = max(o.minBlock, min(31*24*time.Hour, o.retention/10)).Milliseconds()

	// The TSDB registers before it is sure to open. Its own registry keeps a failed try from leaving metrics behind.
	registry := prometheus.NewRegistry()
	db, err := tsdb.Open(o.dir, o.logger.With("tier", o.name), registry, options, nil)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("open %q: another process holds %q: one aggregator at a time may use a directory",
			o.dir, filepath.Join(o.dir, "lock"))
	}
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", o.dir, err)
	}
	repaired := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "foretide_aggregator_storage_repaired",
		Help: "1 when the end of the tier's write-ahead log was damaged at start and has been cut off, else 0.",
	})
	registry.MustRegister(repaired)
	if corruptions(registry) > 0 {
		repaired.Set(1)
		o.logger.Warn("write-ahead log was damaged: what could be read was kept, the rest was cut off", "tier", o.name, "dir", o.dir)
	}
	t := &tier{name: o.name, db: db, unregister: func() {}}
	if o.registerer != nil {
		labelled := prometheus.WrapRegistererWith(prometheus.Labels{"tier": o.name}, o.registerer)
		if err := labelled.Register(registry); err != nil {
			return nil, errors.Join(fmt.Errorf("register metrics of tier %s: %w", o.name, err), db.Close())
		}
		t.unregister = func() { labelled.Unregister(registry) }
	}
	return t, nil
}

func (t *tier) close() error {
	t.unregister()
	if err := t.db.Close(); err != nil {
		return fmt.Errorf("close tier %s: %w", t.name, err)
	}
	return nil
}

// corruptions reads from the TSDB's own metrics how often it met damage while it opened: it repairs silently but for these.
func corruptions(g prometheus.Gatherer) float64 {
	families, err := g.Gather()
	if err != nil {
		return 0
	}
	var n float64
	for _, f := range families {
		switch f.GetName() {
		case "prometheus_tsdb_wal_corruptions_total", "prometheus_tsdb_mmap_chunk_corruptions_total":
			for _, m := range f.GetMetric() {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}
