package report

import (
	"math"
	"time"
)

// What a minute is called by the share of their GPUs that pods keep busy.
const (
	// fullShare is as much as pods can do: between two requests there is always a moment.
	fullShare = 0.95
	// overTarget is how far beyond the target is too far: the tolerance of the HorizontalPodAutoscaler.
	overTarget = 1.1
)

// The usages.
const (
	ActualUsage    = "actual"     // the pods that there were
	PredictedUsage = "predicted"  // those that the policy would have had
	PeakFixedUsage = "peak-fixed" // as many all the time as the largest demand needs at the target
)

// Usage is what a number of pods would have cost and carried of the demand that was seen, over the minutes compared.
type Usage struct {
	Name     string  `json:"name"`
	GPUHours float64 `json:"gpuHours"`
	MeanPods float64 `json:"meanPods"`
	// ShortMinutes are those in which demand was 95 % or more of all that the pods can do: they had nothing left, and more may have been
	// asked for than was seen, so it is a lower bound. OverMinutes are those in which it was more than a tenth over the target.
	ShortMinutes int `json:"shortMinutes"`
	OverMinutes  int `json:"overTargetMinutes"`
}

// Compared says which minutes of the week the usages are of: those in which demand, actual and predicted pods are known.
type Compared struct {
	Minutes int `json:"minutes"`
	// MissingRatio is the part of the time since demand and pods were first known in which one of them was not.
	MissingRatio Number `json:"missingRatio"`
}

// count adds a minute.
func (u *Usage) count(in Input, demand, paid, serving float64) {
	u.GPUHours += paid * in.GPUsPerPod / 60
	u.MeanPods += paid
	full := serving * in.GPUsPerPod
	if demand > 0 && demand >= fullShare*full {
		u.ShortMinutes++
	}
	if demand > 0 && demand > overTarget*in.TargetRatio*full {
		u.OverMinutes++
	}
}

// measure counts the actual, the predicted, and the fixed pods over the same minutes.
func measure(in Input, p predicted) (Compared, []Usage) {
	var minutes []int
	seen, first, peak := 0, -1, 0.0
	for i, demand := range in.Past.Demand {
		if math.IsNaN(demand) || math.IsNaN(in.Past.Pods[i]) {
			continue
		}
		if seen++; first < 0 {
			first = i
		}
		if !math.IsNaN(p.asked[i]) && in.GPUsPerPod > 0 && in.TargetRatio > 0 {
			minutes = append(minutes, i)
			peak = max(peak, demand)
		}
	}
	compared := Compared{Minutes: len(minutes), MissingRatio: Number(math.NaN())}
	if first >= 0 {
		compared.MissingRatio = Number(1 - float64(seen)/float64(len(in.Past.Demand)-first))
	}
	if len(minutes) == 0 {
		return compared, nil
	}
	actual, foretold, fixed := Usage{Name: ActualUsage}, Usage{Name: PredictedUsage}, Usage{Name: PeakFixedUsage}
	always := needed(peak, in.TargetRatio*in.GPUsPerPod)
	for _, i := range minutes {
		demand := in.Past.Demand[i]
		actual.count(in, demand, in.Past.Pods[i], in.Past.Pods[i])
		foretold.count(in, demand, p.asked[i], p.serving[i])
		fixed.count(in, demand, always, always)
	}
	usages := []Usage{actual, foretold, fixed}
	for i := range usages {
		usages[i].MeanPods /= float64(len(minutes))
	}
	return compared, usages
}

// hours is how long so many minutes are.
func (c Compared) hours() float64 { return (time.Duration(c.Minutes) * time.Minute).Hours() }
