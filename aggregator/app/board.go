package app

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	rating "github.com/foretide/foretide/aggregator/accuracy"
	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/exporter"
	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/aggregator/ui"
)

// board shows each evaluation to whoever looks: metrics, history and page. It is the controller's Observer.
type board struct {
	store    *storage.Store
	ledger   *ledger
	minutes  *minutes
	diary    *diary
	exporter *exporter.Exporter

	mu     sync.Mutex
	latest map[string]controller.Evaluation // by namespace/name
}

func newBoard(store *storage.Store, log *slog.Logger) *board {
	return &board{store: store, ledger: newLedger(store, log), minutes: newMinutes(store, log), diary: newDiary(store, log), latest: map[string]controller.Evaluation{}}
}

// Observed implements controller.Observer.
func (b *board) Observed(e controller.Evaluation) {
	b.ledger.observe(e)
	b.minutes.observe(e)
	b.exporter.Observe(b.toMetrics(e))
	b.diary.observe(e)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.latest[e.Namespace+"/"+e.Name] = e
}

// Forgotten implements controller.Observer.
func (b *board) Forgotten(namespace, name string) {
	b.exporter.Forget(namespace, name)
	b.diary.forget(storage.Policy{Namespace: namespace, Name: name})
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.latest, namespace+"/"+name)
}

func (b *board) toMetrics(e controller.Evaluation) exporter.Policy {
	ready, _ := e.ForecastReady()
	p := exporter.Policy{
		Namespace: e.Namespace, Name: e.Name, At: e.At, Took: e.Took,
		Min: e.Min, Max: e.Max, Current: e.Current, TargetPercent: e.TargetPercent, Reason: e.Problem.Reason,
		Limited: e.Limited(), ForecastReady: ready, Lead: e.Lead,
	}
	if !e.Data.Newest.IsZero() {
		p.Age = new(e.At.Sub(e.Data.Newest))
	}
	if d := e.Decision; d != nil {
		p.Desired, p.Proactive, p.Reactive = &d.Replicas, d.Proactive, d.Reactive
		p.UtilizationPercent, p.Reason = d.CurrentPercent, string(d.Reason)
		if slices.ContainsFunc(d.Metrics, func(m scaling.Reading) bool { return m.Percent != nil }) {
			p.Saturated = &d.Saturated
		}
	}
	if e.Data.State != controller.Unknown && e.Data.State != "" {
		fresh := e.Data.State == controller.True
		p.DataFresh = &fresh
	}
	for _, peak := range e.Forecast.Peaks {
		p.Peaks = append(p.Peaks, exporter.Peak(peak))
	}
	accuracy, _ := b.ledger.Accuracy(e.Workload, e.Quantile, e.Lead, e.At)
	for i, s := range []*controller.Score{accuracy.Day, accuracy.Week} {
		if s != nil {
			p.Accuracies = append(p.Accuracies, exporter.Accuracy{Over: comparedOver[i].name, WAPE: s.WAPE, Coverage: s.Coverage})
		}
	}
	return p
}

// The page shows a day of demand in five-minute steps.
const (
	pageSpan = 24 * time.Hour
	pageStep = 5 * time.Minute
)

// Policies implements ui.Source, by namespace and name.
func (b *board) Policies(now time.Time) []ui.Policy {
	b.mu.Lock()
	latest := make([]controller.Evaluation, 0, len(b.latest))
	for _, e := range b.latest {
		latest = append(latest, e)
	}
	b.mu.Unlock()
	slices.SortFunc(latest, func(x, y controller.Evaluation) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
	})
	out := make([]ui.Policy, 0, len(latest))
	for _, e := range latest {
		out = append(out, b.toPage(e, now))
	}
	return out
}

func (b *board) toPage(e controller.Evaluation, now time.Time) ui.Policy {
	p := ui.Policy{
		Namespace: e.Namespace, Name: e.Name, Strategy: string(e.Strategy), Target: e.Workload.Kind + " " + e.Workload.Name,
		Min: e.Min, Max: e.Max, Current: e.Current,
		Reason: e.Problem.Reason, Message: e.Problem.Message, Forecast: e.Forecast.Note.Message,
	}
	for _, m := range metricsIn(e) {
		p.Metrics = append(p.Metrics, ui.Metric(m))
	}
	if d := e.Decision; d != nil {
		p.Desired, p.Proactive, p.Reactive = &d.Replicas, d.Proactive, d.Reactive
		p.Reason, p.Message = string(d.Reason), d.Message
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	from := now.Add(-pageSpan).Truncate(pageStep)
	if values, err := b.store.Demand(ctx, storage.Workload(e.Workload), from, now, pageStep); err == nil {
		p.Actual = ui.Line{Start: from, Step: pageStep, Values: values}
	}
	before := nameOf(e.Workload, "1h", rating.Median)
	if values, err := b.store.Forecasts(ctx, before, from.Add(-time.Hour), now.Add(-time.Hour), pageStep); err == nil {
		p.Earlier = ui.Line{Start: from, Step: pageStep, Values: values}
	}
	if f := e.Forecast.Forecast; f != nil {
		p.Mean = ui.Line{Start: f.Start, Step: f.Step, Values: f.Mean}
		if upper, err := f.Quantile(e.Quantile); err == nil {
			p.Upper = ui.Line{Start: f.Start, Step: f.Step, Values: upper}
		}
		p.UpperName = fmt.Sprintf("p%g", math.Round(1e4*e.Quantile)/100)
	}
	return p
}
