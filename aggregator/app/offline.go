package app

import (
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/pkg/trace"
)

// historyStep is the step of the workload tier.
const historyStep = time.Minute

// ImportHistory is `aggregator import`: out of a Prometheus when --prometheus.url is among the flags, else out of a file.
func ImportHistory(ctx context.Context, args []string, out io.Writer) error {
	for _, arg := range args {
		if name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "="); strings.HasPrefix(arg, "-") && name == "prometheus.url" {
			return ImportPrometheus(ctx, args, out)
		}
	}
	return Import(ctx, args, out)
}

// historyFlags are of the commands that open a history to write. Whoever opens it deletes what is older than the retentions.
func historyFlags(f *flag.FlagSet) (path *string, raw, workload *time.Duration) {
	defaults := DefaultOptions()
	return f.String("storage.path", defaults.StoragePath, "`directory` of the history; the aggregator must not be running on it"),
		f.Duration("storage.raw-retention", defaults.RawRetention, "as given to aggregator serve: what is older is deleted"),
		f.Duration("storage.workload-retention", defaults.WorkloadRetention, "as given to aggregator serve: what is older is deleted, and not imported")
}

// Import reads one series of a recorded trace into the history of a workload.
func Import(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("aggregator import", flag.ContinueOnError)
	path, raw, long := historyFlags(f)
	file := f.String("trace", "", "CSV `file`: series,timestamp_unix,value")
	series := f.String("series", "", "`name` of the trace's series; may be left out when there is only one")
	name := f.String("workload", "", "whose history it becomes: `namespace/Kind/name`")
	scale := f.Float64("scale", 1, "busy GPUs per unit of the trace, a `number` above 0")
	until := f.String("until", "", "`time` in the trace (RFC 3339) that becomes --end; later points are left out; empty: its last point")
	end := f.String("end", "", "`time` (RFC 3339) at which the imported history ends; empty: now; same: keep the trace's own times")
	if err := Parse(f, "Reads one series of a recorded demand into the history of a workload. With --prometheus.url it reads out of a Prometheus instead: aggregator import --prometheus.url= --help", args, out); err != nil {
		return err
	}
	workload, err := parseWorkload(*name)
	if err != nil {
		return err
	}
	if *scale <= 0 || math.IsInf(*scale, 0) || math.IsNaN(*scale) {
		return fmt.Errorf("--scale is %v: it must be a number above 0", *scale)
	}
	recorded, err := readSeries("--trace", *file, "--series", *series)
	if err != nil {
		return err
	}
	points, err := shift(recorded.Points, *until, *end, time.Now())
	if err != nil {
		return err
	}
	history := perMinute(points, *scale)
	if len(history) == 0 {
		return fmt.Errorf("--trace %q: its %d points lie within one minute, the history has one value a minute", *file, len(points))
	}
	store, err := storage.Open(storage.Options{Dir: *path, Logger: slog.New(slog.DiscardHandler), RawRetention: *raw, WorkloadRetention: *long})
	if err != nil {
		return fmt.Errorf("--storage.path: %w", err)
	}
	written, err := store.AppendDemandHistory(ctx, workload, history)
	if err := errors.Join(err, store.Close()); err != nil {
		return fmt.Errorf("import into %q: %w", *path, err)
	}
	fmt.Fprintf(out, "imported %d minutes of demand for %s, %s to %s\n", written, *name,
		history[0].Time.UTC().Format(time.RFC3339), history[len(history)-1].Time.UTC().Format(time.RFC3339))
	if left := len(history) - written; left > 0 {
		fmt.Fprintf(out, "left out %d minutes that are in the history already or older than --storage.workload-retention=%v\n", left, *long)
	}
	return nil
}

func parseWorkload(name string) (storage.Workload, error) {
	parts := strings.Split(name, "/")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return storage.Workload{}, fmt.Errorf("--workload is %q: it must be namespace/Kind/name, such as default/Deployment/llama", name)
	}
	return storage.Workload{Namespace: parts[0], Kind: parts[1], Name: parts[2]}, nil
}

// readSeries reads one series of a file; the flags that name the two are for errors. The file may be compressed (.gz).
func readSeries(fileFlag, file, nameFlag, name string) (trace.Series, error) {
	if file == "" {
		return trace.Series{}, fmt.Errorf(`%s is "": it must be a CSV file`, fileFlag)
	}
	f, err := os.Open(file)
	if err != nil {
		return trace.Series{}, fmt.Errorf("%s: %w", fileFlag, err)
	}
	defer f.Close()
	var rows io.Reader = f
	if strings.HasSuffix(file, ".gz") {
		if rows, err = gzip.NewReader(f); err != nil {
			return trace.Series{}, fmt.Errorf("%s %q: %w", fileFlag, file, err)
		}
	}
	all, err := trace.Read(rows)
	if err != nil {
		return trace.Series{}, fmt.Errorf("%s %q: %w", fileFlag, file, err)
	}
	var names []string
	for _, s := range all {
		if s.Name == name || name == "" && len(all) == 1 {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return trace.Series{}, fmt.Errorf("%s is %q: %s has %s", nameFlag, name, fileFlag, strings.Join(names, ", "))
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
	usual := usualDistance(points)
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

// usualDistance is that of two neighbours: half of them are no further apart. There must be two points.
func usualDistance(points []trace.Point) time.Duration {
	steps := make([]time.Duration, 0, len(points)-1)
	for i := 1; i < len(points); i++ {
		steps = append(steps, points[i].Time.Sub(points[i-1].Time))
	}
	slices.Sort(steps)
	return steps[(len(steps)-1)/2]
}

// Inspect is `aggregator inspect`: it says what a history holds.
func Inspect(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("aggregator inspect", flag.ContinueOnError)
	path := f.String("storage.path", DefaultOptions().StoragePath, "`directory` of the history; it is only read")
	series := f.String("series", "", "`name` of the series to count; empty: all")
	if err := Parse(f, "Says what a history holds, also while an aggregator is running on it.", args, out); err != nil {
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
