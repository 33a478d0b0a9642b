package storage

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// RawAppender is the raw tier for a receiver of remote writes. A transaction fails, to be sent again, while the tier is not open
// or the disk is full; a sample too far in the future or older than the retention is storage.ErrOutOfBounds, which is for good.
// Exemplars are not kept.
func (s *Store) RawAppender() storage.AppendableV2 { return rawAppendable{s} }

type rawAppendable struct{ store *Store }

// AppenderV2 begins a transaction, which holds the tier open until Commit or Rollback.
func (r rawAppendable) AppenderV2(ctx context.Context) storage.AppenderV2 {
	db, err := r.store.raw.useToWrite()
	if err != nil {
		return failedAppender{err}
	}
	return &rawAppender{transaction: db.begin(ctx), now: r.store.opts.Now(), retention: r.store.opts.RawRetention}
}

type rawAppender struct {
	transaction
	now       time.Time
	retention time.Duration
}

// Append adds a sample.
func (a *rawAppender) Append(ref storage.SeriesRef, series labels.Labels, start, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	if err := checkTime("sample", time.UnixMilli(t), a.now, a.retention); err != nil {
		return 0, fmt.Errorf("%w: %w", storage.ErrOutOfBounds, err)
	}
	opts.Exemplars = nil
	return a.app.Append(ref, series, start, t, v, h, fh, opts)
}

// AppendExemplars drops them.
func (a *rawAppender) AppendExemplars(ref storage.SeriesRef, _ labels.Labels, _ []exemplar.Exemplar) (storage.SeriesRef, error) {
	return ref, nil
}

// Commit makes the samples durable.
func (a *rawAppender) Commit() error {
	defer a.db.release()
	return a.commit()
}

// Rollback forgets the samples.
func (a *rawAppender) Rollback() error {
	defer a.db.release()
	return a.app.Rollback()
}

// failedAppender says to everything why there is none.
type failedAppender struct{ err error }

// Append fails.
func (a failedAppender) Append(storage.SeriesRef, labels.Labels, int64, int64, float64, *histogram.Histogram, *histogram.FloatHistogram, storage.AOptions) (storage.SeriesRef, error) {
	return 0, fmt.Errorf("nothing can be written: %w", a.err)
}

// AppendExemplars fails.
func (a failedAppender) AppendExemplars(storage.SeriesRef, labels.Labels, []exemplar.Exemplar) (storage.SeriesRef, error) {
	return 0, fmt.Errorf("nothing can be written: %w", a.err)
}

// Commit fails.
func (a failedAppender) Commit() error { return fmt.Errorf("nothing can be written: %w", a.err) }

// Rollback has nothing to do.
func (failedAppender) Rollback() error { return nil }
