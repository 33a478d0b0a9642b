package scaling

import (
	"fmt"
	"time"
)

// Decide returns the replicas that the workload should have at now. It records its recommendation in w, which belongs to this
// workload alone and must not be nil; the first call seeds w with the current replicas, so that a restart never scales down
// before a whole window has been seen. Decide never fails: what it cannot judge, it holds and says so.
func Decide(p Policy, in Inputs, w *Window, now time.Time) Decision {
	if why := p.invalid(); why != "" {
		return Decision{Replicas: in.Current, Reason: InvalidPolicy, Message: why + "; replicas are held"}
	}
	load := read(in)
	reactive, proactive := load.reactive(p, in.Current), proactive(p, in)
	d := Decision{
		Replicas: in.Current, Reactive: reactive.replicas, Proactive: proactive.replicas,
		CurrentPercent: load.percent(), Unknown: load.missing, Saturated: load.saturated(p),
	}
	if in.Current <= 0 {
		*w = Window{} // switched on again, the workload starts afresh
		d.Replicas, d.Reason, d.Message = 0, Disabled, "the target has 0 replicas, which switches scaling off"
		return d
	}
	w.see(now, in.Current)
	switch {
	case in.Current > p.MaxReplicas:
		d.Replicas, d.Reason, d.Limited = p.MaxReplicas, OutsideBounds, TooManyReplicas
		w.add(now, d.Replicas)
		d.Message = fmt.Sprintf("%d replicas are more than maxReplicas %d", in.Current, p.MaxReplicas)
	case in.Current < p.MinReplicas:
		d.Replicas, d.Reason, d.Limited = p.MinReplicas, OutsideBounds, TooFewReplicas
		w.add(now, d.Replicas)
		d.Message = fmt.Sprintf("%d replicas are fewer than minReplicas %d", in.Current, p.MinReplicas)
	default:
		want, incomplete := d.combine(p, in)
		if !in.Settling {
			// A moment with missing data recommends at least what is there: see the package comment.
			record := want
			if incomplete {
				record = max(want, in.Current)
			}
			w.add(now, record)
		}
		want = d.stabilize(p, w, now, in.Current, want)
		d.Replicas = d.limit(p, w, now, in.Current, want)
		d.Message = fmt.Sprintf("%s; %s; %s", p.told(ReactiveHalf, reactive.why), p.told(ProactiveHalf, proactive.why), d.outcome(p, in.Current))
	}
	return d
}

// combine returns the replicas that the two recommendations ask for, and whether something that counts is not known. It fills in
// Reason and Held.
//
//	reactive   proactive   load complete   replicas wanted
//	known      any         yes             the larger
//	known      any         no              the larger, not below the current
//	unknown    known       -               the forecast's, not below the current
//	unknown    unknown     -               the current
//	settling   any         any             the larger of the current and the forecast's; nothing is recorded
//
// Where only one half is asked for, the other wants nothing; a load that is unknown lowers nothing even then.
func (d *Decision) combine(p Policy, in Inputs) (want int32, incomplete bool) {
	reactive, proactive := d.Reactive, d.Proactive
	switch p.Only {
	case ReactiveHalf:
		proactive = nil
	case ProactiveHalf:
		reactive = nil
	}
	current := in.Current
	want, d.Reason = current, NoTelemetry
	switch {
	case in.Settling && p.Only != ProactiveHalf:
		d.Reason = Settling
	case reactive != nil:
		want, d.Reason = *reactive, ReactiveDemand
	}
	if proactive != nil && (reactive == nil && d.Reason != Settling || *proactive > want) {
		want, d.Reason = *proactive, ForecastDemand
	}
	if want == current && d.Reason != NoTelemetry && d.Reason != Settling {
		d.Reason = Steady
	}
	incomplete = d.Reactive == nil || d.Unknown > 0 || in.Forecast.Lost && p.Only != ReactiveHalf
	if want < current && incomplete {
		want, d.Reason, d.Held = current, PartialData, true
	}
	return want, incomplete
}

// stabilize moves no further than what was recommended all along the window (horizontal.go, stabilizeRecommendationWithBehaviors).
func (d *Decision) stabilize(p Policy, w *Window, now time.Time, current, want int32) int32 {
	switch {
	case want < current && p.Down.Stabilization > 0:
		if most, ok := w.max(now, p.Down.Stabilization); ok && most > want {
			want, d.Reason = min(most, current), Stabilized
			d.Until = w.largest.until(want).Add(p.Down.Stabilization)
		}
	case want > current && p.Up.Stabilization > 0:
		if least, ok := w.min(now, p.Up.Stabilization); ok && least < want {
			want, d.Reason = max(least, current), UpStabilized
			d.Until = w.smallest.until(-want).Add(p.Up.Stabilization)
		}
	}
	return want
}

// limit cuts what is wanted to what may be had, and fills in Limited.
func (d *Decision) limit(p Policy, w *Window, now time.Time, current, want int32) int32 {
	if most := p.Up.most(w, now, current); want > current && want > most {
		want, d.Limited = most, ScaleUpLimit
	}
	if least := p.Down.least(w, now, current); want < current && want < least {
		want, d.Limited = least, ScaleDownLimit
	}
	if want > p.MaxReplicas {
		want, d.Limited = p.MaxReplicas, TooManyReplicas
	}
	if want < p.MinReplicas {
		want, d.Limited = p.MinReplicas, TooFewReplicas
	}
	return want
}

// told is what a half says, with a word about its being only shown.
func (p Policy) told(half Half, why string) string {
	if p.Only != Both && p.Only != half {
		return why + " (not acted on)"
	}
	return why
}

// outcome says in words what follows from the two recommendations.
func (d *Decision) outcome(p Policy, current int32) string {
	switch {
	case d.Reason == PartialData:
		return fmt.Sprintf("held at %d, because replicas do not go down on missing data", d.Replicas)
	case d.Reason == Settling:
		return fmt.Sprintf("held at %d for a moment, because the ready pods have just changed", d.Replicas)
	case d.Reason == NoTelemetry:
		return fmt.Sprintf("held at %d", d.Replicas)
	case d.Limited == ScaleUpLimit && p.Up.Select == SelectDisabled:
		return fmt.Sprintf("held at %d, because going up is disabled", d.Replicas)
	case d.Limited == ScaleDownLimit && p.Down.Select == SelectDisabled:
		return fmt.Sprintf("held at %d, because going down is disabled", d.Replicas)
	case d.Limited == ScaleUpLimit:
		return fmt.Sprintf("%d replicas, the most that may be added to %d by now", d.Replicas, current)
	case d.Limited == ScaleDownLimit:
		return fmt.Sprintf("%d replicas, the most that may be taken from %d by now", d.Replicas, current)
	case d.Limited == TooManyReplicas:
		return fmt.Sprintf("%d replicas, which is maxReplicas", d.Replicas)
	case d.Reason == Stabilized:
		return fmt.Sprintf("%d replicas, the most that was needed within the last %s", d.Replicas, p.Down.Stabilization)
	case d.Reason == UpStabilized:
		return fmt.Sprintf("%d replicas, the fewest that were asked for within the last %s", d.Replicas, p.Up.Stabilization)
	case d.Limited == TooFewReplicas:
		return fmt.Sprintf("%d replicas, which is minReplicas", d.Replicas)
	}
	return fmt.Sprintf("%d replicas", d.Replicas)
}

// invalid returns what is wrong with the policy, or "".
func (p Policy) invalid() string {
	switch {
	case p.TargetPercent < 1:
		return fmt.Sprintf("targetPercent is %d; it must be at least 1", p.TargetPercent)
	case p.MinReplicas < 1:
		return fmt.Sprintf("minReplicas is %d; it must be at least 1", p.MinReplicas)
	case p.MaxReplicas < p.MinReplicas:
		return fmt.Sprintf("maxReplicas is %d; it must be at least minReplicas, %d", p.MaxReplicas, p.MinReplicas)
	case p.Only != Both && p.Only != ReactiveHalf && p.Only != ProactiveHalf:
		return fmt.Sprintf("the half to act on is %q; it must be reactive, proactive or empty for both", p.Only)
	}
	if why := p.Up.invalid("up"); why != "" {
		return why
	}
	return p.Down.invalid("down")
}
