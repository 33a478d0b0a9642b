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
	for _, workload := range l.unread() {
		record, err := rebuild(ctx, l.store, workload, now)
		if err != nil {
			if ctx.Err() == nil {
				l.log.Warn("the accuracy of forecasts so far is not read from the history, it begins anew", "workload", workload, "err", err)
			}
			record = newRecord()
		}
		l.begin(workload, record)
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

// unread are the workloads without a record, as many as are read at once.
func (l *ledger) unread() (out []controller.Workload) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for workload, e := range l.entries {
		if e.record == nil && len(out) < rebuildAtOnce {
			out = append(out, workload)
		}
	}
	return out
}

// begin gives a workload its record.
func (l *ledger) begin(workload controller.Workload, record *rating.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[workload]; e != nil {
		e.record = record
		e.expect() // the newest may have come while the history was read
	}
}

func newRecord() *rating.Record {
	ahead := make([]time.Duration, len(comparedLeads))
	for i, l := range comparedLeads {
		ahead[i] = l.ahead
	}
	return rating.New(ahead)
}

// rebuild makes a workload's record from the history.
func rebuild(ctx context.Context, store *storage.Store, workload controller.Workload, now time.Time) (*rating.Record, error) {
	from, to := now.Add(-rebuildSpan).Truncate(time.Minute), now.Truncate(time.Minute)
	demand, err := store.Demand(ctx, storage.Workload(workload), from, to, time.Minute)
	if err != nil {
		return nil, err
	}
	paths := make([][2][]float64, len(comparedLeads))
	for i, l := range comparedLeads {
		for k, quantile := range []float64{rating.Median, rating.Upper} {
			if paths[i][k], err = store.Forecasts(ctx, nameOf(workload, l.name, quantile), from, to, time.Minute); err != nil {
				return nil, fmt.Errorf("forecasts %s ahead: %w", l.name, err)
			}
		}
	}
	record, points := newRecord(), make([]rating.Point, len(comparedLeads))
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
