// Package query answers PromQL over HTTP as a Prometheus does, so that Grafana, promtool and any other client of the Prometheus
// API takes the aggregator as a data source. It can also take remote writes.
//
//	client → limits (size, places, time) → Prometheus' own API and PromQL engine → Queryable → history
//	sender → limits → Prometheus' own receiver → own names guarded → Writer → history
//
// README.md lists the endpoints and limits and says how Grafana and others are pointed here.
package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// Defaults of the options.
const (
	DefaultTimeout       = 30 * time.Second
	DefaultLookbackDelta = 5 * time.Minute
	// DefaultMaxSamples takes 400 MB of memory, 16 bytes each: an hour at 15 s of 100,000 series.
	DefaultMaxSamples = 25_000_000
	// waitingPerPlace is how many requests may wait for each that runs: several dashboards of 30 panels may be opened at once.
	waitingPerPlace = 32
)

// Statistics says what a history is made of.
type Statistics interface {
	// Stats returns up to limit of the largest of each kind; those by value are of the given label.
	Stats(byLabel string, limit int) (*tsdb.Stats, error)
}

// Options of an API. Only Queryable is needed; zero values mean the defaults.
type Options struct {
	// Queryable is the history. An error for which errors.Is(err, tsdb.ErrNotReady) holds is answered with 503 and its text.
	Queryable storage.SampleAndChunkQueryable
	// Writer takes what remote writers send; nil means there is no receiver.
	Writer storage.AppendableV2
	// AcceptOwnNames lets remote writers write series whose names begin with foretide_, as another Foretide's remote write does.
	// Without it these are left out, since nobody could tell them from what this aggregator's own agents measured.
	AcceptOwnNames bool
	// Statistics is for status/tsdb, which is not there when it is nil.
	Statistics Statistics
	// Version is Foretide's own.
	Version string
	// Timeout bounds a request, waiting for a place included.
	Timeout time.Duration
	// MaxSamples is how many samples one query may hold in memory at a time, and one remote read of samples may return.
	MaxSamples int
	// MaxConcurrent is how many requests read at the same time, and how many write; 0 means one per core, at least 2: a query keeps
	// one core busy, so more would only take more memory.
	MaxConcurrent int
	// MaxWaiting is how many more may wait for their turn; 0 means 32 for each that runs.
	MaxWaiting int
	// LookbackDelta is how long a series without a new sample still counts as there.
	LookbackDelta time.Duration
	// Experimental turns on what PromQL's authors do not promise to keep: experimental functions, fill modifiers, unquoted UTF-8
	// names, delayed removal of names and the use of start timestamps.
	Experimental bool
	Logger       *slog.Logger
	Registerer   prometheus.Registerer
	// Gatherer has the metrics of the TSDB, for the number of chunks that status/tsdb shows.
	Gatherer prometheus.Gatherer
}

// API is the HTTP API.
type API struct {
	opts    Options
	metrics *metrics
	reads   *gate
	writes  *gate
	mux     *http.ServeMux
}

// New returns an API. Errors name the option that is wrong, or the metric that is registered already.
func New(o Options) (*API, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	// Prometheus' code panics when a metric is registered already; what it registers here is registered as a whole below.
	registry := prometheus.NewRegistry()
	a := &API{
		opts:    o,
		metrics: newMetrics(registry),
		reads:   newGate(o.MaxConcurrent, o.MaxWaiting),
		writes:  newGate(o.MaxConcurrent, o.MaxWaiting),
		mux:     http.NewServeMux(),
	}
	a.metrics.watch(registry, "read", a.reads)
	a.metrics.watch(registry, "write", a.writes)
	a.mount(newPrometheus(o, registry))
	if o.Registerer != nil {
		if err := o.Registerer.Register(registry); err != nil {
			return nil, fmt.Errorf("register metrics of query: %w", err)
		}
	}
	return a, nil
}

// Handler serves everything below /api/v1/; paths that are not known are answered with 404 in the API's form. It asks nobody who
// the caller is.
func (a *API) Handler() http.Handler { return a.mux }

func (o Options) withDefaults() (Options, error) {
	if o.Queryable == nil {
		return o, errors.New("query: Options.Queryable is needed")
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"Timeout", int64(o.Timeout)}, {"MaxSamples", int64(o.MaxSamples)}, {"MaxConcurrent", int64(o.MaxConcurrent)},
		{"MaxWaiting", int64(o.MaxWaiting)}, {"LookbackDelta", int64(o.LookbackDelta)},
	} {
		if n.value < 0 {
			return o, fmt.Errorf("query: Options.%s is %d: it must be positive, or 0 for the default", n.name, n.value)
		}
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxSamples == 0 {
		o.MaxSamples = DefaultMaxSamples
	}
	if o.MaxConcurrent == 0 {
		o.MaxConcurrent = max(2, runtime.GOMAXPROCS(0))
	}
	if o.MaxWaiting == 0 {
		o.MaxWaiting = waitingPerPlace * o.MaxConcurrent
	}
	if o.LookbackDelta == 0 {
		o.LookbackDelta = DefaultLookbackDelta
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = slog.New(newSparing(o.Logger.Handler()))
	if o.Gatherer == nil {
		o.Gatherer = prometheus.NewRegistry()
	}
	return o, nil
}

// statusOf gives the errors their HTTP status that Prometheus' API does not know one for. The type of its first parameter has no
// name outside of that API.
func statusOf[N any](_ N, err error) (int, bool) {
	if errors.Is(err, tsdb.ErrNotReady) || errors.Is(err, context.DeadlineExceeded) {
		return http.StatusServiceUnavailable, true
	}
	return 0, false
}
