package controller

import (
	"math"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// Accuracies knows how good the forecasts of workloads were.
type Accuracies interface {
	// Accuracy is that of forecasts made lead or more ahead, with the coverage of a quantile (0 to 1). False means that it is
	// not known yet: what was told before stands.
	Accuracy(workload Workload, quantile float64, lead time.Duration, now time.Time) (Accuracy, bool)
}

// Accuracy compares what was forecast so far ahead with what came. Nil is not known.
type Accuracy struct {
	Lead      time.Duration
	Day, Week *Score
}

// Score is how good forecasts were: as parts of the demand, NaN where there was none, but for Coverage, a share of the time.
type Score struct{ WAPE, Coverage, Bias float64 }

// accuracyStands is how long what was told stands while nothing new is known.
const accuracyStands = 2 * time.Hour

// accuracy is that of a policy's forecasts as its status is to tell it: as it stands, until the workload's own minute of the hour has
// come. What is told of thousands of policies is not written in the same minute.
func (r *Reconciler) accuracy(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, e Evaluation) *v1alpha1.AccuracyStatus {
	stands := policy.Status.Accuracy
	if stands != nil && (policy.Status.ObservedGeneration != policy.Generation || e.At.Sub(stands.At.Time) > accuracyStands) {
		stands = nil // perhaps of another workload
	}
	if r.Accuracies == nil || stands != nil && e.At.Before(nextLook(e.Workload, stands.At.Time)) {
		return stands
	}
	told, ok := r.Accuracies.Accuracy(e.Workload, e.Quantile, e.Lead, e.At)
	switch {
	case !ok:
		return stands
	case told.Day == nil && told.Week == nil:
		return nil
	}
	return &v1alpha1.AccuracyStatus{
		LeadSeconds: int32(told.Lead / time.Second), Day: overStatus(told.Day), Week: overStatus(told.Week), At: metav1.NewTime(e.At),
	}
}

func overStatus(s *Score) *v1alpha1.AccuracyOver {
	if s == nil {
		return nil
	}
	out := &v1alpha1.AccuracyOver{WAPEPercent: percent(s.WAPE), BiasPercent: percent(s.Bias), CoveragePercent: *percent(s.Coverage)}
	if out.WAPEPercent != nil {
		out.AccuracyPercent = new(max(0, 100-*out.WAPEPercent))
	}
	return out
}

// percent of a ratio, at most a million; nil for none.
func percent(ratio float64) *int32 {
	const most = 1e6
	if math.IsNaN(ratio) {
		return nil
	}
	return new(int32(math.Round(max(-most, min(most, 100*ratio)))))
}
