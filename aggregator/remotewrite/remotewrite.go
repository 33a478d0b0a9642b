// Package remotewrite sends what the history takes on to any engine that speaks Prometheus remote write 1.0 or 2.0.
//
//	storage → write-ahead log on disk → watcher → queue, shards → HTTP → Prometheus, Mimir, Thanos, VictoriaMetrics …
//
// The log is the queue: storage writes it in any case and never waits for the engine. An engine that is slow or away is caught
// up with from the log as far back as that reaches. README.md says how far, and what a restart leaves out.
package remotewrite

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

// flushAtMost is how long Close waits for the engine to take what was read from the logs. Kubernetes gives a pod 30 s to stop,
// and the history is closed after this.
const flushAtMost = 5 * time.Second

// Options of a writer.
type Options struct {
	Config *Config
	// Logger gets the queues' own lines with the attribute "tier", equal ones once a minute. Nil means silence.
	Logger *slog.Logger
	// Registerer gets the queues' metrics under their well-known names (prometheus_remote_storage_*, prometheus_wal_watcher_*)
	// with the label "tier". May be nil.
	Registerer prometheus.Registerer
}

// Writer sends the logs it follows to every engine of its configuration. Its methods may be called at the same time.
type Writer struct {
	o           Options
	flushAtMost time.Duration

	mu     sync.Mutex
	queues []*remote.Storage
}

// Notified wants to hear of every write to the log it follows (tsdb.DB.SetWriteNotified). It does not block.
type Notified interface{ Notify() }

// New returns a writer that follows nothing yet.
func New(o Options) *Writer {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Writer{o: o, flushAtMost: flushAtMost}
}

// Follow sends on what is written to the log of a tier from now on: samples whose time is after now. Call it before the tier is
// opened, so that agents' batches of the time it takes to open are sent too. dir is the tier's directory; it is made when
// missing. What it returns is to be told of every write; without that the log is looked at every 15 seconds.
func (w *Writer) Follow(tier, dir string) (Notified, error) {
	if err := beginLog(filepath.Join(dir, "wal")); err != nil {
		return nil, fmt.Errorf("remote write of tier %s: %w", tier, err)
	}
	registerer := w.o.Registerer
	if registerer != nil {
		registerer = prometheus.WrapRegistererWith(prometheus.Labels{"tier": tier}, registerer)
	}
	queue := remote.NewStorage(w.o.Logger.With("tier", tier), registerer, nil, dir, w.flushAtMost, nil, false)
	err := queue.ApplyConfig(&config.Config{
		GlobalConfig:       config.GlobalConfig{ExternalLabels: w.o.Config.externalLabels},
		RemoteWriteConfigs: w.o.Config.writes,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("remote write of tier %s: %w", tier, err), queue.Close())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queues = append(w.queues, queue)
	return &reminder{queue: queue, again: time.AfterFunc(remindAfter, queue.Notify)}, nil
}

// remindAfter is how long after the last write the watcher is told once more.
const remindAfter = 100 * time.Millisecond

// reminder tells the watcher of a write, and once more when nothing is written for a moment: what the watcher is told while it
// reads it does not hear, and would find the end of a burst of writes only 15 s later.
type reminder struct {
	queue *remote.Storage
	again *time.Timer
}

// Notify implements Notified.
func (r *reminder) Notify() {
	r.queue.Notify()
	r.again.Reset(remindAfter)
}

// beginLog gives a log that was never written its first segment, empty, as the TSDB leaves one at every start: a watcher that
// finds none looks again only 5 s later, and would pass over what comes meanwhile.
func beginLog(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	_, last, err := wlog.Segments(dir)
	if err != nil || last >= 0 {
		return err
	}
	segment, err := wlog.CreateSegment(dir, 0)
	if err != nil {
		return err
	}
	return segment.Close()
}

// Close stops following and waits up to 5 s for the engines to take what was read. The tiers may be closed before or after.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	errs := make([]error, len(w.queues))
	var closing sync.WaitGroup
	for i, q := range w.queues {
		closing.Go(func() { errs[i] = q.Close() })
	}
	closing.Wait()
	w.queues = nil
	return errors.Join(errs...)
}
