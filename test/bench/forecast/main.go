// Command forecast measures how well the shipped aggregator forecasts recorded demand, beside what else a user could pick, and what
// damage to a history costs. Figures come last, one a line.
//
//	data ─► tasks ─► bin/aggregator forecast, peers/*, seasonal naive ─► forecasts ─► scores against seasonal naive ─► tables
//	          └► damaged tasks ─► bin/aggregator forecast ─► loss relative to the undamaged
//
// Forecasters are programs that read tasks and write forecasts, lines of JSON. A peer whose program is not installed is left out,
// and said to be.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/foretide/foretide/test/forecastbench"
)

// settings are the command's flags.
type settings struct {
	data, binary string
	peers        string
	damages      bool
}

// figures are the BENCH lines, in order.
type figures []string

func (f *figures) add(name string, value float64, unit string) {
	*f = append(*f, fmt.Sprintf("BENCH forecast_%s %.3f %s", name, value, unit))
}

// The names of our own and of the base in tables.
const (
	ours = "foretide"
	base = "seasonal naive"
)

// whole and soon are what is scored: all of a task's horizon and its first hour.
const (
	whole = 24 * time.Hour
	soon  = time.Hour
)

func main() {
	var s settings
	flag.StringVar(&s.data, "data", "test/data/forecast", "folder of <dataset>/series.csv.gz")
	flag.StringVar(&s.binary, "aggregator", "bin/aggregator", "the aggregator to measure")
	flag.StringVar(&s.peers, "peers", strings.Join(peerNames(), ","), "what else to measure, as a comma-separated list; empty: nothing")
	flag.BoolVar(&s.damages, "damages", true, "measure what damage to a history costs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "forecast:", err)
		os.Exit(1)
	}
}

func (s settings) run(ctx context.Context) error {
	cases, err := forecastbench.Tasks(s.data)
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	all, err := s.forecasts(ctx, cases)
	if err != nil {
		return err
	}
	var figures figures
	fmt.Printf("%d tasks of %s: 24 hours to forecast from 7 to 28 days.\n", len(cases), s.data)
	fmt.Println("Of what is in test/data/forecast our correction has learned: for other data expect what hack/forecast-train -judge tells of families left out.")
	accuracy(cases, all, &figures)
	if err := cost(ctx, full(cases), &figures); err != nil {
		return err
	}
	if err := s.holidays(ctx, cases, &figures); err != nil {
		return err
	}
	if s.damages {
		if err := s.damage(ctx, cases, all[ours], &figures); err != nil {
			return err
		}
	}
	fmt.Println()
	for _, line := range figures {
		fmt.Println(line)
	}
	return nil
}

// accuracy is everyone's, over all and by data set.
func accuracy(cases []forecastbench.Case, all map[string]map[string]forecastbench.Forecast, figures *figures) {
	day, hour := scores(cases, all, whole), scores(cases, all, soon)
	printTable(os.Stdout, whole, day)
	printTable(os.Stdout, soon, hour)
	printSources(os.Stdout, cases, all)
	figures.add("rmwql_24h", day[ours].RMWQL, "ratio")
	figures.add("rmwql_1h", hour[ours].RMWQL, "ratio")
	figures.add("cov95", day[ours].Cov95, "share")
	figures.add("over5", day[ours].Over5, "ratio")
}

// cost is the CPU time of a forecast, and of one more when a minute has come, in this process.
func cost(ctx context.Context, cases []forecastbench.Case, figures *figures) error {
	if len(cases) == 0 {
		return nil
	}
	whole, err := each(cases, once)
	if err != nil {
		return fmt.Errorf("forecast: %w", err)
	}
	minute, err := running(ctx, cases)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	fmt.Printf("\nCPU time: forecast, mean over %d tasks of 28 days in steps of 5 minutes; update, what one of %d workloads takes each minute in a running\n"+
		"aggregator: reading its history from disk, and one look at four weeks of it an hour, included\n", len(cases), runningWorkloads)
	figures.add("cpu", whole.Seconds()*1000, "ms")
	figures.add("update_cpu", minute.Seconds()*1000, "ms")
	return nil
}

// scores are everyone's.
func scores(cases []forecastbench.Case, all map[string]map[string]forecastbench.Forecast, within time.Duration) map[string]forecastbench.Table {
	tables := map[string]forecastbench.Table{}
	for name, f := range all {
		tables[name] = forecastbench.Score(cases, f, all[base], within)
	}
	return tables
}

// forecasts are everyone's, by name. Ours must answer every task.
func (s settings) forecasts(ctx context.Context, cases []forecastbench.Case) (map[string]map[string]forecastbench.Forecast, error) {
	naive, err := forecastbench.Run(cases, forecastbench.SeasonalNaive)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", base, err)
	}
	level, err := forecastbench.Run(cases, forecastbench.LastLevel)
	if err != nil {
		return nil, fmt.Errorf("last level: %w", err)
	}
	own, err := s.own(ctx, cases)
	if err != nil {
		return nil, err
	}
	all := map[string]map[string]forecastbench.Forecast{base: naive, "last level": level, ours: own}
	if s.peers == "" {
		return all, nil
	}
	for name := range strings.SplitSeq(s.peers, ",") {
		i := slices.IndexFunc(peers, func(p peer) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("--peers has %q: it must be of %s", name, strings.Join(peerNames(), ", "))
		}
		if err := peers[i].installed(ctx); err != nil {
			fmt.Printf("%s is left out: %v\n", name, err)
			continue
		}
		fmt.Fprintf(os.Stderr, "asking %s\n", name)
		answers, err := ask(ctx, cases, os.Stderr, peers[i].command...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[name] = answers
	}
	return all, nil
}

// own asks the aggregator. Tasks without an answer are an error, which comes with the others' answers.
func (s settings) own(ctx context.Context, cases []forecastbench.Case) (map[string]forecastbench.Forecast, error) {
	var said bytes.Buffer
	answers, err := ask(ctx, cases, &said, s.binary, "forecast")
	if err != nil {
		return answers, fmt.Errorf("%w\n%s", err, said.String())
	}
	return answers, nil
}

// holidays says what it is worth to know that tomorrow is like a Sunday, and that today was.
func (s settings) holidays(ctx context.Context, cases []forecastbench.Case, figures *figures) error {
	untold, told := forecastbench.Holidays(cases)
	usual, pastUntold, pastTold := forecastbench.PastHolidays(cases)
	if len(told) == 0 || len(usual) == 0 {
		return nil
	}
	var made [5]map[string]forecastbench.Forecast
	for i, cases := range [][]forecastbench.Case{untold, told, usual, pastUntold, pastTold} {
		var err error
		if made[i], err = s.own(ctx, cases); err != nil {
			return fmt.Errorf("holidays: %w", err)
		}
	}
	fmt.Printf("\n%d Wednesdays to come, and %d past, that are as a Sunday: MWQL when told so to that when untold; of the day after, to that after\n"+
		"an ordinary Wednesday\n", len(told), len(usual))
	figures.add("holiday_told", forecastbench.Cost(untold, made[0], told, made[1]), "ratio")
	figures.add("holiday_told_cov95", forecastbench.Score(told, made[1], made[0], whole).Cov95, "share")
	figures.add("holiday_past", forecastbench.Cost(usual, made[2], pastUntold, made[3]), "ratio")
	figures.add("holiday_past_told", forecastbench.Cost(usual, made[2], pastTold, made[4]), "ratio")
	return nil
}

// damage says what each one costs, and how we do beside the last level. What has no answer is in no cost; it is counted.
func (s settings) damage(ctx context.Context, cases []forecastbench.Case, undamaged map[string]forecastbench.Forecast, figures *figures) error {
	fmt.Printf("\n%-30s%8s%14s%12s\n", "damage to the history", "cost", "to last level", "unanswered")
	for _, d := range forecastbench.Damages() {
		damaged := d.Cases(cases)
		answers, err := s.own(ctx, damaged)
		if len(answers) == 0 {
			return fmt.Errorf("%s: %w", d.Name, err)
		}
		level, err := forecastbench.Run(damaged, forecastbench.LastLevel)
		if err != nil {
			return fmt.Errorf("%s: last level: %w", d.Name, err)
		}
		cost := forecastbench.Cost(cases, undamaged, damaged, answers)
		beside := forecastbench.Cost(damaged, level, damaged, answers)
		if math.IsNaN(cost) || math.IsNaN(beside) {
			return errors.New(d.Name + ": there is nothing to compare")
		}
		fmt.Printf("%-30s%8.3f%14.3f%12d\n", d.Name, cost, beside, len(cases)-len(answers))
		figures.add("damage_"+d.Name, cost, "ratio")
		if strings.HasPrefix(d.Name, "history_") {
			figures.add("damage_"+d.Name+"_to_last_level", beside, "ratio")
		}
	}
	fmt.Println("cost: MWQL over 24 h relative to that of the undamaged history; to last level: relative to the last known value with the history's changes")
	return nil
}
