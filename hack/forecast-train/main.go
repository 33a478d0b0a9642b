// The forecast-train program grows the correction that is embedded in aggregator/forecast, and judges it on what it did not learn from.
//
//	series ─► forecasts of many moments ─► rows (evidence, truth) ─► grow ─► correction.bin
//	                                                             └► one family of sources left out ─► judged on it
//
//	go run ./hack/forecast-train                        # writes aggregator/forecast/correction.bin
//	go run ./hack/forecast-train -judge DIR             # prints how good it is on sources left out; DIR may hold more than -data
//
// The same data gives the same file.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/pkg/trees"
	"github.com/foretide/foretide/test/forecastbench"
)

// shipped is the plan of the embedded correction. Its figures were chosen by leaving one family out.
var shipped = plan{trees: 100, leaves: 16, least: 400, rate: 0.04, prior: 200, rows: 0.5, columns: 0.3, seed: 1}

func main() {
	data := flag.String("data", "test/data/forecast", "directory of the series to learn from: <dataset>/series.csv.gz, of licences that allow it")
	judge := flag.String("judge", "", "directory of the series to judge by, instead of writing a correction; what is also in -data is judged without its family")
	out := flag.String("out", "aggregator/forecast/correction.bin", "file to write")
	flag.Parse()
	if err := run(*data, *judge, *out); err != nil {
		fmt.Fprintln(os.Stderr, "forecast-train:", err)
		os.Exit(1)
	}
}

func run(data, judge, out string) error {
	rows, err := gather(data)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d rows of %d features\n", len(rows), len(rows[0].Features))
	if judge != "" {
		return judgeBy(judge, rows)
	}
	f := grow(learn(rows, func(row) bool { return true }), shipped)
	written, err := f.Marshal()
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, written, 0o644); err != nil {
		return fmt.Errorf("write the correction: %w", err)
	}
	fmt.Fprintf(os.Stderr, "%s: %d trees, %d bytes\n", out, len(f.Trees), len(written))
	return nil
}

// judgeBy prints how good forecasts are without a correction, and with one that has seen nothing of the family it is judged by.
func judgeBy(directory string, rows []row) error {
	cases, err := forecastbench.Tasks(directory)
	if err != nil {
		return err
	}
	base, err := forecastbench.Run(cases, forecastbench.SeasonalNaive)
	if err != nil {
		return err
	}
	plain, err := forecastbench.Run(cases, with(nil))
	if err != nil {
		return err
	}
	left := map[string]forecastbench.Forecast{}
	var families []string
	for _, c := range cases {
		if f := family(c.Source()); !slices.Contains(families, f) {
			families = append(families, f)
		}
	}
	for _, f := range families {
		forest := grow(learn(rows, func(r row) bool { return r.family != f }), shipped)
		ours := slices.DeleteFunc(slices.Clone(cases), func(c forecastbench.Case) bool { return family(c.Source()) != f })
		forecasts, err := forecastbench.Run(ours, with(forest))
		if err != nil {
			return err
		}
		for id, one := range forecasts {
			left[id] = one
		}
	}
	for _, within := range []time.Duration{24 * time.Hour, time.Hour} {
		for _, m := range []struct {
			name      string
			forecasts map[string]forecastbench.Forecast
		}{{"no correction", plain}, {"family left out", left}} {
			t := forecastbench.Score(cases, m.forecasts, base, within)
			fmt.Printf("%-16s %3.0fh  rMWQL %.4f  cov95 %.4f  over5 %.4f  k5 %.3f\n", m.name, within.Hours(), t.RMWQL, t.Cov95, t.Over5, t.K5)
		}
	}
	return nil
}

// with forecasts with a correction.
func with(f *trees.Forest) func(forecastbench.Task) (forecastbench.Forecast, error) {
	return func(t forecastbench.Task) (forecastbench.Forecast, error) {
		s := forecast.Series{End: time.Unix(t.Origin, 0), Step: t.Step(), Values: t.History}
		made, err := forecast.PredictWith(f, s, t.Horizon, t.Quantiles)
		if err != nil {
			return forecastbench.Forecast{}, err
		}
		out := forecastbench.Forecast{ID: t.ID, Quantiles: map[string]forecastbench.Values{}}
		for l, level := range made.Levels {
			out.Quantiles[forecastbench.Level(level)] = made.Quantiles[l]
		}
		out.Mean = out.Quantiles[forecastbench.Level(0.5)]
		return out, nil
	}
}
