package exporter

import (
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// series is a line of the exposition as Prometheus has it after a scrape: labels that are empty are none, and instance is there.
type series struct {
	labels map[string]string
	value  float64
}

// parse reads an exposition in the text format.
func parse(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// scraped returns the series of one metric whose labels match, as Prometheus' =~ does.
func scraped(t *testing.T, text, metric string, matchers map[string]string) []series {
	t.Helper()
	family := parse(t, text)[metric]
	var out []series
	for _, m := range family.GetMetric() {
		s := series{map[string]string{"instance": "node-1:9400"}, value(m)}
		for _, l := range m.GetLabel() {
			if l.GetValue() != "" {
				s.labels[l.GetName()] = l.GetValue()
			}
		}
		if matches(s.labels, matchers) {
			out = append(out, s)
		}
	}
	return out
}

func matches(labels, matchers map[string]string) bool {
	for name, expression := range matchers {
		if !regexp.MustCompile("^(?:" + expression + ")$").MatchString(labels[name]) {
			return false
		}
	}
	return true
}

func value(m *dto.Metric) float64 {
	return m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
}

// by sums the values up by one label, as sum by does.
func by(all []series, label string) map[string]float64 {
	out := map[string]float64{}
	for _, s := range all {
		out[s.labels[label]] += s.value
	}
	return out
}
