package app

import (
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	rating "github.com/foretide/foretide/aggregator/accuracy"
	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/exporter"
	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/aggregator/storage"
)

// lead is how far ahead something was forecast, under the name it has in metrics and series.
type lead struct {
	name  string
	ahead time.Duration
}

// The leads that are kept of each forecast, those of them at which it is compared with what came, and the times over which that is told.
var (
	keptLeads     = append([]lead{{"1m", time.Minute}}, comparedLeads...)
	comparedLeads = []lead{{"15m", 15 * time.Minute}, {"1h", time.Hour}, {"24h", 24 * time.Hour}}
	comparedOver  = []lead{{"1d", 24 * time.Hour}, {"7d", 7 * 24 * time.Hour}}
)

// comparedBy are the leads at which forecasts are compared by an upper level: a policy's own is looked at no further than pods are asked
// for ahead.
func comparedBy(upper float64) []lead {
	if upper == rating.Upper {
		return comparedLeads
	}
	return comparedLeads[:2]
}

// forecastOver is how long after it was made a forecast that no other follows is shown, and its workload remembered. Policies are
// decided at least every five minutes.
const forecastOver = 10 * time.Minute

// ledger keeps the newest forecast of each workload, writes what it says at a few leads into the history, and compares that with
// the demand that comes. A minute costs each workload the same however much history it has: the history is read once, when the
// ledger first hears of the workload.
type ledger struct {
	store *storage.Store
	log   *slog.Logger

	mu      sync.Mutex
	entries map[controller.Workload]*entry
	failing bool // it was logged that forecasts cannot be written
}

// entry is the ledger's of one workload.
type entry struct {
	forecast exporter.Forecast // without its scores
	written  int               // how many of its points are in the history
	// records are those by the upper levels that policies want, and by rating.Upper; nil until they are read from the history.
	records map[float64]*rating.Record
}

func newLedger(store *storage.Store, log *slog.Logger) *ledger {
	return &ledger{store: store, log: log, entries: make(map[controller.Workload]*entry)}
}

// observe takes the forecast of an evaluation, if that has a new one, or a quantile of it that is new. The first of a minute stands,
// also when another forecaster's answer comes a moment later.
func (l *ledger) observe(e controller.Evaluation) {
	made := e.Forecast.Forecast
	if made == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.entries[e.Workload]
	if known == nil {
		known = &entry{records: map[float64]*rating.Record{rating.Upper: nil}}
		l.entries[e.Workload] = known
	}
	if _, ok := known.records[e.Quantile]; !ok {
		known.records[e.Quantile] = nil
	}
	switch f := &known.forecast; {
	case made.Start.After(f.Made):
		known.drop(e.Quantile)
		*f = exporter.Forecast{
			Namespace: e.Workload.Namespace, Kind: e.Workload.Kind, Name: e.Workload.Name,
			Method: made.Method, Made: made.Start, History: made.History, Points: pointsAt(f.Points[:0:0], made, rating.Median, rating.Upper, e.Quantile),
		}
		known.written = 0
		known.expect()
	case made.Start.Equal(f.Made):
		before := len(f.Points)
		if f.Points = pointsAt(f.Points, made, e.Quantile); len(f.Points) > before {
			known.expect()
		}
	}
}

// drop forgets the records of levels that no policy wanted of the forecast that is over.
func (e *entry) drop(wanted float64) {
	maps.DeleteFunc(e.records, func(level float64, _ *rating.Record) bool {
		return level != rating.Upper && level != wanted && !slices.ContainsFunc(e.forecast.Points, func(p exporter.Point) bool { return p.Quantile == level })
	})
}

// pointsAt adds what a forecast says at each lead and quantile that is not among the points yet.
func pointsAt(points []exporter.Point, made *forecast.Forecast, quantiles ...float64) []exporter.Point {
	for _, q := range quantiles {
		if slices.ContainsFunc(points, func(p exporter.Point) bool { return p.Quantile == q }) {
			continue
		}
		for _, l := range keptLeads {
			end := made.Start.Add(l.ahead)
			if gpus, ok := made.Peak(q, end.Add(-made.Step), end); ok { // of one step: its value
				points = append(points, exporter.Point{Lead: l.name, Quantile: q, GPUs: gpus})
			}
		}
	}
	return points
}

// expect hands the points of the forecast to the records.
func (e *entry) expect() {
	for upper, record := range e.records {
		if record == nil {
			continue
		}
		points := make([]rating.Point, 0, len(comparedLeads))
		for _, l := range comparedBy(upper) {
			points = append(points, rating.Point{Median: e.at(l.name, rating.Median), Upper: e.at(l.name, upper)})
		}
		record.Forecast(e.forecast.Made, points)
	}
}

// at is the point of a lead and quantile, NaN where there is none.
func (e *entry) at(lead string, quantile float64) float64 {
	for _, p := range e.forecast.Points {
		if p.Lead == lead && p.Quantile == quantile {
			return p.GPUs
		}
	}
	return math.NaN()
}

// came takes the demand of a workload over the minute that ended.
func (l *ledger) came(workload controller.Workload, ended time.Time, gpus float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[workload]; e != nil {
		for _, record := range e.records {
			if record != nil {
				record.Demand(ended, gpus)
			}
		}
	}
}

// forecasts is what the exporter shows.
func (l *ledger) forecasts(now time.Time) []exporter.Forecast {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]exporter.Forecast, 0, len(l.entries))
	for _, e := range l.entries {
		if now.Sub(e.forecast.Made) <= forecastOver {
			f := e.forecast
			f.Points, f.Scores = slices.Clone(f.Points), e.scores(now)
			out = append(out, f)
		}
	}
	return out
}

// scores are those of one workload, by lead and then by the time they are told over.
func (l *ledger) scores(workload controller.Workload, now time.Time) []exporter.Score {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[workload]; e != nil {
		return e.scores(now)
	}
	return nil
}

func (e *entry) scores(now time.Time) (out []exporter.Score) {
	record := e.records[rating.Upper]
	if record == nil {
		return nil
	}
	for i, l := range comparedLeads {
		for _, over := range comparedOver {
			if s, ok := record.Score(i, over.ahead, now); ok {
				out = append(out, exporter.Score{Lead: l.name, Over: over.name, WAPE: s.WAPE, Pinball: s.Pinball, Coverage: s.Coverage, Bias: s.Bias})
			}
		}
	}
	return out
}

// Accuracy implements controller.Accuracies.
func (l *ledger) Accuracy(workload controller.Workload, quantile float64, ahead time.Duration, now time.Time) (controller.Accuracy, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[workload]
	if e == nil || e.records[quantile] == nil {
		return controller.Accuracy{}, false
	}
	at := 0
	if ahead > comparedLeads[0].ahead {
		at = 1
	}
	out := controller.Accuracy{Lead: comparedLeads[at].ahead}
	for i, told := range []**controller.Score{&out.Day, &out.Week} {
		if s, ok := e.records[quantile].Score(at, comparedOver[i].ahead, now); ok {
			*told = &controller.Score{WAPE: s.WAPE, Coverage: s.Coverage, Bias: s.Bias}
		}
	}
	return out, true
}
