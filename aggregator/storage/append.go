package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/foretide/foretide/pkg/telemetry"
)

// AppendBatch writes every value of a batch to the raw tier, stamped with the end of its window. Readings become series named
// as the catalogue names the metric, with labels node, uuid, gpu and model; usages become the same names with foretide_pod in
// place of foretide_device and labels node, namespace, pod, container and uuid.
//
// Nil means the batch is in the write-ahead log. A batch sent again is success and changes nothing. A batch too old or too far
// in the future is a *RefusedError (ErrRefused) and leaves nothing behind; any other error is transient.
func (s *Store) AppendBatch(ctx context.Context, b telemetry.Batch) error {
	done, err := s.use()
	if err != nil {
		return err
	}
	defer done()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.checkTime("window end", b.End, s.opts.RawRetention); err != nil {
		return err
	}
	w := writer{db: s.raw, app: s.raw.db.AppenderV2(ctx), window: s.opts.RawOutOfOrderWindow}
	for _, r := range b.Readings {
		for _, d := range telemetry.Catalogue() {
			if v, ok := r.Values[d.Metric]; ok {
				w.append(deviceLabels(d, b.Node, r.Device), b.End, v)
			}
		}
	}
	for _, u := range b.Usages {
		for _, d := range telemetry.Catalogue() {
			if v, ok := u.Values[d.Metric]; ok {
				w.append(usageLabels(d, b.Node, u), b.End, v)
			}
		}
	}
	return w.commit()
}

func deviceLabels(d telemetry.Definition, node string, device telemetry.Device) labels.Labels {
	return labels.FromStrings(model.MetricNameLabel, d.Name,
		"node", node, "uuid", device.UUID, "gpu", fmt.Sprint(device.Index), "model", device.Model)
}

func usageLabels(d telemetry.Definition, node string, u telemetry.Usage) labels.Labels {
	return labels.FromStrings(model.MetricNameLabel, strings.Replace(d.Name, "foretide_device", "foretide_pod", 1),
		"node", node, "namespace", u.Owner.Namespace, "pod", u.Owner.Pod, "container", u.Owner.Container, "uuid", u.DeviceUUID)
}

// checkTime refuses what lies beyond the clock of this process in either direction. Without it one node with a clock of 1970
// or of next year would make the TSDB cut decades of empty blocks or drop all history as out of retention.
func (s *Store) checkTime(what string, t time.Time, retention time.Duration) error {
	now := s.opts.Now()
	switch {
	case t.After(now.Add(maxAhead)):
		return refuse(ClassFuture, "%s %s is %v ahead of the clock here: at most %v is taken",
			what, t.UTC().Format(time.RFC3339), t.Sub(now).Round(time.Second), maxAhead)
	case t.Before(now.Add(-retention)):
		return refuse(ClassTooOld, "%s %s is older than the retention of %v", what, t.UTC().Format(time.RFC3339), retention)
	}
	return nil
}

// writer is one transaction: append as often as needed, then commit, which rolls back when any append went wrong.
type writer struct {
	db     *tier
	app    storage.AppenderV2
	window time.Duration
	err    error
}

func (w *writer) append(series labels.Labels, t time.Time, v float64) {
	if w.err != nil {
		return
	}
	_, err := w.app.Append(0, series, 0, t.UnixMilli(), v, nil, nil, storage.AOptions{})
	switch {
	case err == nil, errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		// The TSDB takes an equal sample silently. One with another value for the same moment is a resend all the same:
		// what was acknowledged first stands.
	case errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrOutOfOrderSample):
		newest := time.UnixMilli(w.db.db.Head().MaxTime())
		w.err = refuse(ClassTooOld, "%s is %v older than the newest stored sample: at most %v is taken",
			t.UTC().Format(time.RFC3339), newest.Sub(t).Round(time.Second), w.window)
	default:
		w.err = fmt.Errorf("append to tier %s: %w", w.db.name, err)
	}
}

func (w *writer) commit() error {
	if w.err != nil {
		if err := w.app.Rollback(); err != nil {
			return errors.Join(w.err, fmt.Errorf("roll back in tier %s: %w", w.db.name, err))
		}
		return w.err
	}
	if err := w.app.Commit(); err != nil {
		return fmt.Errorf("commit to tier %s: %w", w.db.name, err)
	}
	return nil
}
