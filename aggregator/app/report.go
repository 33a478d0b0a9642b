package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	rating "github.com/foretide/foretide/aggregator/accuracy"
	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/report"
	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/aggregator/storage"
)

// reportWithin bounds the reading of a week.
const reportWithin = 20 * time.Second

// observed is a report as the page and as JSON.
type observed struct{ page, data []byte }

// report makes that of a policy. False means that this aggregator does not decide it: there is no such policy, or another replica does.
func (a *aggregator) report(ctx context.Context, namespace, name string, now time.Time) (observed, bool, error) {
	a.board.mu.Lock()
	e, ok := a.board.latest[namespace+"/"+name]
	a.board.mu.Unlock()
	if !ok || now.Sub(e.At) > forecastOver { // it was lost, as a Lease may be
		return observed{}, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	in, err := a.reportInput(ctx, e, now)
	if err != nil {
		return observed{}, true, fmt.Errorf("report of policy %s/%s: %w", namespace, name, err)
	}
	built := report.Build(in)
	var page bytes.Buffer
	if err := built.HTML(&page); err != nil {
		return observed{}, true, fmt.Errorf("report of policy %s/%s: %w", namespace, name, err)
	}
	data, err := json.Marshal(built)
	return observed{page.Bytes(), data}, true, err
}

// reportInput reads what a report is made of.
func (a *aggregator) reportInput(ctx context.Context, e controller.Evaluation, now time.Time) (report.Input, error) {
	in := report.Input{
		Namespace: e.Namespace, Name: e.Name, Strategy: string(e.Strategy), Acts: e.Strategy.Acts(), Target: e.Workload.Kind + " " + e.Workload.Name,
		Reason: e.Problem.Reason, Message: e.Problem.Message,
		TargetRatio: cmp.Or(float64(e.GPUTarget())/100, 1), GPUsPerPod: e.GPUsPerPod, Quantile: e.Quantile, Lead: e.Lead, Bounds: e.Bounds,
		Location: e.Location, Now: now,
	}
	if d := e.Decision; d != nil {
		in.Reason, in.Message = string(d.Reason), d.Message
	}
	in.Metrics = metricsIn(e)
	in.Next.Note = e.Forecast.Note.Message
	if f := e.Forecast.Forecast; f != nil {
		median, err := f.Quantile(rating.Median)
		if err != nil {
			return in, err
		}
		upper, err := f.Quantile(e.Quantile)
		if err != nil {
			return in, err
		}
		in.Next.Start, in.Next.Step, in.Next.Median, in.Next.Upper = f.Start, f.Step, median, upper
	}
	for _, s := range a.board.ledger.scores(e.Workload, now) {
		in.Scores = append(in.Scores, report.Score{Lead: s.Lead, Over: s.Over, WAPE: s.WAPE, Pinball: s.Pinball, Coverage: s.Coverage, Bias: s.Bias})
	}
	var err error
	in.Past, err = a.reportPast(ctx, e, now)
	return in, err
}

// metricsIn are a policy's metrics in words.
func metricsIn(e controller.Evaluation) (out []report.Metric) {
	for i, m := range e.Metrics {
		shown := report.Metric{Name: m.ID, Target: targetIn(m.Spec.Target()), Current: "unknown"}
		if e.Decision != nil && i < len(e.Decision.Metrics) {
			shown.Current = readingIn(e.Decision.Metrics[i])
		}
		out = append(out, shown)
	}
	return out
}

// readingIn is what a metric is now, in words.
func readingIn(r scaling.Reading) string {
	switch {
	case r.Percent != nil:
		return fmt.Sprintf("%d%%", *r.Percent)
	case r.Value != nil:
		return fmt.Sprintf("%.4g", *r.Value)
	case r.Average != nil:
		return fmt.Sprintf("%.4g by pod", *r.Average)
	}
	return "unknown"
}

// reportPast reads the minutes of the last week.
func (a *aggregator) reportPast(ctx context.Context, e controller.Evaluation, now time.Time) (past report.Past, err error) {
	from, to := now.Add(-report.Span).Truncate(report.Step), now.Truncate(time.Minute)
	past.Start = from
	known := a.history()
	if past.Demand, err = known.Demand(ctx, e.Workload, controller.GPU, from, to, time.Minute); err != nil {
		return past, err
	}
	if past.Pods, err = known.Pods(ctx, e.Workload, from, to, time.Minute); err != nil {
		return past, err
	}
	decided, err := a.store.Decisions(ctx, storage.Policy{Namespace: e.Namespace, Name: e.Name}, from, to)
	if err != nil {
		return past, err
	}
	past.Desired, past.Proactive, past.Reactive, past.Reasons = decided.Desired, decided.Proactive, decided.Reactive, decided.Reasons
	before := comparedLeads[len(comparedLeads)-1]
	for i := len(comparedLeads) - 1; i >= 0 && comparedLeads[i].ahead >= e.Lead; i-- {
		before = comparedLeads[i]
	}
	past.Lead = before.name
	for quantile, path := range map[float64]*[]float64{rating.Median: &past.Median, e.Quantile: &past.Upper} {
		if *path, err = a.store.Forecasts(ctx, nameOf(e.Workload, before.name, quantile), from.Add(-before.ahead), to.Add(-before.ahead), time.Minute); err != nil {
			return past, err
		}
	}
	if e.Quantile == rating.Median {
		past.Median = past.Upper
	}
	return past, nil
}

// serveReport answers with the page, or with JSON where ?format=json asks for it.
func (a *aggregator) serveReport(w http.ResponseWriter, r *http.Request) {
	namespace, name := r.PathValue("namespace"), r.PathValue("name")
	made, found, err := a.findReport(r.Context(), namespace, name, r.Header.Get(askedByReplica) != "")
	switch format := r.FormValue("format"); {
	case err != nil:
		a.log.Warn("no report", "err", err)
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case !found:
		http.Error(w, fmt.Sprintf("policy %s/%s is not known here: there is none of that name, or it has not been decided yet", namespace, name), http.StatusNotFound)
	case format == "json":
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(made.data)
	case format == "" || format == "html":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'")
		_, _ = w.Write(made.page)
	default:
		http.Error(w, fmt.Sprintf("format is %q: it must be html or json", format), http.StatusBadRequest)
	}
}
