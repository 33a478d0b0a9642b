package scaling

import (
	"fmt"
	"math"
)

// epsilon keeps a quotient that should be whole from being lifted over it by rounding: 4.2/0.6 is 7.000000000000001.
const epsilon = 1e-9

// most is more GPUs than anyone has: a larger number is not a measurement, and would overflow the arithmetic.
const most = 1e12

// Saturation: from so many percent on, utilization says that demand is at least so much; replicas then grow by at least this factor,
// which reaches any demand in a few steps and passes it by half at most.
const (
	saturatedPercent = 95
	saturatedGrowth  = 1.5
)

// recommendation is a number of replicas and where it comes from; replicas nil = there is none, and why says why.
type recommendation struct {
	replicas *int32
	why      string
}

// load is the workload's pods, added up as the Horizontal Pod Autoscaler groups them (replica_calculator.go, groupPods).
type load struct {
	busy, gpus     float64 // of the ready pods whose load is known
	known          int     // ready pods whose load is known
	missing        int     // ready pods whose load is unknown
	missingGPUs    float64
	unready        int // pods on their way, and replicas asked for that no pod is seen of
	unreadyGPUs    float64
	gpusAreUnknown bool // some pod's devices are neither given nor implied
}

func read(in Inputs) load {
	var l load
	seen := 0
	for _, pod := range in.Pods {
		if pod.State == Gone {
			continue
		}
		seen++
		gpus := pod.GPUs
		if !positive(gpus) {
			gpus = in.GPUsPerPod
		}
		if !positive(gpus) {
			gpus, l.gpusAreUnknown = 0, true
		}
		switch {
		case pod.State != Ready:
			l.unready++
			l.unreadyGPUs += gpus
		case !pod.HasLoad || !amount(pod.BusyGPUs):
			l.missing++
			l.missingGPUs += gpus
		default:
			l.known++
			l.busy += pod.BusyGPUs
			l.gpus += gpus
		}
	}
	if absent := int(in.Current) - seen; absent > 0 {
		l.unready += absent
		if positive(in.GPUsPerPod) {
			l.unreadyGPUs += float64(absent) * in.GPUsPerPod
		} else if seen > 0 {
			l.unreadyGPUs += float64(absent) * (l.gpus + l.missingGPUs + l.unreadyGPUs) / float64(seen)
		}
	}
	return l
}

// percent is the utilization of the ready pods whose load is known, truncated as in metrics/utilization.go.
func (l load) percent() *int32 {
	if l.known == 0 || l.gpus <= 0 || l.gpusAreUnknown {
		return nil
	}
	p := percentOf(l.busy, l.gpus)
	return &p
}

func percentOf(busy, gpus float64) int32 { return clamp(math.Floor(busy*100/gpus + epsilon)) }

// reactive is what the present load asks for (replica_calculator.go, GetResourceReplicas).
func (l load) reactive(p Policy, current int32) recommendation {
	percent := l.percent()
	switch {
	case l.gpusAreUnknown:
		return recommendation{nil, "load unknown: a pod asks for no GPU"}
	case percent == nil && l.missing > 0:
		return recommendation{nil, fmt.Sprintf("load unknown: no fresh telemetry from any of %d ready pods", l.missing)}
	case percent == nil:
		return recommendation{nil, fmt.Sprintf("load unknown: none of %d pods is ready", l.unready)}
	}
	replicas := l.replicas(p, current, *percent)
	why := fmt.Sprintf("utilization is %d%% of %d ready pods (target %d%%)", *percent, l.known, p.TargetPercent)
	if l.saturated(p) {
		why += ", which hides demand"
	}
	if l.missing > 0 {
		why += fmt.Sprintf(", unknown of %d", l.missing)
	}
	if l.unready > 0 {
		why += fmt.Sprintf(", %d on the way", l.unready)
	}
	return recommendation{&replicas, fmt.Sprintf("%s: %d", why, replicas)}
}

// saturated tells whether the ready pods are as busy as they can be. Demand is then more than what they carry, by an unknown amount.
// A target of nearly all is a wish to be saturated.
func (l load) saturated(p Policy) bool {
	percent := l.percent()
	return percent != nil && *percent >= saturatedPercent && p.TargetPercent < saturatedPercent
}

func (l load) replicas(p Policy, current, percent int32) int32 {
	hidden := 1.0 // how many times as much demand there may be as is seen
	if l.saturated(p) {
		hidden = max(1, saturatedGrowth*float64(p.TargetPercent)/float64(percent))
	}
	ratio := hidden * float64(percent) / float64(p.TargetPercent)
	if l.missing == 0 && (l.unready == 0 || ratio <= 1) {
		ratio, pods := l.settledRatio(p, ratio, current)
		if p.near(ratio) {
			return current
		}
		return sameWay(ratio, ratioOf(ratio, pods), current)
	}
	// Fill in what is not known so that it slows the move: pods without load are taken to be at the target (or busier: fully
	// busy) when shrinking and idle when growing; pods on their way are taken to be idle when growing, for they will take a share.
	busy, gpus, pods := l.busy, l.gpus, l.known
	switch {
	case ratio < 1:
		busy += l.missingGPUs * float64(max(100, p.TargetPercent)) / 100
		gpus, pods = gpus+l.missingGPUs, pods+l.missing
	case ratio > 1:
		gpus, pods = gpus+l.missingGPUs+l.unreadyGPUs, pods+l.missing+l.unready
	}
	filled := hidden * float64(percentOf(busy, gpus)) / float64(p.TargetPercent)
	if p.near(filled) || ratio < 1 && filled > 1 || ratio > 1 && filled < 1 {
		return current
	}
	return sameWay(ratio, ratioOf(filled, pods), current)
}

// sameWay keeps the current replicas where the recommendation would move against the ratio that asked for it.
func sameWay(ratio float64, replicas, current int32) int32 {
	if ratio < 1 && replicas > current || ratio > 1 && replicas < current {
		return current
	}
	return replicas
}

func (p Policy) near(ratio float64) bool {
	return ratio >= 1-p.Down.Tolerance-epsilon && ratio <= 1+p.Up.Tolerance+epsilon
}

func ratioOf(ratio float64, pods int) int32 { return ceil(ratio * float64(pods)) }

// proactive is how many replicas carry the forecast's peak at the target: 4.2 GPUs at 60% on pods of 1 GPU are 4.2/0.6 = 7.
func proactive(p Policy, in Inputs) recommendation {
	f := in.Forecast
	switch {
	case !f.OK && f.Why == "":
		return recommendation{nil, "no forecast"}
	case !f.OK:
		return recommendation{nil, "no forecast: " + f.Why}
	case !amount(f.PeakGPUs):
		return recommendation{nil, fmt.Sprintf("no forecast: its peak is %g GPUs, which must be from 0 to %g", f.PeakGPUs, most)}
	case !positive(in.GPUsPerPod):
		return recommendation{nil, fmt.Sprintf("no forecast: GPUs of a replica are %g, which must be more than 0 and at most %g", in.GPUsPerPod, most)}
	}
	replicas := ceil(f.PeakGPUs / (float64(p.TargetPercent) / 100 * in.GPUsPerPod))
	return recommendation{&replicas, fmt.Sprintf("the forecast peaks at %.2f GPUs: %d", f.PeakGPUs, replicas)}
}

// ceil rounds up to whole replicas.
func ceil(x float64) int32 { return clamp(math.Ceil(x - epsilon)) }

// clamp converts to int32 without overflow; x is not NaN.
func clamp(x float64) int32 { return int32(min(max(x, 0), math.MaxInt32)) }

// positive and amount refuse NaN, infinities and what cannot be a number of GPUs.
func positive(x float64) bool { return x > 0 && x <= most }

func amount(x float64) bool { return x >= 0 && x <= most }
