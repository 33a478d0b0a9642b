package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/foretide/foretide/pkg/telemetry"
)

// AppendFrames writes every value of the frames to the raw tier in one transaction, stamped with the end of their windows, under
// the names the catalogue gives: readings with the labels node, uuid, gpu and model, of a MIG instance also parent, gpu_instance
// and profile; what of them is unattributed with node and uuid; usages with node, namespace, pod, container and uuid. What
// inference servers said keeps the servers' names and has node, namespace and pod; names that are no metric names, or begin with
// foretide_, are left out and counted.
//
// There is one answer for each frame. Nil means it is in the write-ahead log; a frame sent again is success and changes nothing.
// A frame too old or too far in the future is a *RefusedError (ErrRefused) and leaves nothing behind; any other error is
// transient. A frame that is not taken does not stop the others.
//
// Calls may run at the same time, frames of one node are best kept in one of them.
func (s *Store) AppendFrames(ctx context.Context, frames []telemetry.Frame) []error {
	answers := make([]error, len(frames))
	db, err := s.raw.useToWrite()
	if err == nil {
		defer db.release()
		err = ctx.Err()
	}
	if err != nil {
		return fill(answers, err)
	}
	now := s.opts.Now()
	tx := frameWriter{transaction: db.begin(ctx), names: &s.names}
	for i, f := range frames {
		if answers[i] = s.checkFrame(f, now); answers[i] == nil {
			answers[i] = tx.appendFrame(f, db.nodes.get(f.Node, now))
		}
	}
	if err := tx.commit(); err != nil {
		return fill(answers, err)
	}
	return answers
}

// fill gives the error to all that have none.
func fill(answers []error, err error) []error {
	for i := range answers {
		if answers[i] == nil {
			answers[i] = err
		}
	}
	return answers
}

func (s *Store) checkFrame(f telemetry.Frame, now time.Time) error {
	if f.Layout == nil || f.Layout.Len() != len(f.Values) {
		return refuse(ClassInvalid, "frame has %d values and not as many as its layout", len(f.Values))
	}
	return checkTime("window end", f.End, now, s.opts.RawRetention)
}

// checkTime refuses what lies beyond the clock of this process in either direction. Without it one node with a clock of 1970
// or of next year would make the TSDB cut decades of empty blocks or drop all history as out of retention.
func checkTime(what string, t, now time.Time, retention time.Duration) error {
	switch {
	case t.After(now.Add(maxAhead)):
		return refuse(ClassFuture, "%s %s is %v ahead of the clock here: at most %v is taken",
			what, t.UTC().Format(time.RFC3339), t.Sub(now).Round(time.Second), maxAhead)
	case t.Before(now.Add(-retention)):
		return refuse(ClassTooOld, "%s %s is older than the retention of %v", what, t.UTC().Format(time.RFC3339), retention)
	}
	return nil
}

// transaction writes samples that become durable together.
type transaction struct {
	db  *database
	app storage.AppenderV2
}

func (d *database) begin(ctx context.Context) transaction { return transaction{d, d.AppenderV2(ctx)} }

// append adds a sample to the series of that number, or to the one of these labels when it is not known or no longer there, and
// returns its number. The TSDB takes an equal sample silently. One with another value for the same moment is a resend all the
// same: what was acknowledged first stands.
func (x transaction) append(ref storage.SeriesRef, series labels.Labels, t int64, v float64) (storage.SeriesRef, error) {
	got, err := x.app.Append(ref, series, 0, t, v, nil, nil, storage.AOptions{})
	switch {
	case err == nil:
		return got, nil
	case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		return ref, nil
	case errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrOutOfOrderSample):
		return ref, x.db.tooOld(t)
	case errors.Is(err, tsdb.ErrInvalidSample) && series.IsEmpty():
		return unknownSeries, nil
	}
	return ref, fmt.Errorf("append to tier %s: %w", x.db.name, err)
}

func (x transaction) commit() error { return x.db.commit(x.app) }

func (d *database) tooOld(t int64) error {
	newest := time.UnixMilli(d.Head().MaxTime())
	return refuse(ClassTooOld, "%s is %v older than the newest stored sample: at most %v is taken",
		time.UnixMilli(t).UTC().Format(time.RFC3339), newest.Sub(time.UnixMilli(t)).Round(time.Second), d.window)
}

// frameWriter appends frames to the raw tier.
type frameWriter struct {
	transaction
	names *nameCheck
}

// appendFrame appends the values whose series are known by their numbers, which is nearly always all of them, and then the rest
// by their labels. Whether a frame is too old depends on its time alone, so its first value tells.
func (w frameWriter) appendFrame(f telemetry.Frame, s *nodeSeries) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.follow(f.Layout)
	t := f.End.UnixMilli()
	rest := false
	for i, v := range f.Values {
		switch ref := s.refs[i]; ref {
		case noSeries:
		case unknownSeries:
			rest = true
		default:
			got, err := w.append(ref, labels.EmptyLabels(), t, v)
			if err != nil {
				return err
			}
			if got != ref { // The TSDB has dropped the series meanwhile, as it does when nothing comes for hours.
				s.refs[i], rest = got, rest || got == unknownSeries
			}
		}
	}
	if !rest {
		return nil
	}
	return w.appendUnknown(f, s, t)
}

// appendUnknown appends the values whose series are not known, and remembers the numbers of these.
func (w frameWriter) appendUnknown(f telemetry.Frame, s *nodeSeries, t int64) error {
	labeller := labeller{node: f.Node, layout: f.Layout, names: w.names}
	at := 0
	for i := range f.Layout.Columns {
		c := &f.Layout.Columns[i]
		refs, values := s.refs[at:at+len(c.Slots)], f.Values[at:at+len(c.Slots)]
		at += len(c.Slots)
		name, named := "", false
		for j, slot := range c.Slots {
			if refs[j] != unknownSeries {
				continue
			}
			if !named {
				name, named = labeller.name(c), true
			}
			if name == "" {
				refs[j] = noSeries
				continue
			}
			ref, err := w.append(unknownSeries, labeller.labels(name, c.Kind, slot), t, values[j])
			if err != nil {
				return err
			}
			refs[j] = ref
		}
	}
	return nil
}
