package controller

import (
	"math"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// Evaluation is one look at one policy: what was seen, what was forecast, what was decided.
type Evaluation struct {
	Namespace, Name string
	UID             types.UID
	At              time.Time
	// Took is how long it took from reading the target to the decision (and to its being applied); set by the Reconciler.
	Took time.Duration

	Strategy      v1alpha1.ScaleStrategy
	TargetPercent int32
	// Min and Max are the bounds in force.
	Min, Max int32
	// WrongBounds says what of the policy's bounds could not be read, "" when all could.
	WrongBounds string
	// Lead is how far ahead pods are asked for.
	Lead time.Duration
	// LeadPods is how many pods it was measured on; 0 when it was not.
	LeadPods int
	// Quantile is the policy's own, between 0 and 1.
	Quantile float64

	// Location is by whose clock the policy's users live.
	Location *time.Location
	// Bounds are the fewest and the most replicas the policy allows at a moment.
	Bounds func(at time.Time) (least, most int32)
	// GPUsPerPod is what a pod of the target holds now; 0 when that is not known.
	GPUsPerPod float64

	Workload Workload
	// Current is what the target is set to; absent when it could not be read.
	Current *int32
	// Decision is absent when the target could not be read; Problem then says why.
	Decision *scaling.Decision
	// ValidUntil is until when the decision holds if load and forecast stay as they are; zero when that cannot be said.
	ValidUntil time.Time
	Problem    Note
	// Forecast is that of the demand for GPUs, whatever the policy's metrics are.
	Forecast Prediction
	// Metrics are the policy's, in its order.
	Metrics []MetricEvaluation
	Data    Freshness
	// Level is the largest recommendation of the stabilization window, what replicas come down to if nothing changes; absent when
	// none was made.
	Level *int32
	// GPUs are those of a replica; set by the Reconciler.
	GPUs GPUs
	// Shortage says that more is wanted than the cluster has GPUs for, or than a budget leaves; set by the Reconciler. Its reason is ""
	// when nothing is short.
	Shortage Note
}

// MetricEvaluation is one look at one of a policy's metrics.
type MetricEvaluation struct {
	// ID is its name, and History that which its demand is kept under.
	ID, History string
	Spec        v1alpha1.MetricSpec
	// Demand is what all pods together use of it now, or its value of the whole; where the target is a Value, that times the ready pods.
	// It is absent while it is not known of all of them, and for the metric GPU, whose demand is recorded whether there is a policy or not.
	Demand *float64
	// Problem says why nothing of it is known, "" when something is.
	Problem string
	missing bool // it is not known of a pod that has been ready for long
	// Forecast is that of its demand.
	Forecast Prediction
}

// GPUTarget is the utilization of GPUs that the policy aims for, percent; 0 when none of its metrics says. An amount by pod is that of
// what a pod holds.
func (e Evaluation) GPUTarget() int32 {
	for _, m := range e.Metrics {
		if !m.Spec.Is(v1alpha1.ResourceGPU) {
			continue
		}
		target := toTarget(m.Spec.Target())
		if target.Average > 0 && e.GPUsPerPod > 0 {
			return int32(min(100, math.Round(100*target.Average/e.GPUsPerPod)))
		}
		return target.Percent
	}
	return 0
}

// gpus is the forecast of the demand for GPUs as far as the policy acts on it.
func (e Evaluation) gpus() Prediction {
	for _, m := range e.Metrics {
		if m.Spec.Is(v1alpha1.ResourceGPU) {
			return m.Forecast
		}
	}
	return Prediction{}
}

// ForecastReady tells whether the forecast of any metric takes part in the decision and that of none is lost, and why: of each metric
// where there are several.
func (e Evaluation) ForecastReady() (bool, Note) {
	if len(e.Metrics) == 0 {
		return e.Forecast.Acts, e.Forecast.Note
	}
	acts, lost := -1, -1
	var said []string
	for i, m := range e.Metrics {
		f := m.Forecast
		if f.Acts && acts < 0 {
			acts = i
		}
		if f.Lost && lost < 0 {
			lost = i
		}
		said = append(said, m.ID+": "+f.Note.Message)
	}
	note := e.Metrics[max(0, acts)].Forecast.Note
	if lost >= 0 {
		note = e.Metrics[lost].Forecast.Note
	}
	if len(said) > 1 {
		note.Message = strings.Join(said, "; ")
	}
	return acts >= 0 && lost < 0, note
}

// Note is a state in one word and in a sentence.
type Note struct {
	Reason, Message string
}

// Prediction is the forecast of a policy's workload and what may be done with it.
type Prediction struct {
	// Forecast is absent when none could be made.
	Forecast *forecast.Forecast
	// Acts is true when the forecast takes part in the decision.
	Acts bool
	// Lost is true when a forecast that should take part cannot be made now, other than for want of history.
	Lost bool
	// PeakGPUs is the largest demand within the lead time at the policy's quantile; only when HasPeak. Of another metric than GPU it
	// is in that one's unit.
	PeakGPUs float64
	HasPeak  bool
	// LaterGPUs is the same until a replica that is removed now would not be missed.
	LaterGPUs float64
	// Peaks are the same at each level of the forecast.
	Peaks []Peak
	// Note says why the forecast acts or not.
	Note Note
}

// Peak is the largest demand within the lead time at one quantile.
type Peak struct {
	// Quantile is between 0 and 1.
	Quantile float64
	GPUs     float64
}

// State says whether something holds; Unknown where nothing can be said.
type State string

// The states, in the words of a condition's status.
const (
	True    State = "True"
	False   State = "False"
	Unknown State = "Unknown"
)

// Freshness says whether there is fresh telemetry of every ready pod.
type Freshness struct {
	State State
	Note  Note
	// Newest is the end of the newest window of any pod, by its node's clock; zero when no load is known.
	Newest time.Time
}
