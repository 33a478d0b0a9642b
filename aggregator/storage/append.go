package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/foretide/foretide/pkg/telemetry"
)

// AppendBatch writes every value of a batch to the raw tier, stamped with the end of its window, under the names the catalogue
// gives: readings with the labels node, uuid, gpu and model, of a MIG instance also parent, gpu_instance and profile; what of
// them is unattributed with node and uuid; usages with node, namespace, pod, container and uuid. What inference servers said keeps
// the servers' names and has node, namespace and pod.
//
// Nil means the batch is in the write-ahead log. A batch sent again is success and changes nothing. A batch too old or too far
// in the future, or with a name that a server's metric may not have, is a *RefusedError (ErrRefused) and leaves nothing behind;
// any other error is transient.
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
	if err := checkWorkload(b.Workload); err != nil {
		return err
	}
	w := writer{db: s.raw, app: s.raw.db.AppenderV2(ctx), window: s.opts.RawOutOfOrderWindow}
	for _, r := range b.Readings {
		w.appendValues(deviceName, labelsOfDevice(b.Node, r.Device), b.End, r.Values)
		w.appendValues(telemetry.Definition.UnattributedName, labelSet("node", b.Node, "uuid", r.Device.UUID), b.End, r.Unattributed)
	}
	for _, u := range b.Usages {
		w.appendValues(telemetry.Definition.UsageName, labelSet("node", b.Node, "namespace", u.Owner.Namespace, "pod", u.Owner.Pod,
			"container", u.Owner.Container, "uuid", u.DeviceUUID), b.End, u.Values)
	}
	for _, v := range b.Workload {
		w.append(w.named(v.Name, labelSet("node", b.Node, "namespace", v.Namespace, "pod", v.Pod)), b.End, v.Value)
	}
	return w.commit()
}

func deviceName(d telemetry.Definition) string { return d.Name }

// ownNames is how the names of the project's own series begin.
const ownNames = "foretide_"

// checkWorkload refuses names under which a server's word would not be found, or would be taken for ours.
func checkWorkload(values []telemetry.WorkloadValue) error {
	for i, v := range values {
		switch {
		case !model.LegacyValidation.IsValidMetricName(v.Name):
			return refuse(ClassInvalid, "workload[%d] of pod %s/%s is named %q: a metric's name is letters, digits, _ and :, not beginning with a digit",
				i, v.Namespace, v.Pod, v.Name)
		case strings.HasPrefix(v.Name, ownNames):
			return refuse(ClassInvalid, "workload[%d] of pod %s/%s is named %q: names that begin with %s are not a server's; leave it out of what the agent scrapes",
				i, v.Namespace, v.Pod, v.Name, ownNames)
		case !utf8.ValidString(v.Namespace) || !utf8.ValidString(v.Pod):
			return refuse(ClassInvalid, "workload[%d] %s is of namespace %q, pod %q: both must be UTF-8", i, v.Name, v.Namespace, v.Pod)
		}
	}
	return nil
}

func labelsOfDevice(node string, d telemetry.Device) []labels.Label {
	pairs := []string{"node", node, "uuid", d.UUID, "gpu", strconv.Itoa(d.Index), "model", d.Model}
	if d.IsMIG() {
		pairs = append(pairs, "parent", d.MIG.ParentUUID, "gpu_instance", strconv.Itoa(d.MIG.GPUInstance), "profile", d.MIG.Profile)
	}
	return labelSet(pairs...)
}

// labelSet makes sorted labels of pairs of name and value.
func labelSet(pairs ...string) []labels.Label {
	set := make([]labels.Label, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		set = append(set, labels.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	slices.SortFunc(set, func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) })
	return set
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
	labels labels.ScratchBuilder // used again for each series
	err    error
}

// appendValues appends what was measured, each under the name it has; a metric whose name is empty has no such series.
func (w *writer) appendValues(name func(telemetry.Definition) string, set []labels.Label, t time.Time, values telemetry.Values) {
	if len(values) == 0 {
		return
	}
	for _, d := range telemetry.Catalogue() {
		v, measured := values[d.Metric]
		if !measured {
			continue
		}
		if name := name(d); name != "" {
			w.append(w.named(name, set), t, v)
		}
	}
}

// named adds a name to sorted labels, before which it comes.
func (w *writer) named(name string, set []labels.Label) labels.Labels {
	w.labels.Reset()
	w.labels.Add(model.MetricNameLabel, name)
	for _, l := range set {
		w.labels.Add(l.Name, l.Value)
	}
	return w.labels.Labels()
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
