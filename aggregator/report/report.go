// Package report tells what a policy did, or would have done, over the last week and what it expects of the next day: as numbers, and as
// one page that needs no network and runs no script.
//
//	Input (minutes of the past, forecast, bounds) ─► predicted pods ─► usages ─► advice ─► Report ─► JSON
//	                                                        └► log of decisions               └────► page (SVG drawn here)
//
// The two charts are those of AHPA's observer.html: "Predict GPU Resource Observer" and "Predict POD Observer", what was in blue and what
// was foretold in green. There is no clock and no I/O: the same input gives the same page.
package report

import (
	"math"
	"time"
)

// Span is how far the report looks back, Ahead how far it looks forward, and Step what its lines are drawn in.
const (
	Span  = 7 * 24 * time.Hour
	Ahead = 24 * time.Hour
	Step  = 5 * time.Minute
)

// Input is all that a report is made of.
type Input struct {
	Namespace, Name string
	// Strategy is the policy's; Acts says that it sets replicas.
	Strategy string
	Acts     bool
	// Target is the scale target's kind and name, such as "Deployment bert".
	Target  string
	Metrics []Metric
	// Reason and Message are those of the decision in force.
	Reason, Message string
	// TargetRatio is the utilization that the pods' GPUs should have, 0 to 1; 1 where the policy names none. GPUsPerPod is what a pod holds
	// now, 0 where that is not known.
	TargetRatio, GPUsPerPod float64
	// Quantile is what the policy scales by, 0 to 1; Lead how long before it needs a pod it asks for it.
	Quantile float64
	Lead     time.Duration
	// Bounds are the fewest and the most replicas at a moment.
	Bounds func(at time.Time) (least, most int32)
	// Location is by whose clock times are told; nil is UTC.
	Location *time.Location
	Now      time.Time
	Past     Past
	Next     Next
	Scores   []Score
}

// Metric is one thing the policy decides on, in words with units.
type Metric struct {
	Name    string `json:"name"`
	Target  string `json:"target"`
	Current string `json:"current"` // "unknown" where it is
}

// Past has a value for each minute: value i is of the minute that ends at Start + (i+1) minutes. NaN and "" mean that it is not known.
type Past struct {
	Start time.Time
	// Demand is in busy GPUs, Pods is how many shared it.
	Demand, Pods []float64
	// Desired is how many replicas were decided, Proactive and Reactive what the forecast and the load asked for.
	Desired, Proactive, Reactive []float64
	Reasons                      []string
	// Median and Upper are what was forecast of the five minutes that end with this one, Lead before, in busy GPUs: the middle, and the
	// policy's quantile.
	Lead          string
	Median, Upper []float64
}

// Next is the forecast: value i is of the step that ends at Start + (i+1)·Step, in busy GPUs. It is empty where there is none.
type Next struct {
	Start         time.Time
	Step          time.Duration
	Median, Upper []float64
	// Note says how it was made, or why there is none.
	Note string
}

// Score is how right forecasts were that were made Lead before, over a time such as "7d". What is not known is NaN.
type Score struct {
	Lead, Over string
	// WAPE, Pinball and Bias are parts of the demand; Coverage is the share of the time in which demand was at or under the p95.
	WAPE, Pinball, Coverage, Bias float64
}

// Report is what is told of a policy, and its JSON.
type Report struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Strategy  string    `json:"strategy"`
	Target    string    `json:"target"`
	Made      time.Time `json:"made"`
	TimeZone  string    `json:"timeZone"`
	Metrics   []Metric  `json:"metrics"`
	Reason    string    `json:"reason"`
	Message   string    `json:"message"`
	// Quantile is what is scaled by, LeadSeconds how long before they are needed pods are asked for.
	Quantile    float64 `json:"quantile"`
	LeadSeconds float64 `json:"leadSeconds"`
	GPUsPerPod  Number  `json:"gpusPerPod"`
	TargetRatio float64 `json:"targetRatio"`
	Advice      Advice  `json:"advice"`
	GPUs        GPUs    `json:"gpus"`
	Pods        Pods    `json:"pods"`
	// Compared is which part of the week the usages are of.
	Compared Compared   `json:"compared"`
	Usages   []Usage    `json:"usages"`
	Accuracy []Accuracy `json:"accuracy"`
	// Decisions are the newest first, at most 200.
	Decisions []Decision `json:"decisions"`
	// Forecast says how the forecast was made, or why there is none.
	Forecast string `json:"forecast"`

	location *time.Location
}

// GPUs is the chart of demand, in busy GPUs: what was, and what was forecast of it Lead before and is forecast of the next day.
type GPUs struct {
	Lead     string `json:"forecastLead"`
	Actual   Line   `json:"actual"`
	Median   Line   `json:"median"`
	Quantile Line   `json:"quantile"`
}

// Pods is the chart of pods: what was, and what the policy would have set and would set.
type Pods struct {
	Actual    Line `json:"actual"`
	Predicted Line `json:"predicted"`
	// DecidedShare is the part of the known minutes of Predicted's past that were decided then; the rest is what the forecast Lead before
	// asks for.
	DecidedShare Number `json:"decidedShare"`
}

// Accuracy is a Score in JSON.
type Accuracy struct {
	Lead     string `json:"lead"`
	Over     string `json:"over"`
	WAPE     Number `json:"wapeRatio"`
	Pinball  Number `json:"pinballRatio"`
	Coverage Number `json:"coverageRatio"`
	Bias     Number `json:"biasRatio"`
}

// Build makes the report.
func Build(in Input) Report {
	if in.Location == nil {
		in.Location = time.UTC
	}
	predicted := predict(in)
	compared, usages := measure(in, predicted)
	r := Report{
		Namespace: in.Namespace, Name: in.Name, Strategy: in.Strategy, Target: in.Target, Made: in.Now.In(in.Location).Round(time.Second),
		TimeZone: in.Location.String(), Metrics: in.Metrics, Reason: in.Reason, Message: in.Message,
		Quantile: in.Quantile, LeadSeconds: in.Lead.Seconds(), GPUsPerPod: known(in.GPUsPerPod), TargetRatio: in.TargetRatio,
		Compared: compared, Usages: usages, Forecast: in.Next.Note, Decisions: decisions(in), location: in.Location,
	}
	start := in.Past.Start
	r.GPUs = GPUs{
		Lead:     in.Past.Lead,
		Actual:   Line{start, Step, fold(in.Past.Demand, mean)},
		Median:   joined(in, fold(in.Past.Median, last), in.Next.Median),
		Quantile: joined(in, fold(in.Past.Upper, last), in.Next.Upper),
	}
	r.Pods = Pods{
		Actual:       Line{start, Step, fold(in.Past.Pods, largest)},
		Predicted:    joined(in, fold(predicted.asked, largest), predicted.next),
		DecidedShare: Number(predicted.decidedShare()),
	}
	for _, s := range in.Scores {
		r.Accuracy = append(r.Accuracy, Accuracy{s.Lead, s.Over, Number(s.WAPE), Number(s.Pinball), Number(s.Coverage), Number(s.Bias)})
	}
	r.Advice = advise(in, compared, usages)
	return r
}

// known is a quantity that 0 stands for nothing of.
func known(v float64) Number {
	if v <= 0 {
		return Number(math.NaN())
	}
	return Number(v)
}
