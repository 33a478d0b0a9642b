package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strings"
	"time"

	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/pkg/trace"
)

// historyStep is the step of the workload tier.
const historyStep = time.Minute

// Import is `aggregator import`: it reads one series of a recorded trace into the history of a workload.
func Import(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("aggregator import", flag.ContinueOnError)
	path := f.String("storage.path", DefaultOptions().StoragePath, "directory of the history; the aggregator must not be running on it")
	file := f.String("trace", "", "CSV file: series,timestamp_unix,value")
	series := f.String("series", "", "series of the trace; may be left out when there is only one")
	name := f.String("workload", "", "whose history it becomes: namespace/Kind/name")
	scale := f.Float64("scale", 1, "busy GPUs per unit of the trace")
	until := f.String("until", "", "time in the trace (RFC 3339) that becomes --end; later points are left out; empty: its last point")
	end := f.String("end", "", "time (RFC 3339) at which the imported history ends; empty: now; \"same\": keep the trace's own times")
	if err := f.Parse(args); err != nil {
		return err
	}
	workload, err := parseWorkload(*name)
	if err != nil {
		return err
	}
	if *scale <= 0 || math.IsInf(*scale, 0) || math.IsNaN(*scale) {
		return fmt.Errorf("--scale is %v: it must be a number above 0", *scale)
	}
	points, err := readSeries(*file, *series)
	if err != nil {
		return err
	}
	if points, err = shift(points, *until, *end, time.Now()); err != nil {
		return err
	}
	history := perMinute(points, *scale)
	store, err := storage.Open(storage.Options{Dir: *path, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	written, err := store.AppendDemandHistory(ctx, workload, history)
	if err := errors.Join(err, store.Close()); err != nil {
		return fmt.Errorf("import into %q: %w", *path, err)
	}
	_, err = fmt.Fprintf(out, "imported %d minutes of demand for %s, %s to %s\n", written, *name,
		history[0].Time.UTC().Format(time.RFC3339), history[len(history)-1].Time.UTC().Format(time.RFC3339))
	return err
}

func parseWorkload(name string) (storage.Workload, error) {
	parts := strings.Split(name, "/")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return storage.Workload{}, fmt.Errorf("--workload is %q: it must be namespace/Kind/name, such as default/Deployment/llama", name)
	}
	return storage.Workload{Namespace: parts[0], Kind: parts[1], Name: parts[2]}, nil
}

func readSeries(file, name string) ([]trace.Point, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("--trace: %w", err)
	}
	defer f.Close()
	all, err := trace.Read(f)
	if err != nil {
		return nil, fmt.Errorf("--trace %q: %w", file, err)
	}
	var names []string
	for _, s := range all {
		if s.Name == name || name == "" && len(all) == 1 {
			return s.Points, nil
		}
		names = append(names, s.Name)
	}
	return nil, fmt.Errorf("--series is %q: the trace has %s", name, strings.Join(names, ", "))
}

// shift cuts the points after until and moves the rest so that until falls on end.
func shift(points []trace.Point, until, end string, now time.Time) ([]trace.Point, error) {
	last := points[len(points)-1].Time
	if until != "" {
		t, err := time.Parse(time.RFC3339, until)
		if err != nil {
			return nil, fmt.Errorf("--until is %q: it must be a time such as 2026-01-31T18:00:00Z", until)
		}
		last = t
	}
	to := now
	switch end {
	case "":
	case "same":
		to = last
	default:
		t, err := time.Parse(time.RFC3339, end)
		if err != nil {
			return nil, fmt.Errorf("--end is %q: it must be a time such as 2026-01-31T18:00:00Z, or same", end)
		}
		to = t
	}
	by := to.Sub(last)
	var kept []trace.Point
	for _, p := range points {
		if !p.Time.After(last) {
			kept = append(kept, trace.Point{Time: p.Time.Add(by), Value: p.Value})
		}
	}
	if len(kept) < 2 {
		return nil, fmt.Errorf("--until is %q: the trace has %d points up to then, at least 2 are needed", until, len(kept))
	}
	return kept, nil
}

// perMinute puts the points on the history's grid, linear between two neighbours. Where neighbours are further apart than twice
// the trace's usual step something is missing, and the minutes between them stay absent.
func perMinute(points []trace.Point, scale float64) []storage.Point {
	usual := points[1].Time.Sub(points[0].Time)
	for i := 2; i < len(points); i++ {
		usual = min(usual, points[i].Time.Sub(points[i-1].Time))
	}
	var out []storage.Point
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		gap := b.Time.Sub(a.Time)
		if gap > 2*usual {
			continue
		}
		for t := a.Time.Truncate(historyStep).Add(historyStep); !t.After(b.Time); t = t.Add(historyStep) {
			share := float64(t.Sub(a.Time)) / float64(gap)
			out = append(out, storage.Point{Time: t, Value: scale * (a.Value + share*(b.Value-a.Value))})
		}
	}
	return out
}

// Inspect is `aggregator inspect`: it says what a history holds.
func Inspect(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("aggregator inspect", flag.ContinueOnError)
	path := f.String("storage.path", DefaultOptions().StoragePath, "directory of the history; it is only read")
	series := f.String("series", "", "count only series of this name; empty: all")
	if err := f.Parse(args); err != nil {
		return err
	}
	all, err := storage.Inspect(ctx, *path, *series)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.Series == 0 {
			fmt.Fprintf(out, "%s: empty\n", c.Tier)
			continue
		}
		fmt.Fprintf(out, "%s: %d series, %d samples, %s to %s\nfewest samples in a series: %d\nmost samples in a series: %d\n", c.Tier, c.Series,
			c.Samples, c.First.Format(time.RFC3339), c.Last.Format(time.RFC3339), c.Fewest, c.Most)
	}
	return nil
}
