package storage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// Series of the workload tier, labels namespace, kind and name.
const (
	// demandSeries is the demand in GPU units: 1 is one GPU busy all the time.
	demandSeries = "foretide_workload_demand_gpus"
	// podsSeries is how many pods shared that demand.
	podsSeries = "foretide_workload_pods"
)

// historyCommit is how many points of an imported history are committed at once.
const historyCommit = 5000

// Workload names what a scale target's pods are, such as {default, Deployment, bert-intent-detection}.
type Workload struct {
	Namespace, Kind, Name string
}

// Point is one value of a history.
type Point struct {
	// Time is the end of the interval that Value is the mean of.
	Time time.Time
	// Value is the demand in GPU units.
	Value float64
}

// AppendDemand writes the demand of a workload over the interval that ended at the given time: the mean of its busy GPUs, and
// how many pods it had. Nil means it is in the write-ahead log; writing the same moment again changes nothing. An interval that
// was not measured is simply not written.
func (s *Store) AppendDemand(ctx context.Context, workload Workload, at time.Time, busyGPUs, pods float64) error {
	if err := workload.check(); err != nil {
		return err
	}
	for _, v := range []struct {
		field string
		value float64
	}{{"busy GPUs", busyGPUs}, {"pods", pods}} {
		if err := checkValue(v.field, v.value); err != nil {
			return err
		}
	}
	if err := checkTime("demand time", at, s.opts.Now(), s.opts.WorkloadRetention); err != nil {
		return err
	}
	db, err := s.workload.useToWrite()
	if err != nil {
		return err
	}
	defer db.release()
	if err := ctx.Err(); err != nil {
		return err
	}
	return db.write(ctx, []sample{{workload.series(demandSeries), at, busyGPUs}, {workload.series(podsSeries), at, pods}})
}

// sample is a value of a series at a moment.
type sample struct {
	series labels.Labels
	at     time.Time
	value  float64
}

// write makes samples durable together, all or none.
func (d *database) write(ctx context.Context, samples []sample) error {
	tx := d.begin(ctx)
	for _, s := range samples {
		if _, err := tx.append(unknownSeries, s.series, s.at.UnixMilli(), s.value); err != nil {
			return errors.Join(err, tx.app.Rollback())
		}
	}
	return tx.commit()
}

// AppendDemandHistory writes a recorded demand, in any order and of any age within the retention, beside what is there. Points
// older than the retention and points at moments that already have a value are left out: what was measured here stands, and an
// import may be repeated. It returns how many points were written. A wrong value is refused before anything is written; after
// another error some of the points may have been.
func (s *Store) AppendDemandHistory(ctx context.Context, workload Workload, points []Point) (int, error) {
	return s.appendWorkloadHistory(ctx, workload, demandSeries, points)
}

// AppendPodsHistory writes how many pods shared a recorded demand, in the same way.
func (s *Store) AppendPodsHistory(ctx context.Context, workload Workload, points []Point) (int, error) {
	return s.appendWorkloadHistory(ctx, workload, podsSeries, points)
}

func (s *Store) appendWorkloadHistory(ctx context.Context, workload Workload, name string, points []Point) (int, error) {
	if err := workload.check(); err != nil {
		return 0, err
	}
	return s.appendHistory(ctx, workload.series(name), points)
}

func (s *Store) appendHistory(ctx context.Context, series labels.Labels, points []Point) (int, error) {
	points, err := s.checkHistory(points)
	if err != nil || len(points) == 0 {
		return 0, err
	}
	db, err := s.workload.useToWrite()
	if err != nil {
		return 0, err
	}
	defer db.release()
	known := make(map[int64]bool)
	err = db.each(ctx, points[0].Time.UnixMilli(), points[len(points)-1].Time.UnixMilli(), func(t int64, _ float64) { known[t] = true },
		matchersOf(series)...)
	if err != nil {
		return 0, err
	}
	points = slices.DeleteFunc(points, func(p Point) bool { return known[p.Time.UnixMilli()] })

	written := 0
	for part := range slices.Chunk(points, historyCommit) {
		if err := ctx.Err(); err != nil {
			return written, err
		}
		samples := make([]sample, 0, len(part))
		for _, p := range part {
			samples = append(samples, sample{series, p.Time, p.Value})
		}
		if err := db.write(ctx, samples); err != nil {
			return written, err
		}
		written += len(part)
	}
	return written, nil
}

// checkHistory returns the points in time order, without those that retention would delete at once, one for each millisecond.
func (s *Store) checkHistory(points []Point) ([]Point, error) {
	// A minute of room keeps the oldest points acceptable while the clock runs on.
	now := s.opts.Now()
	oldest := now.Add(time.Minute - s.opts.WorkloadRetention)
	out := make([]Point, 0, len(points))
	for i, p := range points {
		if err := checkValue(fmt.Sprintf("points[%d].value", i), p.Value); err != nil {
			return nil, err
		}
		if p.Time.Before(oldest) {
			continue
		}
		if err := checkTime(fmt.Sprintf("points[%d].time", i), p.Time, now, s.opts.WorkloadRetention); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b Point) int { return a.Time.Compare(b.Time) })
	return slices.CompactFunc(out, func(a, b Point) bool { return a.Time.UnixMilli() == b.Time.UnixMilli() }), nil
}

func checkValue(field string, v float64) error {
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return refuse(ClassInvalid, "%s is %v: it must be a finite number of 0 or more", field, v)
	}
	return nil
}

func (w Workload) check() error {
	if w.Namespace == "" || w.Kind == "" || w.Name == "" {
		return refuse(ClassInvalid, "workload is namespace %q, kind %q, name %q: none may be empty", w.Namespace, w.Kind, w.Name)
	}
	return nil
}

func (w Workload) series(name string) labels.Labels {
	return labels.FromStrings(model.MetricNameLabel, name, "namespace", w.Namespace, "kind", w.Kind, "name", w.Name)
}

func (w Workload) matchers(name string) []*labels.Matcher { return matchersOf(w.series(name)) }

func matchersOf(series labels.Labels) []*labels.Matcher {
	var out []*labels.Matcher
	series.Range(func(l labels.Label) {
		out = append(out, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value))
	})
	return out
}
