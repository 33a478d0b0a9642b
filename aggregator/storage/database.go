package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

// outOfOrderChunkSamples is how many late samples of a series are gathered in memory before they are written out. The TSDB's
// own 32 suits stragglers; an imported history comes in tens of thousands.
const outOfOrderChunkSamples = 120

// blockSegment is how large the files of a block's chunks may get.
const blockSegment = 32 << 20

// walCompression was measured: without any the logs take 11.0 bytes a sample at 4.0 million samples a second, with snappy 7.4 at
// 3.5, with zstd 5.9 at 2.6.
const walCompression = compression.Snappy

// databaseOptions say how a tier is kept.
type databaseOptions struct {
	name       string
	dir        string
	logger     *slog.Logger
	registerer prometheus.Registerer // may be nil
	guard      *guard
	retention  time.Duration
	outOfOrder time.Duration
	minBlock   time.Duration
	// maxBytes and maxPercentage (of the file system) bound logs and blocks together; 0 is no limit.
	maxBytes      int64
	maxPercentage float64
	// stripes is how many parts the table of series is divided in.
	stripes int
	// headSnapshot keeps the head's samples in a file of its own at a clean stop, so that the next start need not read the log.
	headSnapshot bool
	tune         func(*tsdb.Options) // may be nil
}

func (o databaseOptions) tsdb() *tsdb.Options {
	out := tsdb.DefaultOptions()
	// The lock of the store's directory holds for its tiers.
	out.NoLockfile = true
	out.WALCompression = walCompression
	out.RetentionDuration = o.retention.Milliseconds()
	out.MaxBytes = o.maxBytes
	out.MaxPercentage = o.maxPercentage
	out.OutOfOrderTimeWindow = o.outOfOrder.Milliseconds()
	out.OutOfOrderCapMax = outOfOrderChunkSamples
	out.StripeSize = o.stripes
	out.MinBlockDuration = o.minBlock.Milliseconds()
	// Blocks grow up to a tenth of the retention but not beyond 31 days, as Prometheus' own main does
	// (prometheus cmd/prometheus/main.go): retention drops whole blocks only.
	out.MaxBlockDuration = max(o.minBlock, min(31*24*time.Hour, o.retention/10)).Milliseconds()
	out.EnableMemorySnapshotOnShutdown = o.headSnapshot
	out.NewCompactorFunc = newCompactor(o.guard)
	// The TSDB takes room for a whole segment of a block before it writes any of it, which 512 MiB would often be too much for.
	out.MaxBlockChunkSegmentSize = blockSegment
	// Isolation stays on: the compaction of the head waits by it for appends that began before, and would lose them without.
	if o.tune != nil {
		o.tune(out)
	}
	return out
}

// database is an open TSDB and what is kept only as long as it is open.
type database struct {
	*tsdb.DB
	name   string
	window time.Duration
	// nodes remembers the numbers of series, which hold for this opening only.
	nodes nodes
	// failures count the writes that wal and wbl could not take.
	failures []prometheus.Metric
	// broken is called when a write to a log has failed.
	broken func(*database)
	// users are the calls and queries under way.
	users      sync.WaitGroup
	unregister func()
}

// openDatabase opens a TSDB, without the blocks that are damaged, and repairs its logs.
func openDatabase(o databaseOptions, notify wlog.WriteNotified) (*database, error) {
	logger := o.logger.With("tier", o.name)
	damaged, err := repairLogs(o.dir, logger)
	if err = errors.Join(err, setDamagedBlocksAside(o.dir, logger)); err != nil {
		return nil, fmt.Errorf("open %q: %w", o.dir, err)
	}
	// The TSDB registers before it is sure to open. Its own registry keeps a failed try from leaving metrics behind.
	registry := prometheus.NewRegistry()
	spotter := &failureSpotter{Registerer: registry}
	db, err := tsdb.Open(o.dir, logger, spotter, o.tsdb(), nil)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", o.dir, err)
	}
	d := &database{DB: db, name: o.name, window: o.outOfOrder, failures: spotter.failures, unregister: func() {}}
	if len(d.failures) != 2 {
		return nil, errors.Join(fmt.Errorf("open %q: the TSDB has %d of 2 counters of failed writes", o.dir, len(d.failures)), d.close())
	}
	repaired := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "foretide_aggregator_storage_repaired",
		Help: "1 when the end of one of the tier's logs was damaged at start and has been cut off, else 0.",
	})
	registry.MustRegister(repaired)
	if damaged || corruptions(registry) > 0 {
		repaired.Set(1)
		logger.Warn("a log was damaged: what could be read was kept, the rest was cut off", "dir", o.dir)
	}
	d.SetWriteNotified(notify)
	if o.registerer != nil {
		labelled := prometheus.WrapRegistererWith(prometheus.Labels{"tier": o.name}, o.registerer)
		if err := labelled.Register(registry); err != nil {
			return nil, errors.Join(fmt.Errorf("register metrics of tier %s: %w", o.name, err), d.close())
		}
		d.unregister = func() { labelled.Unregister(registry) }
	}
	return d, nil
}

// close waits for those who use it, and closes it.
func (d *database) close() (err error) {
	d.users.Wait()
	d.unregister()
	defer func() {
		// The TSDB panics when it cannot write the full chunks of its head. All that is in them is in the log too.
		if p := recover(); p != nil {
			err = fmt.Errorf("close tier %s: %v", d.name, p)
		}
	}()
	err = d.Close()
	if d.missedWrites() {
		// The head's own file says from where on the log is to be read, which would leave the damage before that unrepaired.
		err = errors.Join(err, tsdb.DeleteChunkSnapshots(d.Dir(), math.MaxInt, math.MaxInt))
	}
	if err != nil {
		return fmt.Errorf("close tier %s: %w", d.name, err)
	}
	return nil
}

// release ends a use; see [tier.use].
func (d *database) release() { d.users.Done() }

// commit makes a transaction durable. After an error nothing of it may be acknowledged.
//
// A log that missed a write must not be written on: half a record may be in it, and whatever follows would be cut off with it at
// the next start; the record of a new series may be missing, and all its later samples with it; and the TSDB says nothing at all
// when the separate log of late samples failed. So from the first failure on, by whomever, no commit succeeds until the tier has
// been opened anew. The counter rises before another commit can follow in the log, hence it is read after.
func (d *database) commit(app storage.AppenderV2) error {
	err := app.Commit()
	if err == nil && !d.missedWrites() {
		return nil
	}
	d.broken(d)
	if err == nil {
		err = errBroken
	}
	return fmt.Errorf("commit to tier %s: %w", d.name, err)
}

func (d *database) missedWrites() bool {
	for _, counter := range d.failures {
		var m dto.Metric
		if counter.Write(&m) != nil || m.GetCounter().GetValue() > 0 {
			return true
		}
	}
	return false
}

// failureSpotter keeps hold of the counters of failed writes among what a TSDB registers.
type failureSpotter struct {
	prometheus.Registerer
	failures []prometheus.Metric
}

// Register passes the collector on.
func (s *failureSpotter) Register(c prometheus.Collector) error {
	if err := s.Registerer.Register(c); err != nil {
		return err
	}
	described := make(chan *prometheus.Desc)
	go func() {
		c.Describe(described)
		close(described)
	}()
	for d := range described {
		for _, name := range []string{"prometheus_tsdb_wal_writes_failed_total", "prometheus_tsdb_out_of_order_wbl_writes_failed_total"} {
			if strings.Contains(d.String(), `"`+name+`"`) {
				counter := make(chan prometheus.Metric, 1)
				c.Collect(counter)
				s.failures = append(s.failures, <-counter)
			}
		}
	}
	return nil
}

// MustRegister passes the collectors on.
func (s *failureSpotter) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := s.Register(c); err != nil {
			panic(err)
		}
	}
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
