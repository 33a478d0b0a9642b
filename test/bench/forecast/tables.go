package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/foretide/foretide/test/forecastbench"
)

// printTable lists everyone's scores, best first. forecastbench.Scores and Table say what the columns are.
func printTable(w io.Writer, within time.Duration, tables map[string]forecastbench.Table) {
	fmt.Fprintf(w, "\n%-24s", fmt.Sprintf("first %v h", within.Hours()))
	for _, column := range []string{"rMWQL", "rMASE", "MASE", "WAPE", "MWQL", "WQL95", "cov95", "under", "short", "over", "k5", "over5", "ms", "tasks"} {
		fmt.Fprintf(w, "%8s", column)
	}
	fmt.Fprintln(w)
	for _, name := range byScore(tables) {
		t := tables[name]
		fmt.Fprintf(w, "%-24s", name)
		for _, v := range []float64{t.RMWQL, t.RMASE, t.MASE, t.WAPE, t.MWQL, t.WQL95, t.Cov95, t.Under, t.Short, t.Over, t.K5, t.Over5, 1000 * t.Seconds} {
			fmt.Fprintf(w, "%8s", number(v))
		}
		fmt.Fprintf(w, "%8d\n", t.Tasks)
	}
}

func byScore(tables map[string]forecastbench.Table) []string {
	return slices.SortedFunc(maps.Keys(tables), func(a, b string) int {
		return cmp.Or(cmp.Compare(tables[a].RMWQL, tables[b].RMWQL), cmp.Compare(a, b))
	})
}

// number has three decimals; what is unknown is a dash.
func number(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf("%.3f", v)
}

// printSources lists rMWQL over 24 hours by data set, the best forecaster over all of them first.
func printSources(w io.Writer, cases []forecastbench.Case, all map[string]map[string]forecastbench.Forecast) {
	names := byScore(scores(cases, all, whole))
	fmt.Fprintf(w, "\nrMWQL over 24 h by data set; %s is 1\n%-20s%8s", base, "", "series")
	for _, name := range names {
		fmt.Fprintf(w, "%17s", name)
	}
	fmt.Fprintln(w)
	for _, fold := range forecastbench.LeaveOneSourceOut(cases) {
		tables := scores(fold.Test, all, whole)
		fmt.Fprintf(w, "%-20s%8d", fold.Source, len(tables[base].BySeries))
		for _, name := range names {
			fmt.Fprintf(w, "%17s", number(tables[name].RMWQL))
		}
		fmt.Fprintln(w)
	}
}
