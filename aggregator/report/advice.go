package report

import (
	"fmt"
	"math"
	"strings"
)

// Verdict is whether `auto` is advisable.
type Verdict string

// The verdicts.
const (
	Advisable    Verdict = "advisable"
	NotAdvisable Verdict = "notAdvisable"
	NotYet       Verdict = "notYet" // too little is known to say
	InForce      Verdict = "inForce"
)

// Advice is a verdict and, in a sentence with the numbers, why.
type Advice struct {
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
}

// What advice asks for.
const (
	leastMinutes  = 24 * 60 // compared: less cannot tell the night from the day
	mostMissing   = 0.10    // of the time since the first minute known
	leastCoverage = 0.85    // of demand at or under the p95
)

// Rule is how advice is given, in the words of the page. The first that holds counts.
var Rule = []string{
	"Not yet, while less than 24 hours could be compared.",
	"Not advisable, when telemetry was missing for more than 10 % of the time since it was first there.",
	"Not advisable, when less than 85 % of the demand was at or under the p95 that was forecast of it (95 % is right), or when that is not known.",
	"Not advisable, when the predicted pods were short for more minutes than the actual ones; or over the target for more minutes than the actual ones and than the policy's quantile allows.",
	"Advisable, when they were no worse and took no more GPU-hours.",
	"Advisable at a price, when they took more GPU-hours and were short, or over the target, for fewer minutes.",
	"Not advisable otherwise: it would cost more and mend nothing.",
}

// advise applies the rule.
func advise(in Input, c Compared, usages []Usage) Advice {
	if c.Minutes < leastMinutes {
		return Advice{NotYet, fmt.Sprintf("It is too early to say whether auto is advisable: %.1f hours could be compared, 24 are needed.", c.hours())}
	}
	actual, predicted := usages[0], usages[1]
	if in.Acts {
		return Advice{InForce, fmt.Sprintf("The strategy is %s already: over %.0f hours its pods took %s, where a fixed number for the peak takes %s; they were short for %s.",
			in.Strategy, c.hours(), gpuHours(actual.GPUHours), gpuHours(usages[2].GPUHours), minutes(actual.ShortMinutes))}
	}
	no := func(format string, args ...any) Advice {
		return Advice{NotAdvisable, "Auto is not advisable: " + fmt.Sprintf(format, args...)}
	}
	if missing := float64(c.MissingRatio); missing > mostMissing {
		return no("telemetry was missing for %.0f %% of the time, at most %.0f %% are allowed.", 100*missing, 100*mostMissing)
	}
	coverage, over := in.coverage()
	switch {
	case math.IsNaN(coverage):
		return no("it is not known yet how right forecasts %s ahead are.", spell(in.Past.Lead))
	case coverage < leastCoverage:
		return no("of the demand over %s only %.0f %% was at or under the p95 that was forecast of it %s before; 95 %% is right, %.0f %% is needed.",
			spell(over), 100*coverage, spell(in.Past.Lead), 100*leastCoverage)
	case predicted.ShortMinutes > actual.ShortMinutes:
		return no("the predicted pods would have been short for %s, the actual ones were for %s.", minutes(predicted.ShortMinutes), minutes(actual.ShortMinutes))
	case predicted.OverMinutes > actual.OverMinutes && float64(predicted.OverMinutes) > (1-in.Quantile)*float64(c.Minutes):
		return no("the predicted pods would have been over the target for %s, the actual ones were for %s, and the policy's quantile allows %s.",
			minutes(predicted.OverMinutes), minutes(actual.OverMinutes), minutes(int((1-in.Quantile)*float64(c.Minutes))))
	}
	shortage := fmt.Sprintf("short for %s, over the target for %s",
		instead(predicted.ShortMinutes, actual.ShortMinutes), instead(predicted.OverMinutes, actual.OverMinutes))
	more := predicted.GPUHours - actual.GPUHours
	switch {
	case more <= 0:
		return Advice{Advisable, fmt.Sprintf("Auto is advisable: over %.0f hours it would have taken %s instead of %s (%s), and been %s.",
			c.hours(), gpuHours(predicted.GPUHours), gpuHours(actual.GPUHours), change(more, actual.GPUHours), shortage)}
	case predicted.ShortMinutes < actual.ShortMinutes || predicted.OverMinutes < actual.OverMinutes:
		return Advice{Advisable, fmt.Sprintf("Auto is advisable at a price: over %.0f hours it would have taken %s instead of %s (%s), and been %s.",
			c.hours(), gpuHours(predicted.GPUHours), gpuHours(actual.GPUHours), change(more, actual.GPUHours), shortage)}
	}
	return no("it would have taken %s instead of %s (%s), and mended nothing: %s.",
		gpuHours(predicted.GPUHours), gpuHours(actual.GPUHours), change(more, actual.GPUHours), shortage)
}

// coverage is that of the forecasts the predicted pods are made of, over the longest time it is known for.
func (in Input) coverage() (ratio float64, over string) {
	ratio = math.NaN()
	for _, s := range in.Scores { // from the shortest time on
		if s.Lead == in.Past.Lead && !math.IsNaN(s.Coverage) {
			ratio, over = s.Coverage, s.Over
		}
	}
	return ratio, over
}

// gpuHours writes so many with the digits that matter.
func gpuHours(h float64) string {
	if h >= 100 {
		return fmt.Sprintf("%.0f GPU-hours", h)
	}
	return fmt.Sprintf("%.1f GPU-hours", h)
}

func minutes(n int) string {
	if n == 1 {
		return "1 minute"
	}
	return fmt.Sprintf("%d minutes", n)
}

// instead is so many minutes, and how many they were before.
func instead(n, before int) string {
	if n == before {
		return minutes(n) + " as before"
	}
	return minutes(n) + " instead of " + minutes(before)
}

// change is a difference as a part of what it differs from.
func change(more, from float64) string {
	if from == 0 {
		return "from nothing"
	}
	return strings.Replace(fmt.Sprintf("%+.0f %%", 100*more/from), "-", "−", 1)
}
