package scaling

import (
	"fmt"
	"strings"
	"time"
)

// Decide returns the replicas that the workload should have at now. It records its recommendation in w, which belongs to this
// workload alone and must not be nil; the first call seeds w with the current replicas, so that a restart never scales down
// before a whole window has been seen. Decide never fails: what it cannot judge, it holds and says so.
func Decide(p Policy, in Inputs, w *Window, now time.Time) Decision {
	if why := p.invalid(in); why != "" {
		return Decision{Replicas: in.Current, Reason: InvalidPolicy, Message: why + "; replicas are held"}
	}
	d := Decision{Replicas: in.Current}
	why := d.ask(p, in)
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
		want := d.combine(p, in)
		if !in.Settling {
			// A moment with missing data recommends at least what is there: see the package comment.
			record := want
			if d.Incomplete {
				record = max(want, in.Current)
			}
			w.add(now, record)
		}
		want = d.keep(p, in, want)
		want = d.stabilize(p, w, now, in.Current, want)
		d.Replicas = d.limit(p, w, now, in.Current, want)
		d.Message = why + "; " + d.outcome(p, in.Current)
	}
	return d
}

// ask has each metric recommend, and fills in the largest of each half, and Incomplete. It returns what they say.
func (d *Decision) ask(p Policy, in Inputs) string {
	var now, ahead []string
	for _, m := range in.Metrics {
		l := read(m, in.Current)
		r, reactive, proactive := l.reading(), l.reactive(p), m.proactive()
		r.Reactive, r.Proactive = reactive.replicas, proactive.replicas
		d.Metrics = append(d.Metrics, r)
		d.Reactive, d.Proactive = larger(d.Reactive, r.Reactive), larger(d.Proactive, r.Proactive)
		if len(d.Metrics) == 1 {
			d.CurrentPercent = r.Percent
		}
		d.Saturated = d.Saturated || r.Saturated
		d.Incomplete = d.Incomplete || r.Reactive == nil || r.Unknown > 0 || m.Forecast.Lost && p.Only != ReactiveHalf
		now, ahead = append(now, p.told(ReactiveHalf, reactive.why)), append(ahead, p.told(ProactiveHalf, proactive.why))
	}
	return strings.Join(append(now, ahead...), "; ")
}

func larger(a, b *int32) *int32 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// combine returns the replicas that the two recommendations ask for. It fills in Reason and Held.
//
//	reactive   proactive   all is known    replicas wanted
//	known      any         yes             the larger
//	known      any         no              the larger, not below the current
//	unknown    known       -               the forecast's, not below the current
//	unknown    unknown     -               the current
//	settling   any         any             the larger of the current and the forecast's; nothing is recorded
//
// Where only one half is asked for, the other wants nothing; a load that is unknown lowers nothing even then.
func (d *Decision) combine(p Policy, in Inputs) (want int32) {
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
	if want < current && d.Incomplete {
		want, d.Reason, d.Held = current, PartialData, true
	}
	return want
}

// keep removes no replica that the forecast asks for soon after.
func (d *Decision) keep(p Policy, in Inputs, want int32) int32 {
	if want >= in.Current || p.Only == ReactiveHalf {
		return want
	}
	for _, m := range in.Metrics {
		if kept := min(in.Current, m.kept()); kept > want {
			want, d.Reason = kept, ForecastKept
		}
	}
	return want
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
	case d.Reason == ForecastKept:
		return fmt.Sprintf("%d replicas, which the forecast asks for soon after", d.Replicas)
	case d.Reason == UpStabilized:
		return fmt.Sprintf("%d replicas, the fewest that were asked for within the last %s", d.Replicas, p.Up.Stabilization)
	case d.Limited == TooFewReplicas:
		return fmt.Sprintf("%d replicas, which is minReplicas", d.Replicas)
	}
	return fmt.Sprintf("%d replicas", d.Replicas)
}

// invalid returns what is wrong with the policy, or "".
func (p Policy) invalid(in Inputs) string {
	for _, m := range in.Metrics {
		if why := m.invalid(); why != "" {
			return why
		}
	}
	switch {
	case len(in.Metrics) == 0:
		return "there is no metric; there must be one"
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
