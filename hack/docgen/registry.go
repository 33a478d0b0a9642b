package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// registry is a Prometheus registry that can tell whether everything described was also shown.
type registry struct {
	*prometheus.Registry
	collectors []prometheus.Collector
}

func newRegistry() *registry { return &registry{Registry: prometheus.NewRegistry()} }

// Register implements prometheus.Registerer.
func (r *registry) Register(c prometheus.Collector) error {
	r.collectors = append(r.collectors, c)
	return r.Registry.Register(c)
}

// MustRegister implements prometheus.Registerer.
func (r *registry) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// metric is what the reference says of one metric.
type metric struct {
	name, kind, help string
	labels           []string // sorted
}

// dcgm is how NVIDIA's names begin, which follow no rule of Prometheus.
const dcgm = "DCGM_"

// ours are how the names of the metrics begin that the reference lists.
var ours = []string{"foretide_", "ahpa_", dcgm}

// metrics returns every metric of our own, by name. A metric that is described and not shown lacks an example; that, and a name
// or help against the rules of `promtool check metrics`, is an error.
func (r *registry) metrics() ([]metric, error) {
	for _, c := range r.collectors {
		if vector, ok := c.(*prometheus.CounterVec); ok {
			example(vector)
		}
		if missing := notShown(c); len(missing) > 0 {
			return nil, fmt.Errorf("add an example of %s", strings.Join(missing, ", "))
		}
	}
	families, err := r.Gather()
	if err != nil {
		return nil, err
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		return nil, err
	}
	for _, p := range problems {
		if isOurs(p.Metric) && !excepted(p.Metric) {
			return nil, fmt.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	var out []metric
	for _, f := range families {
		if !isOurs(f.GetName()) {
			continue
		}
		m := metric{name: f.GetName(), kind: strings.ToLower(f.GetType().String()), help: f.GetHelp()}
		for _, series := range f.GetMetric() {
			for _, l := range series.GetLabel() {
				m.labels = append(m.labels, l.GetName())
			}
		}
		slices.Sort(m.labels)
		m.labels = slices.Compact(m.labels)
		out = append(out, m)
	}
	return out, nil
}

// excepted are the metrics that may break a rule.
func excepted(name string) bool {
	switch name {
	case "foretide_aggregator_demand_minutes_total": // counts one-minute intervals of history, measures no time
		return true
	case "foretide_forecast_demand_gpus", "foretide_policy_forecast_peak_gpus": // is a quantile, of a forecast instead of a summary
		return true
	}
	return strings.HasPrefix(name, dcgm)
}

func isOurs(name string) bool {
	return slices.ContainsFunc(ours, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// example makes one series: a vector without any shows nothing. How many labels it has, only a try tells.
func example(vector *prometheus.CounterVec) {
	for n := range 16 {
		if _, err := vector.GetMetricWithLabelValues(make([]string, n)...); err == nil {
			return
		}
	}
}

func notShown(c prometheus.Collector) []string {
	shown := map[string]bool{}
	for m := range drain(c.Collect) {
		shown[m.Desc().String()] = true
	}
	var missing []string
	for d := range drain(c.Describe) {
		_, name, _ := strings.Cut(d.String(), `fqName: "`) // a description tells its name in no other way
		if isOurs(name) && !shown[d.String()] {
			missing = append(missing, d.String())
		}
	}
	return missing
}

// drain turns a function that fills a channel into one to range over.
func drain[T any](fill func(chan<- T)) <-chan T {
	c := make(chan T)
	go func() {
		defer close(c)
		fill(c)
	}()
	return c
}
