package exporter

import (
	"bytes"
	"flag"
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
		Peaks: []Peak{{0.5, 0.6}, {0.95, 0.75}},
	}
}

func exporter(t *testing.T, now *time.Time, demands []Demand, nodes []Node, forecasts ...Forecast) *Exporter {
	t.Helper()
	e, err := New(Options{
		Demands:   func(time.Time) []Demand { return demands },
		Forecasts: func(time.Time) []Forecast { return forecasts },
		Nodes:     func(time.Time) []Node { return nodes },
		Now:       func() time.Time { return *now },
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
		Min: 1, Max: 4, TargetPercent: 50, Reason: "TargetNotFound",
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
	p.Current, p.Desired, p.Proactive, p.Reactive, p.UtilizationPercent, p.DataFresh, p.Saturated, p.Peaks = nil, nil, nil, nil, nil, nil, nil, nil
	e.Observe(p)
	got := exposition(t, e)
	for _, name := range []string{"current_replicas", "desired_replicas", "proactive", "reactive", "utilization_ratio", "data_fresh", "forecast_peak", "foretide_forecast_"} {
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
