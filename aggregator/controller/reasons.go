package controller

import "github.com/foretide/foretide/aggregator/scaling"

// The problems that leave no decision.
const (
	targetNotFound = "TargetNotFound" // the target, or its kind, is not there
	failedGetScale = "FailedGetScale" // it could not be read
)

// invalidBounds is the limit that is in force while some of a policy's bounds cannot be read.
const invalidBounds = "InvalidBounds"

// DecisionReasons are all words that say why a decision is what it is, or why there is none.
func DecisionReasons() []string {
	return []string{
		string(scaling.ReactiveDemand), string(scaling.ForecastDemand), string(scaling.Steady), string(scaling.Stabilized), string(scaling.ForecastKept), string(scaling.UpStabilized),
		string(scaling.OutsideBounds), string(scaling.Settling), string(scaling.PartialData), string(scaling.NoTelemetry),
		string(scaling.Disabled), string(scaling.InvalidPolicy), targetNotFound, failedGetScale,
	}
}

// LimitReasons are all words that say by what a decision is limited.
func LimitReasons() []string {
	return []string{
		string(scaling.TooFewReplicas), string(scaling.TooManyReplicas), string(scaling.ScaleUpLimit), string(scaling.ScaleDownLimit), invalidBounds,
		string(scaling.NoFreeGPUs), string(scaling.BudgetExceeded),
	}
}

// Limited is by what the decision is limited, as a word and in the order of the condition ScalingLimited; "" when it is not.
func (e Evaluation) Limited() string {
	switch {
	case e.WrongBounds != "":
		return invalidBounds
	case e.Shortage.Reason != "":
		return e.Shortage.Reason
	case e.Decision != nil:
		return string(e.Decision.Limited)
	}
	return ""
}
