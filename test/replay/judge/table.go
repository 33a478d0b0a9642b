package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/foretide/foretide/aggregator/simulate"
)

// The place of the table in a README.
const begin, end = "<!-- judge: begin, written by make judge -->\n", "<!-- judge: end -->\n"

// columns are the policies in the order of the table.
func columns() []string { return append([]string{ours, surer}, simulate.PeerNames...) }

// tableOf is every case: GPU-hours, minutes short, changes of the replicas; and the verdict on ours.
func tableOf(all []played) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| trace | startup | %s | verdict |\n|---|---|---|%s\n", strings.Join(columns(), " | "), strings.Repeat("---|", len(columns())))
	for _, p := range all {
		fmt.Fprintf(&b, "| %s | %.0f s |", p.trace, p.delay.Seconds())
		for _, name := range columns() {
			o := p.policies[name]
			fmt.Fprintf(&b, " %.0f / %.0f / %d |", o.Hours, o.Short, o.Events)
		}
		fmt.Fprintf(&b, " %v |\n", p.judge(ours))
	}
	return b.String()
}

// String is minutes short fewer at equal cost, GPU-hours fewer at equal shortfall, and GPU-hours over the oracle's, in percent.
func (v verdict) String() string {
	short := "–" // neither falls short
	if !math.IsNaN(v.shortLess) {
		short = fmt.Sprintf("%.0f", v.shortLess)
	}
	return fmt.Sprintf("%s / %.0f / %.0f", short, v.costLess, v.overOracle)
}

// totals are the sums over all cases by delay, with the GPU-hours beside the oracle's.
func totals(all []played) string {
	var b strings.Builder
	for _, delay := range delays {
		sum := fleet(slices.DeleteFunc(slices.Clone(all), func(p played) bool { return p.delay != delay }))
		fmt.Fprintf(&b, "| all | %.0f s |", delay.Seconds())
		for _, name := range columns() {
			o := sum.policies[name]
			fmt.Fprintf(&b, " %.0f (%+.0f %%) / %.0f / %d |", o.Hours, 100*(o.Hours/sum.policies["oracle"].Hours-1), o.Short, o.Events)
		}
		fmt.Fprintf(&b, " %v |\n", sum.judge(ours))
	}
	return b.String()
}

// write puts the table where it belongs.
func write(file, table string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, found := strings.Cut(rest, end)
	if !ok || !found {
		return fmt.Errorf("%s has no place for the table: want the lines %q and %q", file, begin, end)
	}
	return os.WriteFile(file, []byte(before+begin+table+end+after), 0o644)
}

// report says what the cases come to, the figures of ours last. The oracle's are what can be won at the target at all.
func report(w io.Writer, all []played) {
	for _, name := range []string{"oracle", surer, ours} {
		var verdicts []verdict
		var worse []string
		atLeast := 0
		for _, p := range all {
			v := p.judge(name)
			verdicts = append(verdicts, v)
			if v.worse {
				worse = append(worse, v.trace)
			}
			if v.atLeast {
				atLeast++
			}
		}
		atStake := slices.DeleteFunc(slices.Clone(verdicts), func(v verdict) bool { return v.atStake < much })
		shortLess := func(v verdict) float64 { return v.shortLess }
		costLess := func(v verdict) float64 { return v.costLess }
		overOracle := func(v verdict) float64 { return v.overOracle }
		short, cost, over := summarize(verdicts, shortLess, false), summarize(verdicts, costLess, false), summarize(verdicts, overOracle, true)
		whole, bench := fleet(all).judge(name), map[string]string{ours: "BENCH judge", surer: "p95", "oracle": "oracle"}[name]
		fmt.Fprintf(w, "\n%s, %d cases: in %d neither falls short at equal cost, which counts in no shortfall; in %d no target of the Horizontal Pod Autoscaler falls\n"+
			"short as little, where its cost at %d %% counts as equal. At stake are %d, in which one of them is short for %d minutes or longer.\n"+
			"Worst: %s (shortfall), %s (cost), %s (oracle). Worse in both: %s.\n", name, len(all), len(all)-short.defined, atLeast, sweep[0],
			len(atStake), much, short.at, cost.at, over.at, cmp.Or(strings.Join(worse, ", "), "none"))
		for _, f := range []struct {
			name         string
			all, atStake summary
			whole        float64
		}{
			{"short_less_at_equal_cost", short, summarize(atStake, shortLess, false), whole.shortLess},
			{"cost_less_at_equal_short", cost, summarize(atStake, costLess, false), whole.costLess},
			{"cost_over_oracle", over, summarize(atStake, overOracle, true), whole.overOracle},
		} {
			line := bench + "_" + f.name
			fmt.Fprintf(w, "%s %.1f %%\n%s_worst %.1f %%\n%s_at_stake %.1f %%\n%s_fleet %.1f %%\n", line, f.all.mean, line, f.all.worst, line, f.atStake.mean, line, f.whole)
		}
		fmt.Fprintf(w, "%s_worse_than_hpa %d\n", bench, len(worse))
	}
}
