package app

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	rating "github.com/foretide/foretide/aggregator/accuracy"
	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/exporter"
	"github.com/foretide/foretide/aggregator/storage"
)

const (
	// ledgerEvery is how often what is new is written.
	ledgerEvery = 10 * time.Second
	// rebuildAtOnce is how many workloads are compared anew from the history in one go. Each takes about 10 ms, in which nothing new
	// is written.
	rebuildAtOnce = 200
	// rebuildSpan is the longest time that accuracy is told over, and the longest lead before it.
	rebuildSpan = 8 * 24 * time.Hour
)

// run writes what is new until ctx is done.
func (l *ledger) run(ctx context.Context) error {
	for wait(ctx, ledgerEvery) {
		l.keep(ctx, time.Now())
	}
	return nil
}

// keep writes what is new, reads the records of workloads that are new, and forgets those that are gone.
func (l *ledger) keep(ctx context.Context, now time.Time) {
	l.write(ctx)
	for _, k := range l.unread() {
		record, err := rebuild(ctx, l.store, k.workload, k.upper, now)
		if err != nil {
			if ctx.Err() == nil {
				l.log.Warn("the accuracy of forecasts so far is not read from the history, it begins anew", "workload", k.workload, "err", err)
			}
			record = newRecord(k.upper)
		}
		l.begin(k, record)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for workload, e := range l.entries {
		if now.Sub(e.forecast.Made) > forecastOver {
			delete(l.entries, workload)
		}
	}
}

// write brings new points into the history. What cannot be written now is tried again until the next forecast takes its place.
func (l *ledger) write(ctx context.Context) {
	fresh := l.unwritten()
	if len(fresh) == 0 {
		return
	}
	var points []storage.ForecastPoint
	for _, f := range fresh {
		for _, p := range f.points {
			points = append(points, storage.ForecastPoint{ForecastName: nameOf(f.workload, p.Lead, p.Quantile), Made: f.made, GPUs: p.GPUs})
		}
	}
	err := l.store.AppendForecasts(ctx, points)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		for _, f := range fresh {
			if e := l.entries[f.workload]; e != nil && e.forecast.Made.Equal(f.made) {
				e.written += len(f.points)
			}
		}
		l.failing = false
	case !l.failing && ctx.Err() == nil:
		l.failing = true
		l.log.Warn("forecasts cannot be written to the history now; those of this time will be missing in it", "err", err)
	}
}

// unwritten is what is new of one workload.
type unwritten struct {
	workload controller.Workload
	made     time.Time
	points   []exporter.Point
}

func (l *ledger) unwritten() (out []unwritten) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for workload, e := range l.entries {
		if points := e.forecast.Points[e.written:]; len(points) > 0 {
			out = append(out, unwritten{workload, e.forecast.Made, slices.Clone(points)})
		}
	}
	return out
}

func nameOf(workload controller.Workload, lead string, quantile float64) storage.ForecastName {
	return storage.ForecastName{Workload: storage.Workload(workload), Quantile: strconv.FormatFloat(quantile, 'g', -1, 64), Lead: lead}
}

// recordKey names a record.
type recordKey struct {
	workload controller.Workload
	upper    float64
}

// unread are the records that are missing, as many as are read at once.
func (l *ledger) unread() (out []recordKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for workload, e := range l.entries {
		for upper, record := range e.records {
			if record == nil && len(out) < rebuildAtOnce {
				out = append(out, recordKey{workload, upper})
			}
		}
	}
	return out
}

// begin gives a workload a record.
func (l *ledger) begin(k recordKey, record *rating.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[k.workload]; e != nil {
		if _, wanted := e.records[k.upper]; wanted {
			e.records[k.upper] = record
			e.expect() // the newest may have come while the history was read
		}
	}
}

func newRecord(upper float64) *rating.Record {
	var ahead []time.Duration
	for _, l := range comparedBy(upper) {
		ahead = append(ahead, l.ahead)
	}
	return rating.New(ahead, upper)
}

// rebuild makes a record of a workload from the history.
func rebuild(ctx context.Context, store *storage.Store, workload controller.Workload, upper float64, now time.Time) (*rating.Record, error) {
	from, to := now.Add(-rebuildSpan).Truncate(time.Minute), now.Truncate(time.Minute)
	demand, err := store.Demand(ctx, storage.Workload(workload), from, to, time.Minute)
	if err != nil {
		return nil, err
	}
	leads := comparedBy(upper)
	paths := make([][2][]float64, len(leads))
	for i, l := range leads {
		for k, quantile := range []float64{rating.Median, upper} {
			if paths[i][k], err = store.Forecasts(ctx, nameOf(workload, l.name, quantile), from, to, time.Minute); err != nil {
				return nil, fmt.Errorf("forecasts %s ahead: %w", l.name, err)
			}
		}
	}
	record, points := newRecord(upper), make([]rating.Point, len(leads))
	for i := range demand {
		at := from.Add(time.Duration(i+1) * time.Minute)
		record.Demand(at, demand[i])
		for k := range points {
			points[k] = rating.Point{Median: paths[k][0][i], Upper: paths[k][1][i]}
		}
		if !math.IsNaN(points[0].Median) { // else nothing was forecast then
			record.Forecast(at, points)
		}
	}
	return record, nil
}
