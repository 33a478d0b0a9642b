package exporter

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

var update = flag.Bool("update", false, "write the golden file")

var at = time.Unix(1_800_000_000, 250_000_000)

func n(v int32) *int32 { return &v }
func b(v bool) *bool   { return &v }

func whole() Policy {
	return Policy{
		Namespace: "default", Name: "fib-gpu", At: at, Took: 3 * time.Millisecond,
		Min: 1, Max: 8, Current: n(2), Desired: n(4), Proactive: n(4), Reactive: n(3),
		TargetPercent: 20, UtilizationPercent: n(29), Reason: "ForecastDemand",
		ForecastReady: true, DataFresh: b(true), Saturated: b(false), Lead: 3 * time.Minute,
		Peaks: []Peak{{0.5, 0.6}, {0.95, 0.75}}, Age: new(700 * time.Millisecond),
		Accuracies: []Accuracy{{"1d", 0.14, 0.94}, {"7d", math.NaN(), 1}},
	}
}

func exporter(t *testing.T, now *time.Time, demands []Demand, nodes []Node, forecasts ...Forecast) *Exporter {
	t.Helper()
	e, err := New(Options{
		Demands:   func(time.Time) []Demand { return demands },
		Forecasts: func(time.Time) []Forecast { return forecasts },
		Nodes:     func(time.Time) []Node { return nodes },
		Now:       func() time.Time { return *now },

		DecisionReasons: []string{"ReactiveDemand", "ForecastDemand", "Steady"}, LimitReasons: []string{"ScaleUpLimit", "TooManyReplicas"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func exposition(t *testing.T, e *Exporter) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(e)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&out, family); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func TestExpositionIsAsRecorded(t *testing.T) {
	now := at
	e := exporter(t, &now,
		[]Demand{{"default", "Deployment", "bert-intent-detection", 0.58, 2}},
		[]Node{{"gpu-node-1", at.Add(-time.Second)}, {"gpu-node-2", at.Add(-time.Hour)}},
		Forecast{
			Namespace: "default", Kind: "Deployment", Name: "bert-intent-detection", Method: "seasonal", Made: at.Add(-30 * time.Second), History: 36 * time.Hour,
			Points: []Point{{"15m", 0.5, 0.6}, {"15m", 0.95, 0.75}, {"24h", 0.95, 0.5}},
			Scores: []Score{{"15m", "1d", 0.21, 0.17, 0.94, -0.02}},
		},
		// A workload without demand has no errors as a part of it.
		Forecast{
			Namespace: "default", Kind: "Deployment", Name: "idle", Method: "level", Made: at, History: time.Hour, Points: []Point{{"15m", 0.5, 0}},
			Scores: []Score{{"15m", "1d", math.NaN(), math.NaN(), 1, math.NaN()}},
		})
	e.Observe(whole())
	// Another one on the same workload, whose target is gone.
	e.Observe(Policy{
		Namespace: "default", Name: "watcher", At: at, Took: time.Millisecond,
		Min: 1, Max: 4, TargetPercent: 50, Reason: "TargetNotFound", Limited: "TooManyReplicas",
	})
	got := exposition(t, e)
	golden := filepath.Join("testdata", "metrics.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("exposition differs (-want +got); with -update it is written anew:\n%s", diff)
	}
}

func TestUnknownValuesHaveNoSeries(t *testing.T) {
	now := at
	e := exporter(t, &now, nil, nil)
	p := whole()
	p.Current, p.Desired, p.Proactive, p.Reactive, p.UtilizationPercent, p.DataFresh, p.Saturated, p.Peaks, p.Accuracies = nil, nil, nil, nil, nil, nil, nil, nil, nil
	p.TargetPercent = 0 // of a queue, say
	e.Observe(p)
	got := exposition(t, e)
	for _, name := range []string{"current_replicas", "desired_replicas", "proactive", "reactive", "utilization_ratio", "target_ratio", "data_fresh", "forecast_peak", "policy_forecast_wape", "policy_forecast_coverage", "foretide_forecast_", "ahpa_"} {
		if strings.Contains(got, name) {
			t.Errorf("there is a series of %s:\n%s", name, got)
		}
	}
}

func TestAPolicyNoLongerDecidedDisappears(t *testing.T) {
	now := at
	e := exporter(t, &now, nil, nil)
	e.Observe(whole())
	now = at.Add(DefaultStaleAfter)
	if got := exposition(t, e); !strings.Contains(got, "foretide_policy_desired_replicas") {
		t.Errorf("not there while fresh:\n%s", got)
	}
	now = now.Add(time.Millisecond)
	if got := exposition(t, e); strings.Contains(got, "foretide_policy") {
		t.Errorf("still there when stale:\n%s", got)
	}
	now = at
	e.Forget("default", "fib-gpu")
	if got := exposition(t, e); strings.Contains(got, "foretide_policy") {
		t.Errorf("still there when gone:\n%s", got)
	}
}

func TestPoliciesAreShownUnderTheNamesOfAHPAWhenAsked(t *testing.T) {
	none := func(time.Time) []Demand { return nil }
	e, err := New(Options{Demands: none, Forecasts: func(time.Time) []Forecast { return nil }, Nodes: func(time.Time) []Node { return nil },
		Now: func() time.Time { return at }, AHPANames: true})
	if err != nil {
		t.Fatal(err)
	}
	p := whole()
	p.Reactive = nil
	e.Observe(p)
	got := exposition(t, e)
	for _, want := range []string{"proactive_pods 4", "requested_pods 4", "max_pods 8", "min_pods 1", "target_metric 20"} {
		name, value, _ := strings.Cut(want, " ")
		if line := "ahpa_" + name + `{name="fib-gpu",namespace="default"} ` + value + "\n"; !strings.Contains(got, line) {
			t.Errorf("no %s in\n%s", line, got)
		}
	}
	if strings.Contains(got, "ahpa_reactive_pods") {
		t.Error("an unknown load is shown")
	}
}

func TestOneReasonHoldsAtATimeAlsoOneThatIsNotListed(t *testing.T) {
	now := at
	e := exporter(t, &now, nil, nil)
	for reason, want := range map[string]string{"Steady": "001", "ReactiveDemand": "100", "Unheard": "0001", "": "000"} {
		p := whole()
		p.Reason, p.Limited = reason, ""
		e.Observe(p)
		got := ""
		for line := range strings.Lines(exposition(t, e)) {
			for _, r := range []string{"ReactiveDemand", "ForecastDemand", "Steady", "Unheard"} {
				if strings.HasPrefix(line, "foretide_policy_decision_reason{") && strings.Contains(line, `reason="`+r+`"`) {
					got = r + strings.TrimSpace(line[strings.LastIndex(line, " "):]) + " " + got
				}
			}
			if strings.HasPrefix(line, "foretide_policy_limited_reason{") && !strings.HasSuffix(line, " 0\n") {
				t.Errorf("limited: %s", line)
			}
		}
		if holds := strings.Count(got, "1"); holds != strings.Count(want, "1") || reason != "" && !strings.Contains(got, reason+"1") || strings.Count(got, " ") != len(want) {
			t.Errorf("of %q is shown %s", reason, got)
		}
	}
}

// Five thousand policies, each as much as there can be known of one, but for the forecasts of their workloads.
func BenchmarkScrape(b *testing.B) {
	for _, ahpa := range []bool{false, true} {
		b.Run(map[bool]string{false: "ours", true: "with AHPA's names"}[ahpa], func(b *testing.B) {
			e, err := New(Options{Demands: func(time.Time) []Demand { return nil }, Forecasts: func(time.Time) []Forecast { return nil }, Nodes: func(time.Time) []Node { return nil },
				Now: func() time.Time { return at }, AHPANames: ahpa, DecisionReasons: make([]string, 0, 13)})
			if err != nil {
				b.Fatal(err)
			}
			for i := range 13 {
				e.desc.policies.decision.words = append(e.desc.policies.decision.words, fmt.Sprint("Reason", i))
			}
			e.desc.policies.limited.words = []string{"a", "b", "c", "d", "e"}
			for i := range 5000 {
				p := whole()
				p.Name, p.Peaks = fmt.Sprint("policy-", i), make([]Peak, 0, 5)
				for _, q := range []float64{0.5, 0.8, 0.9, 0.95, 0.99} {
					p.Peaks = append(p.Peaks, Peak{q, 1})
				}
				e.Observe(p)
			}
			registry := prometheus.NewRegistry()
			registry.MustRegister(e)
			b.ReportAllocs()
			for b.Loop() {
				families, err := registry.Gather()
				if err != nil {
					b.Fatal(err)
				}
				series := 0
				for _, f := range families {
					series += len(f.GetMetric())
				}
				b.ReportMetric(float64(series), "series")
			}
		})
	}
}
