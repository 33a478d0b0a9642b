package exporter

import (
	"math"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Forecast is the newest forecast of a workload's demand, and how good the ones before it were.
type Forecast struct {
	Namespace, Kind, Name string
	// Method made it, at Made, from so much known History.
	Method  string
	Made    time.Time
	History time.Duration
	Points  []Point
	Scores  []Score
}

// Point is the mean demand forecast of five minutes, in busy GPUs: of the step of the forecast that ends Lead, such as "1h", after it
// was made, or for "1m" of the first.
type Point struct {
	Lead           string
	Quantile, GPUs float64
}

// Score compares what was forecast Lead ahead with the demand that came, Over the time before now. NaN is not known.
type Score struct {
	Lead, Over                    string
	WAPE, Pinball, Coverage, Bias float64
}

// forecastDescriptions are the metrics of a Forecast.
type forecastDescriptions struct {
	demand, made, history, info   *prometheus.Desc
	wape, pinball, coverage, bias *prometheus.Desc
}

func newForecastDescriptions() forecastDescriptions {
	forecast := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc("foretide_forecast_"+name, help, append([]string{"namespace", "kind", "name"}, more...), nil)
	}
	score := func(name, help string) *prometheus.Desc {
		return forecast(name, help+" Absent when less than a quarter of the time could be compared.", "lead", "over")
	}
	return forecastDescriptions{
		demand: forecast("demand_gpus",
			"Mean demand of five minutes in the newest forecast, in busy GPUs, at a quantile: of those that end the lead after it was made; for 1m of the first five.", "quantile", "lead"),
		made:    forecast("made_timestamp_seconds", "When the newest forecast was made, which is up to when it knew the demand."),
		history: forecast("history_seconds", "Known demand behind the newest forecast; gaps do not count."),
		info:    forecast("info", "Always 1; the label says by which method the newest forecast was made, external for another's.", "method"),
		wape: score("wape_ratio",
			"Error of the median forecast so far ahead: the sum of its distances from the demand that came, as a part of that demand."),
		pinball: score("pinball_ratio",
			"Error of the forecast's p50 and p95 so far ahead: twice their mean quantile loss, as a part of the demand that came."),
		coverage: score("coverage_ratio",
			"Share of the time in which the mean demand of five minutes was at or under the p95 forecast of it so far ahead: 0.95 when the forecast is right about its doubt."),
		bias: score("bias_ratio", "What the median forecast so far ahead was above the demand that came, as a part of that demand; below 0 it was too low."),
	}
}

func (d forecastDescriptions) all() []*prometheus.Desc {
	return []*prometheus.Desc{d.demand, d.made, d.history, d.info, d.wape, d.pinball, d.coverage, d.bias}
}

func (d forecastDescriptions) collect(out chan<- prometheus.Metric, f Forecast) {
	put := func(desc *prometheus.Desc, value float64, more ...string) {
		if !math.IsNaN(value) {
			out <- gauge(desc, value, append([]string{f.Namespace, f.Kind, f.Name}, more...)...)
		}
	}
	for _, p := range f.Points {
		put(d.demand, p.GPUs, strconv.FormatFloat(p.Quantile, 'g', -1, 64), p.Lead)
	}
	put(d.made, float64(f.Made.UnixMilli())/1000)
	put(d.history, f.History.Seconds())
	put(d.info, 1, f.Method)
	for _, s := range f.Scores {
		put(d.wape, s.WAPE, s.Lead, s.Over)
		put(d.pinball, s.Pinball, s.Lead, s.Over)
		put(d.coverage, s.Coverage, s.Lead, s.Over)
		put(d.bias, s.Bias, s.Lead, s.Over)
	}
}
