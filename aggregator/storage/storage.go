// Package storage keeps history in two embedded Prometheus TSDBs below one directory: "workload" (demand per workload, small
// and long) and "raw" (every reading and usage, large and short).
//
//	telemetry.Frame → AppendFrames → raw ─────────────────────────────────────────┐
//	demand of a workload → AppendDemand, AppendDemandHistory ─┬─► workload ─┬─────┴─► Queryable → PromQL
//	what was forecast of it → AppendForecasts ────────────────┘             └─► Demand, Forecasts → forecast, accuracy
//
// A call that returned nil is in the write-ahead log: it survives the death of the process. README.md says what is on disk, what
// a crash can lose, and what happens when the disk is full.
package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb"
)

// Defaults of the options.
const (
	DefaultRawRetention        = 7 * 24 * time.Hour
	DefaultWorkloadRetention   = 90 * 24 * time.Hour
	DefaultRawOutOfOrderWindow = 2 * time.Hour
)

// Limits of what is taken.
const (
	// minRetention is the shortest retention: head and first block must fit well within it.
	minRetention = 24 * time.Hour
	// rawBlock is the time a block of the raw tier spans at first.
	rawBlock = 2 * time.Hour
	// minWindow is the shortest out-of-order window. Up to half a block late a sample may be judged to be in order when it is
	// appended and out of order when it is committed, and a shorter window would drop it there without a word.
	minWindow = rawBlock / 2
	// maxAhead is how far beyond the clock of this process a sample may lie. The TSDB measures retention from its newest
	// sample, so one sample of a far future would delete all history.
	maxAhead = 10 * time.Minute
)

// Options of a store. Zero durations mean the defaults.
type Options struct {
	// Dir holds the two tiers; it is made when missing. One process at a time may have it open.
	Dir string
	// Logger gets the TSDBs' own lines with the attribute "tier". Nil means silence.
	Logger *slog.Logger
	// Registerer gets the TSDBs' metrics under their well-known names (prometheus_tsdb_*) with the label "tier". May be nil.
	Registerer prometheus.Registerer
	// RawRetention and WorkloadRetention are how long samples are kept, at least a day.
	RawRetention, WorkloadRetention time.Duration
	// RawOutOfOrderWindow is how much older than the newest stored sample a frame may be, at least an hour.
	RawOutOfOrderWindow time.Duration
	// RawMaxBytes is how much the raw tier may take, its logs included, before its oldest blocks go; 0 is no limit.
	RawMaxBytes int64
	// RawMaxPercentage is the same as a part of the file system, 1 to 100; 0 is no limit. Only one of the two may be given.
	RawMaxPercentage float64
	// Now is the clock that bounds sample times; nil means time.Now.
	Now func() time.Time

	// space asks for the room on the file system, at most once each spaceEvery; tests have their own.
	space      func() (space, error)
	spaceEvery time.Duration
	// tune changes how the TSDBs are opened; tests have small ones.
	tune func(*tsdb.Options)
}

// Store is an open store. Its methods may be called at the same time.
type Store struct {
	opts          Options
	directory     *directory
	metrics       *metrics
	names         nameCheck
	workload, raw *tier
	failed        chan error
	closing       sync.Once
	closed        error
}

// Open opens or creates a store and returns when the workload tier is open, which decisions need; the raw tier follows on its
// own: see [Store.WaitRaw] and [Store.Failed]. Opening replays the write-ahead logs, repairs a torn end (logged as a warning and
// shown by foretide_aggregator_storage_repaired) and sets damaged blocks aside. When another process holds the directory the
// error says so.
func Open(opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{opts: opts, metrics: newMetrics(), failed: make(chan error, 2)}
	s.names = nameCheck{logger: opts.Logger, dropped: s.metrics.dropped}
	if s.directory, err = takeDirectory(opts.Dir); err != nil {
		return nil, err
	}
	g := &guard{measure: opts.space, every: opts.spaceEvery, logger: opts.Logger, gauge: s.metrics.diskFull}
	s.workload = newTier(databaseOptions{
		name: "workload", dir: filepath.Join(opts.Dir, "workload"), logger: opts.Logger, registerer: opts.Registerer, guard: g,
		tune: opts.tune, retention: opts.WorkloadRetention,
		// A recorded history may be handed in at any time, so everything within the retention is taken in any order.
		outOfOrder: opts.WorkloadRetention,
		// One sample a minute and series: half a day fills a block as two hours do at one sample in ten seconds.
		minBlock: 12 * time.Hour, stripes: 1 << 10,
	}, s.metrics, s.failed)
	s.raw = newTier(databaseOptions{
		name: "raw", dir: filepath.Join(opts.Dir, "raw"), logger: opts.Logger, registerer: opts.Registerer, guard: g,
		tune: opts.tune, retention: opts.RawRetention, outOfOrder: opts.RawOutOfOrderWindow, minBlock: rawBlock,
		maxBytes: opts.RawMaxBytes, maxPercentage: opts.RawMaxPercentage, headSnapshot: true,
		// Finding a series by its number is a third of the work. With half a million of them it takes half as long in 65,536 parts,
		// of a few series each, as in the TSDB's 16,384; a part is 240 bytes.
		stripes: 1 << 16,
	}, s.metrics, s.failed)
	if opts.Registerer != nil {
		if err := opts.Registerer.Register(s.metrics.registry); err != nil {
			return nil, errors.Join(fmt.Errorf("register metrics of the store: %w", err), s.directory.release())
		}
	}
	if err := s.workload.open(); err != nil {
		s.unregister()
		return nil, errors.Join(err, s.directory.release())
	}
	s.raw.openInBackground()
	return s, nil
}

// ID names the history for good: a store that was restored from a snapshot has another one.
func (s *Store) ID() string { return s.directory.id }

// WaitRaw returns nil when the raw tier is open, or why it will not be.
func (s *Store) WaitRaw(ctx context.Context) error { return s.raw.wait(ctx) }

// Failed gets the error after which a tier does not open any more. The store should be closed and the process end then.
func (s *Store) Failed() <-chan error { return s.failed }

// OnOpen calls f for each tier that is open and for each that opens later, also again when one is opened anew. f must not close
// the store.
func (s *Store) OnOpen(f func(Tier)) {
	s.workload.follow(f)
	s.raw.follow(f)
}

// Close waits for the calls, the queries and the opening under way, then closes both tiers. Calls made later get ErrClosed.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.closed = errors.Join(s.raw.close(), s.workload.close(), s.directory.release())
		s.unregister()
	})
	return s.closed
}

func (s *Store) unregister() {
	if s.opts.Registerer != nil {
		s.opts.Registerer.Unregister(s.metrics.registry)
	}
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("storage directory is empty: name one")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.space == nil {
		dir := o.Dir
		o.space, o.spaceEvery = func() (space, error) { return spaceOf(dir) }, spaceEvery
	}
	for _, d := range []struct {
		name     string
		value    *time.Duration
		fallback time.Duration
		least    time.Duration
	}{
		{"raw retention", &o.RawRetention, DefaultRawRetention, minRetention},
		{"workload retention", &o.WorkloadRetention, DefaultWorkloadRetention, minRetention},
		{"raw out-of-order window", &o.RawOutOfOrderWindow, DefaultRawOutOfOrderWindow, minWindow},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
		if *d.value < d.least {
			return o, fmt.Errorf("%s is %v: it must be at least %v", d.name, *d.value, d.least)
		}
	}
	switch {
	case o.RawOutOfOrderWindow > o.RawRetention:
		return o, fmt.Errorf("raw out-of-order window is %v: it must not exceed the raw retention of %v", o.RawOutOfOrderWindow, o.RawRetention)
	case o.RawMaxBytes < 0:
		return o, fmt.Errorf("raw max bytes is %d: it must be 0, for no limit, or more", o.RawMaxBytes)
	case !(o.RawMaxPercentage >= 0 && o.RawMaxPercentage <= 100):
		return o, fmt.Errorf("raw max percentage is %v: it must be 0, for no limit, to 100", o.RawMaxPercentage)
	case o.RawMaxBytes > 0 && o.RawMaxPercentage > 0:
		return o, fmt.Errorf("raw max bytes is %d and raw max percentage is %v: give one of them", o.RawMaxBytes, o.RawMaxPercentage)
	}
	return o, nil
}
