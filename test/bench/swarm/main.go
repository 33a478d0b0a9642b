// Command swarm loads the shipped aggregator with thousands of simulated agents and says what that costs it, how long agents wait for
// their acknowledgements, and how quickly it answers those who ask meanwhile. Figures come last, one a line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/foretide/foretide/test/swarm"
	"github.com/foretide/foretide/test/swarm/shipped"
)

// settings are the command's flags.
type settings struct {
	agents, gpus          int
	metrics               string
	length, join, joinMax time.Duration
	podLife, streamLife   time.Duration
	seed                  uint64
	binary, dir, flags    string
	address, caFile       string
	tokenFile, serverName string
	web                   string
	pid                   int
}

func main() {
	var s settings
	flag.IntVar(&s.agents, "agents", 10_000, "how many agents")
	flag.IntVar(&s.gpus, "gpus", 8, "GPUs of each node, each with a pod")
	flag.StringVar(&s.metrics, "metrics", "20", "values of a GPU and its pod: 20, or full for the whole catalogue")
	flag.DurationVar(&s.length, "for", 5*time.Minute, "how long to measure once all agents have joined")
	flag.DurationVar(&s.join, "join", time.Minute, "over how long the agents start")
	flag.DurationVar(&s.joinMax, "join-max", 10*time.Minute, "how long all agents may take until they are connected and nothing waits")
	flag.DurationVar(&s.podLife, "pod-life", 2*time.Hour, "how long a pod lives on average; 0: for ever")
	flag.DurationVar(&s.streamLife, "stream-life", 45*time.Minute, "how long an agent keeps its stream on average; 0: for ever")
	flag.Uint64Var(&s.seed, "seed", 1, "what values and churn are drawn from")
	flag.StringVar(&s.binary, "aggregator", "bin/aggregator", "the aggregator to start")
	flag.StringVar(&s.dir, "dir", "", "folder for the aggregator's files; empty: a temporary one")
	flag.StringVar(&s.flags, "aggregator.flags", "", "further flags for it, separated by spaces")
	flag.StringVar(&s.address, "address", "", "host:port of an aggregator that runs already; empty starts one")
	flag.StringVar(&s.caFile, "ca-file", "", "with --address: file with its authority")
	flag.StringVar(&s.tokenFile, "token-file", "", "with --address: file with the token agents show")
	flag.StringVar(&s.serverName, "server-name", "", "with --address: name on its certificate")
	flag.StringVar(&s.web, "web", "", "with --address: host:port of its page, plain HTTP")
	flag.IntVar(&s.pid, "pid", 0, "with --address: its process on this machine, to measure it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "swarm:", err)
		os.Exit(1)
	}
}

func (s settings) run(ctx context.Context) (err error) {
	if s.metrics != "20" && s.metrics != "full" {
		return fmt.Errorf("--metrics is %q: it must be 20 or full", s.metrics)
	}
	o := swarm.Options{Address: s.address, ServerName: s.serverName, Agents: s.agents, Seed: s.seed, Join: s.join, StreamLife: s.streamLife,
		Node: s.node()}
	if s.address == "" {
		if s.dir == "" {
			if s.dir, err = os.MkdirTemp("", "foretide-swarm-"); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
		}
		a, err := s.start(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, a.Stop()) }()
		s.web, s.caFile, s.tokenFile, s.pid, o.Address = a.Web, a.CAFile(), a.TokenFile(), a.PID(), a.Ingest
	}
	if o.Roots, err = shipped.ReadRoots(s.caFile); err != nil {
		return err
	}
	token, err := os.ReadFile(s.tokenFile)
	if err != nil {
		return err
	}
	o.Token = strings.TrimSpace(string(token))
	fleet, err := swarm.Start(o)
	if err != nil {
		return err
	}
	defer fleet.Stop()
	if err := s.joined(ctx, fleet); err != nil {
		return err
	}
	return s.measure(ctx, fleet)
}

func (s settings) node() swarm.NodeOptions {
	return swarm.NodeOptions{GPUs: s.gpus, Full: s.metrics == "full", PodLife: s.podLife}
}

// start runs an aggregator of our own.
func (s settings) start(ctx context.Context) (*shipped.Aggregator, error) {
	a, err := shipped.NewAggregator(s.binary, s.dir, "")
	if err != nil {
		return nil, err
	}
	// A line for each of thousands of agents that connects is no part of what is measured, nor of any use here.
	if err := a.Start(append([]string{"--log.level=warn"}, strings.Fields(s.flags)...)...); err != nil {
		return nil, err
	}
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := a.Ready(limit); err != nil {
		return nil, errors.Join(err, a.Stop())
	}
	return a, nil
}

// joined waits until the agents are connected, but for those few that are just making their streams anew, and none waits for more than
// an interval.
func (s settings) joined(ctx context.Context, fleet *swarm.Swarm) error {
	began := time.Now()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for tick := 1; ; tick++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		longest := fleet.Longest()
		if tick%10 == 0 {
			fmt.Printf("%5.0fs  %d of %d agents are connected, each asked to report every %v; the longest wait is %.1f intervals\n",
				time.Since(began).Seconds(), fleet.Connected.Load(), s.agents, fleet.Interval(), longest)
		}
		if time.Since(began) > s.join && fleet.Connected.Load() >= int64(s.agents-s.agents/500) && longest <= 1 {
			fmt.Printf("All %d agents have joined after %v; the longest wait for an acknowledgement was %.1f intervals of then.\n",
				s.agents, time.Since(began).Round(time.Second), fleet.Waits.Quantile(1))
			return nil
		}
		if time.Since(began) > s.joinMax {
			return fmt.Errorf("after %v only %d of %d agents are connected, and the longest wait is %.1f intervals; last complaint: %s",
				s.joinMax, fleet.Connected.Load(), s.agents, longest, fleet.Complaint())
		}
	}
}
