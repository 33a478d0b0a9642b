package app

import (
	"bytes"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/exporter"
	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/aggregator/ui"
)

// boardAt is a board over an empty history, its metrics seen at a time.
func boardAt(t testing.TB, now time.Time) (b *board, metrics func() string) {
	t.Helper()
	store, err := storage.Open(storage.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	b = newBoard(store, slog.New(slog.DiscardHandler))
	b.exporter, err = exporter.New(exporter.Options{
		Demands: func(time.Time) []exporter.Demand { return nil }, Forecasts: b.ledger.forecasts, Nodes: func(time.Time) []exporter.Node { return nil },
		Now: func() time.Time { return now }, DecisionReasons: controller.DecisionReasons(), LimitReasons: controller.LimitReasons(),
	})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(b.exporter)
	return b, func() string {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		for _, f := range families {
			if _, err := expfmt.MetricFamilyToText(&out, f); err != nil {
				t.Fatal(err)
			}
		}
		return out.String()
	}
}

func number(n int32) *int32 { return &n }

// evaluated is an evaluation of which everything is known.
func evaluated(at time.Time) controller.Evaluation {
	e := controller.Evaluation{
		Namespace: "default", Name: "web", UID: "1", At: at, Took: 3 * time.Millisecond, Strategy: "auto",
		TargetPercent: 20, Min: 1, Max: 8, Lead: 3 * time.Minute, Quantile: 0.95,
		Metrics:  gpuAt(20),
		Workload: controller.Workload{Namespace: "default", Kind: "Deployment", Name: "web"}, Current: number(2),
		Decision: &scaling.Decision{Replicas: 4, Reactive: number(3), Proactive: number(4), CurrentPercent: number(29), Metrics: []scaling.Reading{{Name: controller.GPU, Percent: number(29)}},
			Reason: scaling.ForecastDemand, Limited: scaling.ScaleUpLimit, Message: "4 replicas"},
		Forecast: controller.Prediction{
			Acts:  true,
			Peaks: []controller.Peak{{Quantile: 0.5, GPUs: 0.6}, {Quantile: 0.95, GPUs: 0.75}},
			Note:  controller.Note{Reason: "ForecastReady", Message: "seasonal"},
			Forecast: &forecast.Forecast{Start: at, Step: time.Minute, Levels: []float64{0.5, 0.95}, Mean: []float64{1, 2},
				Quantiles: [][]float64{{1, 2}, {3, 4}}},
		},
		Data: controller.Freshness{State: controller.True, Newest: at.Add(-1500 * time.Millisecond)},
	}
	e.Metrics[0].Forecast = e.Forecast
	return e
}

func TestEvaluationBecomesMetricsAndPage(t *testing.T) {
	now := time.Now().Truncate(time.Minute)
	b, metrics := boardAt(t, now)
	e := evaluated(now)
	if err := b.store.AppendDemand(t.Context(), storage.Workload(e.Workload), now.Add(-10*time.Minute), 0.5, 2); err != nil {
		t.Fatal(err)
	}
	if err := b.store.AppendForecasts(t.Context(), []storage.ForecastPoint{
		{ForecastName: nameOf(e.Workload, "1h", 0.5), Made: now.Add(-70 * time.Minute), GPUs: 0.25},
	}); err != nil {
		t.Fatal(err)
	}
	b.Observed(e)
	page := metrics()
	for _, want := range []string{
		`foretide_policy_desired_replicas{namespace="default",policy="web"} 4`,
		`foretide_policy_current_replicas{namespace="default",policy="web"} 2`,
		`foretide_policy_reactive_replicas{namespace="default",policy="web"} 3`,
		`foretide_policy_proactive_replicas{namespace="default",policy="web"} 4`,
		`foretide_policy_min_replicas{namespace="default",policy="web"} 1`,
		`foretide_policy_max_replicas{namespace="default",policy="web"} 8`,
		`foretide_policy_target_ratio{namespace="default",policy="web"} 0.2`,
		`foretide_policy_utilization_ratio{namespace="default",policy="web"} 0.29`,
		`foretide_policy_forecast_ready{namespace="default",policy="web"} 1`,
		`foretide_policy_data_fresh{namespace="default",policy="web"} 1`,
		`foretide_policy_decision_reason{namespace="default",policy="web",reason="ForecastDemand"} 1`,
		`foretide_policy_decision_reason{namespace="default",policy="web",reason="Steady"} 0`,
		`foretide_policy_limited_reason{namespace="default",policy="web",reason="ScaleUpLimit"} 1`,
		`foretide_policy_limited_reason{namespace="default",policy="web",reason="NoFreeGPUs"} 0`,
		`foretide_aggregator_decision_telemetry_age_seconds_sum 1.5`,
		`foretide_policy_forecast_peak_gpus{namespace="default",policy="web",quantile="0.95"} 0.75`,
		`foretide_forecast_demand_gpus{kind="Deployment",lead="1m",name="web",namespace="default",quantile="0.95"} 3`,
		`foretide_aggregator_decision_duration_seconds_sum 0.003`,
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("no %s in\n%s", want, page)
		}
	}
	got := b.Policies(now)
	want := []ui.Policy{{
		Namespace: "default", Name: "web", Strategy: "auto", Target: "Deployment web", Metrics: []ui.Metric{{Name: "gpu", Target: "20%", Current: "29%"}},
		Min: 1, Max: 8, Current: number(2), Desired: number(4), Proactive: number(4), Reactive: number(3), Reason: "ForecastDemand", Message: "4 replicas", Forecast: "seasonal",
		Mean: ui.Line{Start: now, Step: time.Minute, Values: []float64{1, 2}}, Upper: ui.Line{Start: now, Step: time.Minute, Values: []float64{3, 4}},
		UpperName: "p95",
	}}
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(ui.Policy{}, "Actual", "Earlier")); d != "" {
		t.Errorf("page (-want +got):\n%s", d)
	}
	actual, earlier := got[0].Actual, got[0].Earlier
	at := slices.IndexFunc(actual.Values, func(v float64) bool { return !math.IsNaN(v) })
	if actual.Step != 5*time.Minute || len(actual.Values) < 287 || at < 0 || actual.Values[at] != 0.5 {
		t.Errorf("a day of demand: %d values %v apart, at %d", len(actual.Values), actual.Step, at)
	}
	if !earlier.Start.Equal(actual.Start) || earlier.Step != actual.Step || earlier.Values[at] != 0.25 {
		t.Errorf("what was forecast of it an hour before: from %v, %v; demand at %d", earlier.Start, earlier.Values, at)
	}
}

func TestWhatIsNotKnownIsAbsent(t *testing.T) {
	now := time.Now()
	b, metrics := boardAt(t, now)
	b.Observed(controller.Evaluation{
		Namespace: "default", Name: "web", At: now, Min: 1, Max: 8, TargetPercent: 20,
		Workload: controller.Workload{Namespace: "default", Kind: "Deployment", Name: "web"},
		Problem:  controller.Note{Reason: "TargetNotFound", Message: "there is no Deployment web"},
		Data:     controller.Freshness{State: controller.Unknown},
	})
	page := metrics()
	for _, name := range []string{"current_replicas", "desired_replicas", "reactive", "proactive", "utilization_ratio", "saturated", "data_fresh", "forecast_peak", "foretide_forecast_"} {
		if strings.Contains(page, name) {
			t.Errorf("there is a series of %s:\n%s", name, page)
		}
	}
	if want := `foretide_policy_decision_reason{namespace="default",policy="web",reason="TargetNotFound"} 1`; !strings.Contains(page, want) {
		t.Errorf("no %s in\n%s", want, page)
	}
	p := b.Policies(now)[0]
	if p.Reason != "TargetNotFound" || p.Message != "there is no Deployment web" || p.Current != nil || p.Desired != nil || p.Reactive != nil || p.Proactive != nil ||
		p.Metrics != nil || p.Mean.Values != nil || p.Upper.Values != nil || p.UpperName != "" {
		t.Errorf("page: %+v", p)
	}
}

func TestTelemetryThatIsMissingIsNotFresh(t *testing.T) {
	now := time.Now()
	b, metrics := boardAt(t, now)
	e := evaluated(now)
	e.Data.State = controller.False
	b.Observed(e)
	if want := `foretide_policy_data_fresh{namespace="default",policy="web"} 0`; !strings.Contains(metrics(), want) {
		t.Errorf("no %s", want)
	}
}

func TestPoliciesAreShownInOrderUntilTheyAreForgotten(t *testing.T) {
	now := time.Now()
	b, metrics := boardAt(t, now)
	for _, name := range [][2]string{{"prod", "a"}, {"default", "web"}, {"default", "api"}} {
		e := evaluated(now)
		e.Namespace, e.Name = name[0], name[1]
		b.Observed(e)
	}
	names := func() (out []string) {
		for _, p := range b.Policies(now) {
			out = append(out, p.Namespace+"/"+p.Name)
		}
		return out
	}
	if d := cmp.Diff([]string{"default/api", "default/web", "prod/a"}, names()); d != "" {
		t.Error(d)
	}
	b.Forgotten("default", "web")
	if d := cmp.Diff([]string{"default/api", "prod/a"}, names()); d != "" {
		t.Error(d)
	}
	if strings.Contains(metrics(), `policy="web"`) {
		t.Error("a forgotten policy has series")
	}
}
