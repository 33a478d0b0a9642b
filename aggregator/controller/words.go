package controller

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// InForce is what of a policy's rules holds at a moment.
type InForce struct {
	// Min and Max are the bounds.
	Min, Max int32
	// Windows are the entries of instanceBounds that make them, by their paths; none when they are minReplicas and maxReplicas.
	Windows []string
	// From is when those begin to hold, which is minded ahead; zero when they do already.
	From time.Time
	// Next is when bounds change within a day, to NextMin and NextMax; zero when they do not.
	Next             time.Time
	NextMin, NextMax int32
	// Wrong says what of the bounds could not be read, "" when all could.
	Wrong string
	// Up and Down say in words how replicas are added and removed.
	Up, Down string
	// More and Fewer are the utilizations, percent, of the first metric: above More so many replicas become more, at or below Fewer
	// they become fewer; 0 where they do not, or its target is no utilization. Fewer is 0 where there are more metrics, too.
	More, Fewer int32
}

// rounding is less than a percent of utilization can be off by.
const rounding = 1e-9

// RulesInForce looks at the rules of a policy whose defaults are filled in, for so many replicas.
func RulesInForce(spec *v1alpha1.AdvancedHorizontalPodAutoscalerSpec, replicas int32, now time.Time, lead time.Duration) InForce {
	b, wrong := newBounds(spec)
	p := scalingPolicy(*spec)
	out := InForce{Wrong: wrong, Up: inWords(p.Up, "added", "smallest", "largest"), Down: inWords(p.Down, "removed", "largest", "largest")}
	out.Min, out.Max = b.ahead(now, lead)
	at := now
	if least, _ := b.at(now); least < out.Min { // of a window to come
		for at = now.Truncate(time.Minute).Add(time.Minute); least != out.Min; at = at.Add(time.Minute) {
			if least, _ = b.at(at); least == out.Min {
				out.From = at
				break
			}
		}
	}
	out.Windows = b.windowsAt(at)
	if out.Next = b.changes(now, lead); !out.Next.IsZero() {
		out.NextMin, out.NextMax = b.ahead(out.Next, lead)
	}
	target, n := float64(targetPercent(*spec)), float64(replicas)
	if target == 0 {
		return out
	}
	if replicas > 0 && p.Up.Select != scaling.SelectDisabled {
		out.More = int32(target*(1+p.Up.Tolerance) + rounding)
	}
	if replicas > 1 && len(spec.Metrics) == 1 && p.Down.Select != scaling.SelectDisabled {
		// Below the tolerance, and so far that so many replicas times the ratio, rounded up, are fewer.
		out.Fewer = max(0, int32(min(math.Ceil(target*(1-p.Down.Tolerance)-rounding)-1, target*(n-1)/n+rounding)))
	}
	return out
}

// windowsAt are the windows that hold at a moment, by their paths.
func (b bounds) windowsAt(at time.Time) (out []string) {
	for _, w := range b.windows {
		if w.holds(at.In(b.location)) {
			out = append(out, w.path)
		}
	}
	return out
}

// inWords says how replicas move by some rules: what is looked back for, and how far they go.
func inWords(r scaling.Rules, moved, stabilized, more string) string {
	if r.Select == scaling.SelectDisabled {
		return "none are " + moved
	}
	var limits []string
	for _, l := range r.Limits {
		unit := " replicas"
		if l.Percent {
			unit = " %"
		}
		limits = append(limits, fmt.Sprintf("%d%s within %v", l.Value, unit, l.Period))
	}
	text := moved + " at once"
	if r.Stabilization > 0 {
		text = fmt.Sprintf("%s to the %s number that was asked for within %v", moved, stabilized, r.Stabilization)
	}
	switch len(limits) {
	case 0:
	case 1:
		text += ", at most " + limits[0]
	default:
		if r.Select == scaling.SelectMin {
			more = "smallest"
		}
		text += ", at most the " + more + " of " + strings.Join(limits, ", ")
	}
	return fmt.Sprintf("%s; a difference of %g %% of the target is left alone", text, 100*r.Tolerance)
}
