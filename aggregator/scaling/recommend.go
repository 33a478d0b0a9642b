package scaling

import (
	"fmt"
	"math"
)

// epsilon keeps a quotient that should be whole from being lifted over it by rounding: 4.2/0.6 is 7.000000000000001.
const epsilon = 1e-9

// Saturation: from so many percent on, utilization says that demand is at least so much; replicas then grow by at least this factor,
// which reaches any demand in a few steps and passes it by half at most.
const (
	saturatedPercent = 95
	saturatedGrowth  = 1.5
)

// saturatedFrom is where a target's saturation begins: at 95 %, or four fifths of the way from a target above 75 % to all, for a load
// that moves about a target of 90 % is at 95 % now and then without hiding anything.
func saturatedFrom(target int32) int32 { return max(saturatedPercent, (target+400)/5) }

// recommendation is a number of replicas and where it comes from; replicas nil = there is none, and why says why.
type recommendation struct {
	replicas *int32
	why      string
}

// load is what the workload's pods have of a metric, added up as the Horizontal Pod Autoscaler groups them (replica_calculator.go,
// groupPods).
type load struct {
	Metric
	current        int32
	uses, holds    float64 // of the ready pods whose load is known
	known          int     // ready pods whose load is known
	missing        int     // ready pods whose load is unknown
	missingHold    float64
	unready        int // pods on their way, and replicas asked for that no pod is seen of
	unreadyHold    float64
	holdsAreUnsure bool // what some pod holds is neither given nor implied
}

func read(m Metric, current int32) load {
	l := load{Metric: m, current: current}
	seen := 0
	for _, pod := range m.Pods {
		if pod.State == Gone {
			continue
		}
		seen++
		holds := pod.Holds
		switch {
		case m.Target.Percent == 0:
			holds = 1 // the target is a pod's
		case !positive(holds):
			holds = m.PerReplica
		}
		if !positive(holds) {
			holds, l.holdsAreUnsure = 0, true
		}
		switch {
		case pod.State != Ready:
			l.unready++
			l.unreadyHold += holds
		case m.Whole == nil && (!pod.Known || !IsAmount(pod.Uses)):
			l.missing++
			l.missingHold += holds
		default:
			l.known++
			l.uses += pod.Uses
			l.holds += holds
		}
	}
	if absent := int(current) - seen; absent > 0 {
		l.unready += absent
		switch {
		case m.Target.Percent == 0:
			l.unreadyHold += float64(absent)
		case positive(m.PerReplica):
			l.unreadyHold += float64(absent) * m.PerReplica
		case seen > 0:
			l.unreadyHold += float64(absent) * (l.holds + l.missingHold + l.unreadyHold) / float64(seen)
		}
	}
	return l
}

// reading is what is known of the metric now.
func (l load) reading() Reading {
	r := Reading{Name: l.Name, Unknown: l.missing, Percent: l.percent(), Saturated: l.saturated()}
	switch {
	case l.Whole != nil && l.Whole.OK && IsAmount(l.Whole.Value):
		r.Value, r.Average = new(l.Whole.Value), new(l.Whole.Value/float64(max(1, l.current)))
	case l.Whole == nil && l.Target.Percent == 0 && l.known > 0:
		r.Average = new(l.uses / float64(l.known))
	}
	return r
}

// percent is the utilization of the ready pods whose load is known, truncated as in metrics/utilization.go.
func (l load) percent() *int32 {
	if l.Target.Percent == 0 || l.known == 0 || l.holds <= 0 || l.holdsAreUnsure {
		return nil
	}
	return new(clamp(math.Floor(l.uses*100/l.holds + epsilon)))
}

// ratio is by how much the metric is off its target: 2 is twice as much. Utilization is in whole percents, as the Horizontal Pod
// Autoscaler has it.
func (l load) ratio(uses, holds float64) float64 {
	if l.Target.Percent > 0 {
		return math.Floor(uses*100/holds+epsilon) / float64(l.Target.Percent)
	}
	return uses / holds / l.Target.Average
}

// reactive is what the present load asks for (replica_calculator.go).
func (l load) reactive(p Policy) recommendation {
	switch {
	case l.Whole != nil:
		return l.ofWhole(p)
	case l.holdsAreUnsure:
		return recommendation{nil, l.unknown("a pod %s", map[bool]string{true: "asks for no GPU", false: "asks for none of it"}[l.Name == "gpu"])}
	case l.known == 0 && l.missing > 0:
		return recommendation{nil, l.unknown("no fresh telemetry from any of %d ready pods", l.missing)}
	case l.known == 0 || l.holds <= 0:
		return recommendation{nil, l.unknown("none of %d pods is ready", l.unready)}
	}
	replicas := l.replicas(p)
	why := fmt.Sprintf("%s averages %s in %d ready pods (target %s)", l.called(), number(l.uses/float64(l.known)), l.known, number(l.Target.Average))
	if percent := l.percent(); percent != nil {
		why = fmt.Sprintf("%s is %d%% of %d ready pods (target %d%%)", l.called(), *percent, l.known, l.Target.Percent)
	}
	if l.saturated() {
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

func (l load) unknown(why string, args ...any) string {
	what := "load"
	if l.Name != "gpu" {
		what = l.Name
	}
	return what + " unknown: " + fmt.Sprintf(why, args...)
}

// ofWhole is what a metric asks for that is not a pod's (replica_calculator.go, GetExternalMetricReplicas and
// GetExternalPerPodMetricReplicas).
func (l load) ofWhole(p Policy) recommendation {
	if !l.Whole.OK || !IsAmount(l.Whole.Value) {
		why := l.Whole.Why
		if l.Whole.OK {
			why = fmt.Sprintf("it is %g, which must be from 0 to %g", l.Whole.Value, MostAmount)
		}
		return recommendation{nil, l.unknown("%s", why)}
	}
	value, replicas := l.Whole.Value, l.current
	if target := l.Target.Average; target > 0 {
		if !p.near(value / (target * float64(max(1, l.current)))) {
			replicas = ceil(value / target)
		}
		return recommendation{&replicas, fmt.Sprintf("%s is %s for %d replicas (target %s each): %d", l.called(), number(value), l.current, number(target), replicas)}
	}
	if l.known == 0 {
		return recommendation{nil, l.unknown("none of %d pods is ready to share it", l.unready)}
	}
	if ratio := value / l.Target.Value; !p.near(ratio) {
		replicas = sameWay(ratio, ratioOf(ratio, l.known), l.current)
	}
	return recommendation{&replicas, fmt.Sprintf("%s is %s with %d ready pods (target %s): %d", l.called(), number(value), l.known, number(l.Target.Value), replicas)}
}

// saturated tells whether the ready pods are as busy as they can be. Demand is then more than what they carry, by an unknown amount.
// A target of nearly all is a wish to be saturated.
func (l load) saturated() bool {
	percent := l.percent()
	return l.Hides && percent != nil && *percent >= saturatedFrom(l.Target.Percent) && l.Target.Percent < saturatedPercent
}

// replicas is what a metric of pods asks for (replica_calculator.go, GetResourceReplicas and calcPlainMetricReplicas).
func (l load) replicas(p Policy) int32 {
	ratio, hidden := l.ratio(l.uses, l.holds), 1.0 // how many times as much demand there may be as is seen
	if l.saturated() {
		hidden = max(1, saturatedGrowth/ratio)
		ratio *= hidden
	}
	if l.missing == 0 && (l.unready == 0 || ratio <= 1) {
		ratio, pods := l.settledRatio(ratio)
		if p.near(ratio) {
			return l.current
		}
		return sameWay(ratio, ratioOf(ratio, pods), l.current)
	}
	// Fill in what is not known so that it slows the move: pods without load are taken to be at the target (or busier: to use all they
	// hold) when shrinking and idle when growing; pods on their way are taken to be idle when growing, for they will take a share.
	uses, holds, pods := l.uses, l.holds, l.known
	switch {
	case ratio < 1:
		full := l.Target.Average
		if l.Target.Percent > 0 {
			full = float64(max(100, l.Target.Percent)) / 100
		}
		uses += l.missingHold * full
		holds, pods = holds+l.missingHold, pods+l.missing
	case ratio > 1:
		holds, pods = holds+l.missingHold+l.unreadyHold, pods+l.missing+l.unready
	}
	filled := hidden * l.ratio(uses, holds)
	if p.near(filled) || ratio < 1 && filled > 1 || ratio > 1 && filled < 1 {
		return l.current
	}
	return sameWay(ratio, ratioOf(filled, pods), l.current)
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
func (m Metric) proactive() recommendation {
	f, each := m.Forecast, m.Target.Average+m.Target.Value
	if m.Target.Percent > 0 {
		each = float64(m.Target.Percent) / 100 * m.PerReplica
	}
	none, unit := "no forecast", " GPUs"
	if m.Name != "gpu" {
		none, unit = "no forecast of "+m.Name, ""
	}
	switch {
	case !f.OK && f.Why == "":
		return recommendation{nil, none}
	case !f.OK:
		return recommendation{nil, none + ": " + f.Why}
	case !IsAmount(f.Peak):
		return recommendation{nil, fmt.Sprintf("%s: its peak is %g%s, which must be from 0 to %g", none, f.Peak, unit, MostAmount)}
	case m.Target.Percent > 0 && !positive(m.PerReplica):
		return recommendation{nil, fmt.Sprintf("%s: a replica holds %g%s, which must be more than 0 and at most %g", none, m.PerReplica, unit, MostAmount)}
	}
	replicas := ceil(f.Peak / each)
	if m.Name == "gpu" {
		return recommendation{&replicas, fmt.Sprintf("the forecast peaks at %.2f GPUs: %d", f.Peak, replicas)}
	}
	return recommendation{&replicas, fmt.Sprintf("the forecast of %s peaks at %s: %d", m.Name, number(f.Peak), replicas)}
}

// kept is how many replicas the forecast asks for until a removed one would not be missed; 0 where it does not say.
func (m Metric) kept() int32 {
	if m.proactive().replicas == nil || !IsAmount(m.Forecast.Later) {
		return 0
	}
	later := m
	later.Forecast.Peak = max(m.Forecast.Peak, m.Forecast.Later)
	return *later.proactive().replicas
}

// ceil rounds up to whole replicas.
func ceil(x float64) int32 { return clamp(math.Ceil(x - epsilon)) }

// clamp converts to int32 without overflow; x is not NaN.
func clamp(x float64) int32 { return int32(min(max(x, 0), math.MaxInt32)) }
