package controller

import (
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

	Workload Workload
	// Current is what the target is set to; absent when it could not be read.
	Current *int32
	// Decision is absent when the target could not be read; Problem then says why.
	Decision *scaling.Decision
	Problem  Note
	Forecast Prediction
	Data     Freshness
	// GPUs are those of a replica; set by the Reconciler.
	GPUs GPUs
	// Shortage says that more is wanted than the cluster has GPUs for, or than a budget leaves; set by the Reconciler. Its reason is ""
	// when nothing is short.
	Shortage Note
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
	// PeakGPUs is the largest demand within the lead time at the policy's quantile; only when HasPeak.
	PeakGPUs float64
	HasPeak  bool
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
}
