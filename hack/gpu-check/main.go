// Command gpu-check shows what the agent's readers say on a machine with a real NVIDIA GPU: it puts known load on one, by two
// processes with different shares, and prints what was read, how long it took, and attribution against the truth.
//
//	load processes → GPU → agent/nvml → agent/attribution → tables → exit code
//
// The exit code is 0 when all is well, 1 when attribution is wrong or does not add up, 2 when there was nothing to check.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// warmUpLooks is how many looks it takes until everything has one before it, and the driver's means are of the load alone.
const warmUpLooks = 3

type options struct {
	libraryPath string
	seconds     int
	load        bool
	out         string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "load" {
		if err := runLoad(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		return
	}
	var o options
	flag.IntVar(&o.seconds, "seconds", 20, "how long to measure")
	flag.StringVar(&o.libraryPath, "nvml.library-path", "", "libnvidia-ml.so.1 to load; empty looks in the usual places")
	flag.BoolVar(&o.load, "load", true, "put load on the first GPU; otherwise what runs there already is looked at")
	flag.StringVar(&o.out, "out", "", "where to write the tables as well: a file, or a folder for a file named after GPU and driver")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	wrong, err := run(ctx, o)
	cancel()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "gpu-check:", err)
		os.Exit(2)
	case len(wrong) > 0:
		os.Exit(1)
	}
}

// run checks, prints, and returns what is wrong.
func run(ctx context.Context, o options) (wrong []string, err error) {
	if o.seconds < 1 {
		return nil, fmt.Errorf("--seconds=%d: it must be 1 or more", o.seconds)
	}
	w := newWatch(o.libraryPath)
	defer w.reader.Close()
	samples := w.begin(ctx)
	if len(samples) == 0 {
		return nil, fmt.Errorf("no GPU can be read (NVML: %s): %s", w.reader.Status().State, strings.Join(w.problems, "; "))
	}
	r := &report{options: o, date: time.Now(), status: w.reader.Status()}
	if err := r.observe(ctx, w, samples); err != nil {
		return nil, err
	}
	r.latencies, r.problems = w.latencies.rows(), w.problems
	if err := r.library(); err != nil {
		return nil, err
	}
	text, wrong := r.text()
	fmt.Print(text)
	return wrong, o.save(text, r.name())
}

// observe measures with or without load. Workers never outlive it.
func (r *report) observe(ctx context.Context, w *watch, samples []telemetry.Sample) error {
	var crew crew
	defer crew.kill()
	if r.options.load {
		uuid, err := wholeGPU(samples)
		if err != nil {
			return err
		}
		if crew, err = startCrew(ctx, uuid, time.Duration(warmUpLooks+r.options.seconds)*interval+readyIn+endIn); err != nil {
			return err
		}
		crew.before = pids(samples, uuid)
		w.holders[uuid] = crew.owners()
	} else {
		adoptProcesses(w, samples)
	}
	err := w.warmUp(ctx, warmUpLooks, func(samples []telemetry.Sample) {
		if r.options.load && len(w.owners) == 0 {
			w.owners, r.identified = crew.identify(samples)
		}
	})
	if err != nil {
		return err
	}
	if r.measured, err = w.measure(ctx, r.options.seconds); err != nil {
		return err
	}
	r.truths, err = crew.stop()
	return err
}

// save writes the tables where --out says.
func (o options) save(text, name string) error {
	if o.out == "" {
		return nil
	}
	path := o.out
	if info, err := os.Stat(path); err == nil && info.IsDir() || strings.HasSuffix(path, "/") {
		path = filepath.Join(path, name+".txt")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
