package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/storage"
)

const (
	// diaryEvery is how often the minutes that have ended are written.
	diaryEvery = 10 * time.Second
	// diaryKeeps is how long a minute that cannot be written is tried again.
	diaryKeeps = 10 * time.Minute
)

// diary writes into the history what each policy decided last in each minute, so that a report can tell of a week, after a restart, too.
// A minute in which a policy was not decided is not written.
type diary struct {
	store *storage.Store
	log   *slog.Logger

	mu      sync.Mutex
	now     map[storage.Policy]storage.Decided // of the minute that is not over
	ended   []storage.Decided
	failing bool // it was logged that they cannot be written
}

func newDiary(store *storage.Store, log *slog.Logger) *diary {
	return &diary{store: store, log: log, now: map[storage.Policy]storage.Decided{}}
}

// observe takes an evaluation.
func (d *diary) observe(e controller.Evaluation) {
	decided := storage.Decided{
		Policy: storage.Policy{Namespace: e.Namespace, Name: e.Name},
		At:     e.At.Truncate(time.Minute).Add(time.Minute), Reason: e.Problem.Reason,
	}
	if made := e.Decision; made != nil {
		decided.Desired, decided.Proactive, decided.Reactive, decided.Reason = &made.Replicas, made.Proactive, made.Reactive, string(made.Reason)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if before, ok := d.now[decided.Policy]; ok && before.At.Before(decided.At) {
		d.ended = append(d.ended, before)
	}
	d.now[decided.Policy] = decided
}

// run writes what has ended until ctx is done.
func (d *diary) run(ctx context.Context) error {
	for wait(ctx, diaryEvery) {
		d.keep(ctx, time.Now())
	}
	return nil
}

// keep writes the minutes that ended by now.
func (d *diary) keep(ctx context.Context, now time.Time) {
	d.mu.Lock()
	for policy, decided := range d.now {
		if !decided.At.After(now) {
			d.ended = append(d.ended, decided)
			delete(d.now, policy)
		}
	}
	ended := d.ended
	d.ended = nil
	d.mu.Unlock()
	if len(ended) == 0 {
		return
	}
	err := d.store.AppendDecisions(ctx, ended)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.failing = false
		return
	}
	for _, decided := range ended {
		if now.Sub(decided.At) < diaryKeeps {
			d.ended = append(d.ended, decided)
		}
	}
	if !d.failing && ctx.Err() == nil {
		d.failing = true
		d.log.Warn("decisions cannot be written to the history now; those of this time may be missing in reports", "err", err)
	}
}
