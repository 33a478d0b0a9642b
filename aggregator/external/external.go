// Package external asks a forecaster elsewhere for demand to come, over HTTP: a foundation model, say.
//
//	Ask ─► queue ─► POST, a task on a line ─► an answer on a line ─► checked ─► Answer, for some minutes
//	         └ full, or paused after failures: not asked
//
// Neither Ask nor Answer waits for anything. An answer that is late, or wrong in any of its numbers, is as none: it is counted,
// and whoever asked uses what it has. Nothing is mended.
package external

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promconfig "github.com/prometheus/common/config"

	"github.com/foretide/foretide/pkg/lane"
)

// DefaultTimeout is how long an answer may take.
const DefaultTimeout = 5 * time.Second

const (
	// atOnce is how many tasks are under way at a time, and waiting how many more are kept: each has four weeks of five minutes, 64 KB.
	atOnce, waiting = 4, 64
	// fresh is how long after the end of its history an answer counts. Every workload is asked about once in five minutes.
	fresh = 10 * time.Minute
	// pauseAfter failures in a row nothing is asked for a while, from firstPause up to lastPause.
	pauseAfter            = 5
	firstPause, lastPause = 30 * time.Second, 10 * time.Minute
	// quiet is how long there must have been no failure for that to be told.
	quiet = time.Minute
)

// Options of a Forecaster.
type Options struct {
	// URL is what tasks are posted to.
	URL string
	// HTTPConfigFile has the HTTP client settings of Prometheus' configuration (basic_auth, tls_config and so on); empty: no login,
	// and the system's certificate authorities.
	HTTPConfigFile string
	// Timeout of one answer; 0 is DefaultTimeout.
	Timeout    time.Duration
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Forecaster is one that is asked over HTTP. Its methods may be called at the same time.
type Forecaster struct {
	opts    Options
	client  *http.Client
	name    string // the URL without a password
	queue   chan Task
	results *prometheus.CounterVec

	mu       sync.Mutex
	tasks    map[string]*task
	swept    time.Time
	pause    lane.Backoff
	failures int // in a row
	// told are the kinds of failures that were logged and are not over, failed is when the last was.
	told   map[reason]bool
	failed time.Time
}

// task is what is known of one that was asked.
type task struct {
	underway bool
	asked    time.Time
	answer   Answer
}

// New returns a Forecaster; Run has it ask.
func New(o Options) (*Forecaster, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is no URL of a forecaster: it must be like http://forecaster:8080/forecast", o.URL)
	}
	if o.Logger == nil || o.Registerer == nil {
		return nil, errors.New("external: Options.Logger and Registerer are both needed")
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	config := &promconfig.DefaultHTTPClientConfig
	if o.HTTPConfigFile != "" {
		if config, _, err = promconfig.LoadHTTPConfigFile(o.HTTPConfigFile); err != nil {
			return nil, fmt.Errorf("%q: %w", o.HTTPConfigFile, err)
		}
	}
	client, err := promconfig.NewClientFromConfig(*config, "forecaster", promconfig.WithUserAgent("foretide-aggregator"))
	if err != nil {
		return nil, fmt.Errorf("access to %s: %w", u.Redacted(), err)
	}
	f := &Forecaster{
		opts: o, client: client, name: u.Redacted(), queue: make(chan Task, waiting),
		tasks: map[string]*task{}, pause: lane.Backoff{First: firstPause, Last: lastPause}, told: map[reason]bool{},
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "foretide_aggregator_external_forecasts_total",
			Help: "Forecasts asked of --forecast.url by what became of them: used, or why not; busy and paused were not asked for.",
		}, []string{"result"}),
	}
	for _, r := range reasons {
		f.results.WithLabelValues(string(r))
	}
	return f, o.Registerer.Register(f.results)
}

// Run asks what there is to be asked until ctx is done.
func (f *Forecaster) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case t := <-f.queue:
					f.ask(ctx, t)
				}
			}
		})
	}
	all.Wait()
	return nil
}

// Ask has a task answered some time later, unless it is under way already, too many are, or the forecaster is left alone for a
// while. It keeps the task's history.
func (f *Forecaster) Ask(t Task) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.opts.Now()
	f.sweep(now)
	known := f.tasks[t.ID]
	switch {
	case known != nil && known.underway:
		return
	case !f.pause.Due(now):
		f.count(paused)
		return
	case known == nil:
		known = &task{}
		f.tasks[t.ID] = known
	}
	select {
	case f.queue <- t:
		known.underway, known.asked = true, now
	default:
		f.count(busy)
	}
}

// Answer returns the newest answer to the task of that name, if it is fresh.
func (f *Forecaster) Answer(id string) (Answer, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.tasks[id]
	if known == nil || known.answer.Mean == nil || f.opts.Now().Sub(known.answer.Origin) > fresh {
		return Answer{}, false
	}
	return known.answer, true
}

// sweep drops, once a minute, what nobody has asked for of late. f.mu is held.
func (f *Forecaster) sweep(now time.Time) {
	if now.Sub(f.swept) < time.Minute {
		return
	}
	f.swept = now
	for id, t := range f.tasks {
		if !t.underway && now.Sub(t.asked) > 2*fresh {
			delete(f.tasks, id)
		}
	}
}

// ask asks one task and keeps the answer.
func (f *Forecaster) ask(ctx context.Context, t Task) {
	var answer Answer
	failure := failed(paused, errors.New("failures came before"))
	if f.due() {
		answer, failure = f.post(ctx, t)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.tasks[t.ID]
	known.underway = false
	now := f.opts.Now()
	switch {
	case ctx.Err() != nil: // it was interrupted, which says nothing
	case failure == nil:
		known.answer = answer
		f.failures = 0
		f.pause.Succeeded()
		f.count(used)
		f.over(now)
	case failure.reason == paused:
		f.count(paused)
	default:
		f.count(failure.reason)
		f.tell(failure, now)
		// Of those that were under way together the first begins the pause.
		if f.failures++; f.failures >= pauseAfter && f.pause.Due(now) {
			f.pause.Failed(now)
		}
	}
}

func (f *Forecaster) due() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pause.Due(f.opts.Now())
}

func (f *Forecaster) count(r reason) { f.results.WithLabelValues(string(r)).Inc() }

// tell logs each kind of failure once while there are any.
func (f *Forecaster) tell(failure *failure, now time.Time) {
	f.failed = now
	if !f.told[failure.reason] {
		f.told[failure.reason] = true
		f.opts.Logger.Warn("the external forecaster failed; our own forecasts stand in", "url", f.name, "reason", string(failure.reason), "err", failure.err)
	}
}

// over logs that there are no more.
func (f *Forecaster) over(now time.Time) {
	if len(f.told) > 0 && now.Sub(f.failed) >= quiet {
		clear(f.told)
		f.opts.Logger.Info("the external forecaster answers well again", "url", f.name)
	}
}
