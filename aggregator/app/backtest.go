package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"math"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/foretide/foretide/aggregator/forecast"
)

const (
	backtestDays  = 7             // origins lie so that their forecasts are of the last so many days
	backtestEvery = 3 * time.Hour // one origin to the next
	backtestAhead = 24 * time.Hour
)

// backtestLevels are what coverage is measured of; the outer two of the first three are the chart's band.
var backtestLevels = []float64{0.05, median, 0.95, 0.99}

// backtestLeads are how far ahead accuracy is told for: from the origin on.
var backtestLeads = []struct {
	name   string
	within time.Duration
}{{"first hour", time.Hour}, {"first 6 hours", 6 * time.Hour}, {"24 hours", backtestAhead}}

// backtest is a recorded series and the forecasts that would have been made of it.
type backtest struct {
	name   string
	start  time.Time
	step   time.Duration
	values []float64 // NaN is missing
	zone   *time.Location
	made   []past
	none   int   // origins without a forecast
	why    error // of the last of them
}

// past is the forecast at a step, made from what came before it.
type past struct {
	origin int
	bands  [][]float64 // [level of backtestLevels][lead]
}

// Backtest is `aggregator backtest`: it forecasts the last week of a recorded series again and again, each time from what came
// before alone, and says how right that was.
func Backtest(ctx context.Context, args []string, out, log io.Writer) error {
	f := flag.NewFlagSet("aggregator backtest", flag.ContinueOnError)
	file := f.String("series", "", "CSV `file`: series,timestamp_unix,value; .gz is decompressed")
	name := f.String("name", "", "`name` of the file's series; may be left out when there is only one")
	chart := f.String("chart", "backtest.html", "`file` to write a page to that shows forecasts over what happened; empty: none")
	clock := f.String("time-zone", "", "`name` (IANA) of the time zone whose clock habits live by; empty: one that never changes")
	if err := Parse(f, "Says how accurate forecasts of a recorded series are: of its last 7 days, each made from what came before alone.", args, out); err != nil {
		return err
	}
	series, err := readSeries("--series", *file, "--name", *name)
	if err != nil {
		return err
	}
	b := &backtest{name: series.Name, start: series.Points[0].Time}
	if b.zone, err = zone("--time-zone", *clock); err != nil {
		return err
	}
	if b.values, b.step = series.Grid(); b.step == 0 || (24*time.Hour)%b.step != 0 {
		return fmt.Errorf("--series %q: the usual step of %q is %v; it must divide 24 h", *file, b.name, b.step)
	}
	if n := time.Duration(len(b.values)) * b.step; n < 2*backtestAhead {
		return fmt.Errorf("--series %q: %q is %v long; two days are needed, one to forecast from and one to compare with", *file, b.name, n)
	}
	if err := writable(*chart); err != nil { // better now than after the forecasts
		return fmt.Errorf("--chart: %w", err)
	}
	if err := b.run(ctx, log); err != nil {
		return err
	}
	if err := b.tell(out); err != nil {
		return err
	}
	if *chart == "" {
		return nil
	}
	if err := writePage(*chart, backtestPage, b.page()); err != nil {
		return fmt.Errorf("--chart: %w", err)
	}
	fmt.Fprintf(out, "\nchart: %s\n", *chart)
	return nil
}

// run makes the forecasts, oldest first. The last one ends where the series does.
func (b *backtest) run(ctx context.Context, log io.Writer) error {
	n, day, every := len(b.values), int(24*time.Hour/b.step), max(1, int(backtestEvery/b.step))
	ahead := int(backtestAhead / b.step)
	first := n - ahead
	for first-every >= max(day, n-ahead-(backtestDays-1)*day) {
		first -= every
	}
	for o := first; o <= n-ahead; o += every {
		if ctx.Err() != nil {
			return fmt.Errorf("stopped after %d forecasts", len(b.made))
		}
		s := forecast.Series{End: b.time(o), Step: b.step, Values: b.values[:o], Calendar: forecast.Calendar{Location: b.zone}}
		f, err := forecast.Predict(s, ahead, backtestLevels)
		if err != nil {
			b.none, b.why = b.none+1, err
			continue
		}
		b.made = append(b.made, past{o, f.Quantiles})
		if len(b.made)%10 == 0 {
			fmt.Fprintf(log, "%d of %d forecasts\n", len(b.made), (n-ahead-first)/every+1)
		}
	}
	if len(b.made) == 0 {
		return fmt.Errorf("%q has no forecast: %w", b.name, b.why)
	}
	return nil
}

// time is when a step begins.
func (b *backtest) time(i int) time.Time { return b.start.Add(time.Duration(i) * b.step) }

// accuracy is of the first steps of all forecasts. Shares are NaN where nothing is known, or no demand was.
type accuracy struct {
	Lead             string
	Error, Yesterday float64   // sum of absolute errors / demand, of the median and of yesterday's values
	Below            []float64 // share of time with demand at or below the quantile [backtestLevels]
	Short, Idle      float64   // what was above the p95, and what of it was left over, / demand
}

func (b *backtest) accuracy() []accuracy {
	rows := make([]accuracy, len(backtestLeads))
	for r, lead := range backtestLeads {
		rows[r] = b.within(max(1, int(lead.within/b.step)))
		rows[r].Lead = lead.name
	}
	return rows
}

func (b *backtest) within(steps int) accuracy {
	a := accuracy{Below: make([]float64, len(backtestLevels))}
	day := int(24 * time.Hour / b.step)
	var demand, known, yesterdays float64
	for _, p := range b.made {
		for j, y := range b.values[p.origin : p.origin+steps] {
			if math.IsNaN(y) {
				continue
			}
			known++
			demand += y
			a.Error += math.Abs(y - p.bands[1][j])
			a.Short += max(0, y-p.bands[2][j])
			a.Idle += max(0, p.bands[2][j]-y)
			for l := range backtestLevels {
				if y <= p.bands[l][j] {
					a.Below[l]++
				}
			}
			if before := b.values[p.origin+j-day]; !math.IsNaN(before) {
				a.Yesterday += math.Abs(y - before)
				yesterdays += y
			}
		}
	}
	a.Error, a.Short, a.Idle, a.Yesterday = share(a.Error, demand), share(a.Short, demand), share(a.Idle, demand), share(a.Yesterday, yesterdays)
	for l := range a.Below {
		a.Below[l] = share(a.Below[l], known)
	}
	return a
}

// share of nothing is unknown.
func share(part, whole float64) float64 {
	if whole == 0 {
		return math.NaN()
	}
	return part / whole
}

// percent writes a share.
func percent(share float64) string {
	if math.IsNaN(share) {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*share)
}

// summary is what the figures are of.
func (b *backtest) summary() []string {
	missing := 0
	for _, v := range b.values {
		if math.IsNaN(v) {
			missing++
		}
	}
	text := []string{
		fmt.Sprintf("%s: %d steps of %v from %s to %s, %d of them missing", b.name, len(b.values), b.step, stamp(b.start), stamp(b.time(len(b.values))), missing),
		fmt.Sprintf("%d forecasts of %v, one every %v, each from what came before it alone", len(b.made), backtestAhead, max(b.step, backtestEvery)),
	}
	if b.none > 0 {
		text = append(text, fmt.Sprintf("%d more could not be made: %v", b.none, b.why))
	}
	return text
}

// columns head the table; the first is of the lead.
var columns = []string{"", "error", "yesterday's", "below p5", "below p50", "below p95", "below p99", "above p95", "idle below p95"}

// cells are one row of the table.
func (a accuracy) cells() []string {
	cells := []string{a.Lead, percent(a.Error), percent(a.Yesterday)}
	for _, b := range a.Below {
		cells = append(cells, percent(b))
	}
	return append(cells, percent(a.Short), percent(a.Idle))
}

// tell prints the table.
func (b *backtest) tell(out io.Writer) error {
	for _, line := range b.summary() {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintln(out)
	rows := [][]string{columns}
	for _, a := range b.accuracy() {
		rows = append(rows, a.cells())
	}
	return printTable(out, rows)
}

// printTable prints rows whose columns end below each other.
func printTable(out io.Writer, rows [][]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t")+"\t")
	}
	return w.Flush()
}

// writePage writes a page to a file.
func writePage(path string, page *template.Template, data any) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(page.Execute(f, data), f.Close())
}

// writable says whether a file can be written, and leaves what is in it; "" is none.
func writable(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}
