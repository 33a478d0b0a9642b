package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/foretide/foretide/pkg/telemetry"
)

func TestMetricsReferenceIsUpToDate(t *testing.T) {
	want, err := os.ReadFile("../../METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	got, err := reference()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("METRICS.md (-want +got); make generate writes it anew\n%s", d)
	}
}

func TestEveryMetricOfTheCatalogueIsListed(t *testing.T) {
	text, err := reference()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range telemetry.Catalogue() {
		dcgmKind := "gauge"
		if row.Kind == telemetry.Counter {
			dcgmKind = "untyped"
		}
		for name, kind := range map[string]string{row.Name: string(row.Kind), row.UsageName(): string(row.Kind),
			row.UnattributedName(): string(row.Kind), row.DCGM: dcgmKind} {
			if name != "" && !strings.Contains(text, "| `"+name+"` | "+kind+" |") {
				t.Errorf("%s is not listed as a %s", name, kind)
			}
		}
		source, _, _ := strings.Cut(row.Source, ",")
		if !strings.Contains(text, "| `"+strings.TrimPrefix(row.Name, "foretide_device_")+"` | "+part(row.Split)+" | `"+source+"`") {
			t.Errorf("it is not said where %s comes from", row.Name)
		}
	}
}

func TestNameAgainstTheRulesOfPrometheusIsAnError(t *testing.T) {
	r := newRegistry()
	r.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "foretide_mistakes", Help: "A counter without its suffix."}))
	if _, err := r.metrics(); err == nil || !strings.Contains(err.Error(), "foretide_mistakes") || !strings.Contains(err.Error(), "_total") {
		t.Errorf("error = %v", err)
	}
}

func TestMetricWithoutExampleIsAnError(t *testing.T) {
	r := newRegistry()
	r.MustRegister(silent{prometheus.NewDesc("foretide_silent", "Never shown.", nil, nil)})
	if _, err := r.metrics(); err == nil || !strings.Contains(err.Error(), "foretide_silent") {
		t.Errorf("error = %v", err)
	}
}

type silent struct{ desc *prometheus.Desc }

func (s silent) Describe(out chan<- *prometheus.Desc) { out <- s.desc }
func (silent) Collect(chan<- prometheus.Metric)       {}
