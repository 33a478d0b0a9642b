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
// A minute in which a policy was not decided is not written; one in which the replicas changed keeps why, for they are steady soon after.
type diary struct {
	store *storage.Store
	log   *slog.Logger

	mu      sync.Mutex
	now     map[storage.Policy]noted
	ended   []storage.Decided
	failing bool // it was logged that they cannot be written
}

// noted is the newest of a policy.
type noted struct {
	storage.Decided
	changed bool // the replicas did, in this minute
	written bool
}

func newDiary(store *storage.Store, log *slog.Logger) *diary {
	return &diary{store: store, log: log, now: map[storage.Policy]noted{}}
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
	before, ok := d.now[decided.Policy]
	known := ok && before.Desired != nil && decided.Desired != nil
	changed := known && *before.Desired != *decided.Desired
	switch {
	case ok && before.At.Before(decided.At) && !before.written:
		d.ended = append(d.ended, before.Decided)
	case known && !changed && before.changed && before.At.Equal(decided.At):
		return
	}
	d.now[decided.Policy] = noted{Decided: decided, changed: changed}
}

// forget drops a policy that is gone; what it decided last is written.
func (d *diary) forget(policy storage.Policy) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if last, ok := d.now[policy]; ok && !last.written {
		d.ended = append(d.ended, last.Decided)
	}
	delete(d.now, policy)
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
	for policy, newest := range d.now {
		if !newest.written && !newest.At.After(now) {
			d.ended = append(d.ended, newest.Decided)
			newest.written = true
			d.now[policy] = newest
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
