package exporter

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// labelSet is sorted by name. Series share one; nothing may change it.
type labelSet []*dto.LabelPair

// labels makes a set of pairs of name and value.
func labels(pairs ...string) labelSet {
	memory := make([]dto.LabelPair, len(pairs)/2)
	set := make(labelSet, len(memory))
	for i := range memory {
		// A set with bytes that are not text would fail the whole scrape.
		pairs[2*i+1] = strings.ToValidUTF8(pairs[2*i+1], "?")
		memory[i].Name, memory[i].Value = &pairs[2*i], &pairs[2*i+1]
		set[i] = &memory[i]
	}
	slices.SortFunc(set, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	return set
}

// sample is one series at one scrape. It does what prometheus.MustNewConstMetric does, but for the labels, which the metrics of
// one device or owner share here: with dozens of pods they would be most of what a scrape leaves behind.
type sample struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	labels labelSet
	value  float64
}

// Desc implements prometheus.Metric.
func (s *sample) Desc() *prometheus.Desc { return s.desc }

// Write implements prometheus.Metric.
func (s *sample) Write(out *dto.Metric) error {
	out.Label = s.labels
	switch s.kind {
	case prometheus.CounterValue:
		out.Counter = &dto.Counter{Value: &s.value}
	case prometheus.UntypedValue:
		out.Untyped = &dto.Untyped{Value: &s.value}
	default:
		out.Gauge = &dto.Gauge{Value: &s.value}
	}
	return nil
}

// newDesc describes a metric; unit may be empty.
func newDesc(name, help, unit string, labelNames ...string) *prometheus.Desc {
	return prometheus.V2.NewDesc(name, help, prometheus.UnconstrainedLabels(labelNames), nil, prometheus.WithUnit(unit))
}
