// Command ingest measures the aggregator's way from a stream to the disk: what a sample costs it, against Prometheus' own remote-write
// receiver fed the same samples in the same run; how long it takes until the controller sees what an agent saw; and how long a killed
// aggregator is away. Figures come last, one a line.
//
//	through the shipped aggregator | the same through remote write | 1,000 agents each second → live view | kill and start again
//
// Whatever is measured runs in a process of its own: this command starts itself as the other receivers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// settings are the command's flags.
type settings struct {
	as                     string
	binary, dir            string
	agents, windows, gpus  int
	window                 time.Duration
	liveAgents             int
	liveLength             time.Duration
	restartAgents, rewinds int
	scenes                 string
	seed                   uint64
}

// figures are the BENCH lines, in order.
type figures []string

func (f *figures) add(format string, args ...any) {
	*f = append(*f, "BENCH "+fmt.Sprintf(format, args...))
}

func main() {
	var s settings
	flag.StringVar(&s.as, "as", "", "run as a receiver: remote-write or live (used by this command itself)")
	flag.StringVar(&s.binary, "aggregator", "bin/aggregator", "the aggregator to measure")
	flag.StringVar(&s.dir, "dir", "", "folder for all files, on the disk to measure; empty: a temporary one")
	flag.IntVar(&s.agents, "agents", 1000, "agents that bring a backlog")
	flag.IntVar(&s.gpus, "gpus", 8, "GPUs of each")
	flag.IntVar(&s.windows, "windows", 240, "windows each agent brings")
	flag.DurationVar(&s.window, "window", 15*time.Second, "length of a window")
	flag.IntVar(&s.liveAgents, "live.agents", 1000, "agents of which each reports every second, for the way to the live view")
	flag.DurationVar(&s.liveLength, "live.for", time.Minute, "how long they do")
	flag.IntVar(&s.restartAgents, "restart.agents", 3125, "agents of the aggregator that is killed: 160 series each")
	flag.IntVar(&s.rewinds, "restart.windows", 240, "windows of each in its history")
	flag.StringVar(&s.scenes, "scenes", "throughput,live,restart", "what to measure, as a comma-separated list")
	flag.Uint64Var(&s.seed, "seed", 1, "what values are drawn from")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "ingest:", err)
		os.Exit(1)
	}
}

func (s settings) run(ctx context.Context) (err error) {
	switch s.as {
	case "remote-write":
		return receiveRemoteWrite(ctx, s.dir)
	case "live":
		return receiveLive(ctx, s.dir)
	case "":
	default:
		return fmt.Errorf("--as is %q: it must be remote-write or live", s.as)
	}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "foretide-ingest-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	}
	scenes := map[string]func(context.Context, string, *figures) error{"throughput": s.throughput, "live": s.live, "restart": s.restart}
	var f figures
	for name := range strings.SplitSeq(s.scenes, ",") {
		scene, known := scenes[name]
		if !known {
			return fmt.Errorf("--scenes names %q: throughput, live and restart are known", name)
		}
		dir := filepath.Join(s.dir, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := errors.Join(scene(ctx, dir, &f), os.RemoveAll(dir)); err != nil {
			return err
		}
	}
	for _, line := range f {
		fmt.Println(line)
	}
	return nil
}
