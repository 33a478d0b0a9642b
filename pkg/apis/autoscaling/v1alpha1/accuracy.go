package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AccuracyStatus compares what was forecast of the workload's demand with what came. Each figure is of the mean demand of five minutes.
type AccuracyStatus struct {
	// How far ahead what is compared was forecast, seconds: 900 or 3600, whichever is the next at or above leadTimeSeconds; 3600
	// where that is more.
	LeadSeconds int32 `json:"leadSeconds"`
	// Over the last 24 hours; absent when less than a quarter of them could be compared.
	// +optional
	Day *AccuracyOver `json:"day,omitempty"`
	// Over the last seven days; absent when less than a quarter of them could be compared.
	// +optional
	Week *AccuracyOver `json:"week,omitempty"`
	// When it was told. It is told anew once an hour at most, and not while it stays the same; the metrics have it of each moment.
	At metav1.Time `json:"at"`
}

// AccuracyOver is how good forecasts were over a time. What is a part of the demand is absent when there was none.
type AccuracyOver struct {
	// What was forecast right, percent of the demand: 100 less wapePercent, and at least 0.
	// +optional
	AccuracyPercent *int32 `json:"accuracyPercent,omitempty"`
	// How much the median of the forecast was off, percent of the demand: the sum of what it missed by, over the sum of what came
	// (weighted absolute percentage error).
	// +optional
	WAPEPercent *int32 `json:"wapePercent,omitempty"`
	// How often demand stayed at or below the forecast at prediction.quantile, percent of the time. It is as much as that
	// quantile when the forecast is right about its doubt.
	CoveragePercent int32 `json:"coveragePercent"`
	// How much more was forecast than came, percent of the demand; below 0 it was less.
	// +optional
	BiasPercent *int32 `json:"biasPercent,omitempty"`
}
