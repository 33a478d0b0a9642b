package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/foretide/foretide/aggregator/simulate"
)

// The place of the table in a README.
const begin, end = "<!-- judge: begin, written by make judge -->\n", "<!-- judge: end -->\n"

// columns are the policies in the order of the table.
func columns() []string { return append([]string{ours}, simulate.PeerNames...) }

// tableOf is every case: GPU-hours, minutes short, changes of the replicas.
func tableOf(all []played) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| trace | startup | %s |\n|---|---|%s\n", strings.Join(columns(), " | "), strings.Repeat("---|", len(columns())))
	for _, p := range all {
		fmt.Fprintf(&b, "| %s | %.0f s |", p.trace, p.delay.Seconds())
		for _, name := range columns() {
			o := p.policies[name]
			fmt.Fprintf(&b, " %.0f / %.0f / %d |", o.Hours, o.Short, o.Events)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// totals are the sums over all cases by delay, with the GPU-hours as a share of the oracle's.
func totals(all []played) string {
	var b strings.Builder
	for _, delay := range delays {
		fmt.Fprintf(&b, "| all | %.0f s |", delay.Seconds())
		for _, name := range columns() {
			var sum, oracle outcome
			for _, p := range all {
				if p.delay == delay {
					o := p.policies[name]
					sum.Hours, sum.Short, sum.Events = sum.Hours+o.Hours, sum.Short+o.Short, sum.Events+o.Events
					oracle.Hours += p.policies["oracle"].Hours
				}
			}
			fmt.Fprintf(&b, " %.0f (%+.0f %%) / %.0f / %d |", sum.Hours, 100*(sum.Hours/oracle.Hours-1), sum.Short, sum.Events)
		}
		b.WriteByte('\n')
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

// report says what the cases come to.
func report(w io.Writer, all []played) {
	var verdicts []verdict
	worse, atLeast := []string{}, 0
	for _, p := range all {
		v := p.judge()
		verdicts = append(verdicts, v)
		if v.worse {
			worse = append(worse, v.trace)
		}
		if v.atLeast {
			atLeast++
		}
	}
	slices.Sort(worse)
	short := summarize(verdicts, func(v verdict) float64 { return v.shortLess }, false)
	cost := summarize(verdicts, func(v verdict) float64 { return v.costLess }, false)
	over := summarize(verdicts, func(v verdict) float64 { return v.overOracle }, true)
	fmt.Fprintf(w, "\n%d cases. In %d neither falls short at equal cost: these count in no shortfall. In %d no target has as little shortfall as ours: "+
		"there the cost of the dearest, %d %%, counts as equal.\n", len(all), len(all)-short.defined, atLeast, sweep[0])
	for _, s := range []struct {
		name string
		summary
	}{{"short_less_at_equal_cost", short}, {"cost_less_at_equal_short", cost}, {"cost_over_oracle", over}} {
		fmt.Fprintf(w, "worst %s: %s\n", s.name, s.at)
		defer fmt.Fprintf(w, "BENCH judge_%s %.1f %%\nBENCH judge_%s_worst %.1f %%\n", s.name, s.mean, s.name, s.worst)
	}
	defer fmt.Fprintf(w, "BENCH judge_worse_than_hpa %d\n", len(worse))
	if len(worse) > 0 {
		fmt.Fprintf(w, "worse than hpa in both: %s\n", strings.Join(worse, ", "))
	}
}
