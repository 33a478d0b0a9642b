package report

import (
	_ "embed" // the page
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
	"time"
)

//go:embed report.html
var pageText string

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"percent": percent, "number": number, "clock": clock, "share": share, "spell": spell,
}).Parse(pageText))

// mostShown is how many decisions the page has; more would hide what follows them.
const mostShown = 60

// HTML writes the report as one page.
func (r Report) HTML(w io.Writer) error {
	quantile := fmt.Sprintf("p%g", math.Round(1e4*r.Quantile)/100)
	location := r.location
	if location == nil {
		location = time.UTC
	}
	common := picture{now: r.Made, location: location}
	gpus, pods := common, common
	gpus.label = "Busy GPUs of the last 7 days, and their forecast up to 24 hours from now"
	gpus.actual, gpus.predicted, gpus.median = r.GPUs.Actual, r.GPUs.Quantile, r.GPUs.Median
	pods.label = "Pods of the last 7 days, and those predicted up to 24 hours from now"
	pods.actual, pods.predicted, pods.whole = r.Pods.Actual, r.Pods.Predicted, true
	shown := min(len(r.Decisions), mostShown)
	return page.Execute(w, view{
		Report: r, QuantileName: quantile, Aim: percent(Number(r.TargetRatio)), FromForecast: r.fromForecast(), GPUsAlone: r.gpusAlone(), Rule: Rule, GPUPlots: gpus.plots(), PodPlots: pods.plots(),
		Lead: spell(time.Duration(r.LeadSeconds * float64(time.Second)).String()), Shown: r.Decisions[:shown], Older: len(r.Decisions) - shown, Hours: fmt.Sprintf("%.0f", r.Compared.hours()),
	})
}

// view is what the template sees.
type view struct {
	Report
	QuantileName, Aim, Lead, Hours, FromForecast, GPUsAlone string
	Rule                                                    []string
	Shown                                                   []Decision
	Older                                                   int // how many more there are
	GPUPlots, PodPlots                                      []plot
}

// fromForecast says which part of the predicted pods was not decided then; "" when all was.
func (r Report) fromForecast() string {
	if math.IsNaN(float64(r.Pods.DecidedShare)) {
		return "nothing is known of that"
	}
	if foretold := 1 - float64(r.Pods.DecidedShare); foretold > 0 {
		return fmt.Sprintf("where that is not known (%.0f %% of the time), what the forecast %s before asks for", math.Ceil(100*foretold), spell(r.GPUs.Lead))
	}
	return ""
}

// gpusAlone says what the page leaves out of a policy that decides on more than the utilization of GPUs; "" when it decides on nothing else.
func (r Report) gpusAlone() string {
	if len(r.Metrics) == 0 || len(r.Metrics) == 1 && r.Metrics[0].Name == "gpu" && strings.HasSuffix(r.Metrics[0].Target, "%") {
		return ""
	}
	return fmt.Sprintf("What the forecast asks for is counted in busy GPUs alone, at %s of what the pods' GPUs can do; what was decided has every metric in it.",
		percent(Number(r.TargetRatio)))
}

func percent(n Number) string {
	if math.IsNaN(float64(n)) {
		return "–"
	}
	return fmt.Sprintf("%.3g\u00a0%%", 100*float64(n))
}

func number(n Number) string {
	if math.IsNaN(float64(n)) {
		return "–"
	}
	return fmt.Sprintf("%.4g", float64(n))
}

func clock(t time.Time) string { return t.Format("Mon 2 Jan 15:04") }

// spell writes a length such as 15m, 1d or 3m0s in words.
func spell(text string) string {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if days == "1" {
			return "1 day"
		}
		return days + " days"
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return text
	case d == time.Hour:
		return "1 hour"
	case d > 0 && d%time.Hour == 0:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

// share is a number of minutes and its part of all.
func share(n, of int) string {
	if of == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d\u00a0min (%.2g\u00a0%%)", n, 100*float64(n)/float64(of))
}
