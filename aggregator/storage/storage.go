// Package storage keeps history in two embedded Prometheus TSDBs below one directory: "workload" (demand per workload, small
// and long) and "raw" (every reading and usage, large and short).
//
//	telemetry.Batch → AppendBatch → raw
//	demand of a workload → AppendDemand, AppendDemandHistory → workload → Demand → forecast
//
// A call that returned nil is in the write-ahead log: it survives the death of the process. README.md says what is on disk and
// what a crash can lose. The types of the TSDB do not leave this package.
package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of the options.
const (
	DefaultRawRetention        = 7 * 24 * time.Hour
	DefaultWorkloadRetention   = 90 * 24 * time.Hour
	DefaultRawOutOfOrderWindow = time.Hour
)

// Limits of what is taken.
const (
	// minRetention is the shortest retention: head and first block must fit well within it.
	minRetention = 24 * time.Hour
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
	// RawOutOfOrderWindow is how much older than the newest stored sample a batch may be.
	RawOutOfOrderWindow time.Duration
	// RawMaxPercentage is how much of the file system the raw tier may take before its oldest blocks go, 1 to 100; 0 is no limit.
	RawMaxPercentage float64
	// Now is the clock that bounds sample times; nil means time.Now.
	Now func() time.Time
}

// Store is an open store. Its methods may be called at the same time.
type Store struct {
	opts          Options
	workload, raw *tier

	mu     sync.RWMutex
	closed bool
}

// Open opens or creates the store, the workload tier first, replays the write-ahead logs and repairs a torn end (logged as a
// warning and shown by foretide_aggregator_storage_repaired). When another process holds the directory the error says so.
func Open(opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{opts: opts}
	s.workload, err = openTier(tierOptions{
		name: "workload", dir: filepath.Join(opts.Dir, "workload"), logger: opts.Logger, registerer: opts.Registerer,
		retention: opts.WorkloadRetention,
		// A recorded history may be handed in at any time, so everything within the retention is taken in any order.
		outOfOrder: opts.WorkloadRetention,
		// One sample a minute and series: half a day fills a block as two hours do at one sample in ten seconds.
		minBlock: 12 * time.Hour,
	})
	if err != nil {
		return nil, err
	}
	s.raw, err = openTier(tierOptions{
		name: "raw", dir: filepath.Join(opts.Dir, "raw"), logger: opts.Logger, registerer: opts.Registerer,
		retention: opts.RawRetention, outOfOrder: opts.RawOutOfOrderWindow, minBlock: 2 * time.Hour,
		maxPercentage: opts.RawMaxPercentage,
	})
	if err != nil {
		return nil, errors.Join(err, s.workload.close())
	}
	return s, nil
}

// Close ends all calls under way, then closes both tiers. Calls made later get ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(s.raw.close(), s.workload.close())
}

// use keeps the store open until the returned function is called.
func (s *Store) use() (done func(), err error) {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return nil, ErrClosed
	}
	return s.mu.RUnlock, nil
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
	for _, d := range []struct {
		name     string
		value    *time.Duration
		fallback time.Duration
		least    time.Duration
	}{
		{"raw retention", &o.RawRetention, DefaultRawRetention, minRetention},
		{"workload retention", &o.WorkloadRetention, DefaultWorkloadRetention, minRetention},
		{"raw out-of-order window", &o.RawOutOfOrderWindow, DefaultRawOutOfOrderWindow, time.Minute},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
		if *d.value < d.least {
			return o, fmt.Errorf("%s is %v: it must be at least %v", d.name, *d.value, d.least)
		}
	}
	if o.RawOutOfOrderWindow > o.RawRetention {
		return o, fmt.Errorf("raw out-of-order window is %v: it must not exceed the raw retention of %v",
			o.RawOutOfOrderWindow, o.RawRetention)
	}
	return o, nil
}
