package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

const (
	// none is a shortfall, in minutes, that is less than the shortest there is: a step.
	none = 0.2
	// much is a shortfall, in minutes of a week, with which something is at stake: 0.3 %. Of a few minutes, one more is a large percentage.
	much = 30
)

// curve is what a policy can have: the shortfall for its GPU-hours, the dearest first. Each point costs less and falls shorter than the
// one before; between two, anything on the line can be had.
type curve []outcome

// best is the curve through those of the points that no other one beats in both.
func best(points []outcome) curve {
	points = slices.SortedFunc(slices.Values(points), func(a, b outcome) int { return cmp.Or(cmp.Compare(a.Hours, b.Hours), cmp.Compare(a.Short, b.Short)) })
	var c curve
	for _, p := range points {
		if len(c) == 0 || p.Short < c[len(c)-1].Short {
			c = append(c, p)
		}
	}
	slices.Reverse(c)
	return c
}

// short is the shortfall for so many GPU-hours: that of the cheapest or of the dearest where it costs less or more than any.
func (c curve) short(hours float64) float64 {
	for i := 1; i < len(c); i++ {
		if a, b := c[i-1], c[i]; hours > b.Hours {
			return a.Short + (b.Short-a.Short)*min(1, max(0, (a.Hours-hours)/(a.Hours-b.Hours)))
		}
	}
	return c[len(c)-1].Short
}

// hours is what so little shortfall costs; false when none of them has so little, and it costs more than the dearest.
func (c curve) hours(short float64) (float64, bool) {
	for i := len(c) - 1; i > 0; i-- {
		if a, b := c[i-1], c[i]; short > a.Short {
			return a.Hours + (b.Hours-a.Hours)*min(1, (short-a.Short)/(b.Short-a.Short)), true
		}
	}
	return c[0].Hours, short >= c[0].Short
}

// verdict is how ours compares in one case, in percent; NaN is undefined.
type verdict struct {
	trace string
	// shortLess is by how much ours falls shorter less often than the Horizontal Pod Autoscaler with the target at which it costs the
	// same; -100 is the least, for of nothing there is no percentage. Undefined where neither falls short.
	shortLess float64
	// atStake is the longer shortfall of the two, minutes of the week.
	atStake float64
	// costLess is by how much less ours costs than it does with the target at which it falls short as often. Where no target has so
	// little shortfall, its dearest counts and atLeast is true.
	costLess float64
	atLeast  bool
	// overOracle is by how much more ours costs than knowing the future.
	overOracle float64
	// worse is true when ours is more than a twentieth worse than it with the same target, in cost and in shortfall.
	worse bool
}

// judge compares one of ours.
func (p played) judge(name string) verdict {
	us, hpa, oracle, frontier := p.policies[name], p.policies["hpa"], p.policies["oracle"], best(p.swept)
	v := verdict{trace: fmt.Sprintf("%s %v", p.trace, p.delay), shortLess: math.NaN(), overOracle: 100 * (us.Hours/oracle.Hours - 1)}
	short := frontier.short(us.Hours)
	if v.atStake = max(short, us.Short); v.atStake > none {
		v.shortLess = max(-100, 100*(1-us.Short/max(short, 1e-9)))
	}
	hours, ok := frontier.hours(us.Short)
	v.costLess, v.atLeast = 100*(1-us.Hours/hours), !ok
	v.worse = us.Hours > 1.05*hpa.Hours && us.Short > 1.05*hpa.Short+none
	return v
}

// fleet is all cases as one: workloads that share a policy with one target, as many have it.
func fleet(all []played) played {
	out := played{trace: "all", policies: map[string]outcome{}, swept: make([]outcome, len(sweep))}
	for _, p := range all {
		for name, o := range p.policies {
			out.policies[name] = out.policies[name].plus(o)
		}
		for i, o := range p.swept {
			out.swept[i] = out.swept[i].plus(o)
		}
	}
	return out
}

func (o outcome) plus(other outcome) outcome {
	return outcome{o.Hours + other.Hours, o.Short + other.Short, o.Events + other.Events}
}

// summary is a figure over all cases.
type summary struct {
	mean, worst float64
	at          string // the worst case
	defined     int
}

// summarize takes the mean of what is defined; the worst is the least, or the most where that is worse.
func summarize(all []verdict, figure func(verdict) float64, mostIsWorst bool) summary {
	s := summary{worst: math.NaN()}
	for _, v := range all {
		x := figure(v)
		if math.IsNaN(x) {
			continue
		}
		s.defined++
		s.mean += (x - s.mean) / float64(s.defined)
		if math.IsNaN(s.worst) || x < s.worst != mostIsWorst && x != s.worst {
			s.worst, s.at = x, v.trace
		}
	}
	return s
}
