package app

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/foretide/foretide/aggregator/simulate"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// hpaTargets are those of the HorizontalPodAutoscalers that the policy is compared with, as parts of its own target.
var hpaTargets = []float64{0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.35, 1.5, 1.75, 2}

// simulation is a flight and what came of it.
type simulation struct {
	*flight
	leg
	peers []string
	flown []outcome // the policy first, then the peers
	hpas  []outcome // at several targets, the most GPU-hours first
	// oracle is who knows the future, at the policy's target.
	oracle outcome
	// policySeen and otherSeen are for the charts: of the policy, and of the first of its peers.
	policySeen, otherSeen seen
}

// outcome is what came of a policy.
type outcome struct {
	name   string
	target float64 // 0 to 1
	simulate.Result
}

// seen is a flight by the step.
type seen struct {
	name              string
	capacity, waiting []float64 // GPUs of ready pods; work in GPU seconds
}

func (s *seen) watch(gpusPerPod float64) func(simulate.View) {
	return func(v simulate.View) {
		s.capacity, s.waiting = append(s.capacity, float64(v.Ready)*gpusPerPod), append(s.waiting, v.Waiting)
	}
}

// Simulate is `aggregator simulate`: it plays a recorded load against a policy, which decides by the very code that decides in a cluster, and
// against others that are known, and says what would have happened.
func Simulate(ctx context.Context, args []string, out, log io.Writer) error {
	f := flag.NewFlagSet("aggregator simulate", flag.ContinueOnError)
	var o flightFlags
	o.register(f, "half of it")
	usual := strings.Join(simulate.PeerNames, ",")
	against := f.String("against", usual, "`policies` to compare with, as a comma-separated list; the first is drawn beside the policy")
	output := f.String("output", "table", "`form` of the result: table or json")
	page := f.String("html", "", "`file` to write a page with charts to; empty: none")
	if err := Parse(f, "Plays a recorded load against a policy and says what would have happened: minutes short, waiting, GPU-hours, and the same of policies that are known.", args, out); err != nil {
		return err
	}
	if *output != "table" && *output != "json" {
		return fmt.Errorf("--output is %q: it must be table or json", *output)
	}
	peers, err := parsePeers(*against)
	if err != nil {
		return err
	}
	flight, err := o.read(ctx, func(all time.Duration) time.Duration { return (all / 2).Round(time.Hour) })
	if err != nil {
		return err
	}
	s := &simulation{flight: flight, leg: flight.part(flight.flown, len(flight.offered)), peers: peers}
	if flight.flown == 0 && *against == usual {
		s.peers = slices.DeleteFunc(peers, func(name string) bool { return name == "fixed" || name == "cron" })
		s.notes = append(s.notes, "fixed and cron are left out: they are made from history, and there is none")
	}
	if err := writable(*page); err != nil { // better now than after the flight
		return fmt.Errorf("--html: %w", err)
	}
	if err := s.run(ctx, log); err != nil {
		return err
	}
	if *page != "" {
		if err := writePage(*page, simulatePage, s.page()); err != nil {
			return fmt.Errorf("--html: %w", err)
		}
	}
	if *output == "json" {
		return s.json(out)
	}
	if err := s.tell(out); err != nil {
		return err
	}
	if *page != "" {
		fmt.Fprintf(out, "\npage: %s\n", *page)
	}
	return nil
}

// parsePeers reads the list of --against.
func parsePeers(text string) (peers []string, err error) {
	if text == "" {
		return nil, nil
	}
	for _, name := range splitList(text) {
		if !slices.Contains(simulate.PeerNames, name) || slices.Contains(peers, name) {
			return nil, fmt.Errorf("--against has %q: each must be one of %s, and there once", name, strings.Join(simulate.PeerNames, ", "))
		}
		peers = append(peers, name)
	}
	return peers, nil
}

// run flies the policy and its peers, and what they are compared with.
func (s *simulation) run(ctx context.Context, log io.Writer) error {
	deciders := make([]simulate.Decider, len(s.peers))
	for i, name := range s.peers {
		d, err := s.decider(name, s.target)
		if err != nil { // better now than after the first flight
			return err
		}
		deciders[i] = d
	}
	if err := s.compare(ctx); err != nil {
		return err
	}
	bar := newProgress(log, time.Duration(1+len(s.peers))*s.length())
	defer bar.end()
	s.policySeen.name = s.policy.Name
	r, err := s.fly(ctx, s.policy, func(done time.Duration) { bar.add(done, s.policy.Name) }, s.policySeen.watch(s.world.GPUsPerPod))
	if err != nil {
		return err
	}
	s.flown = append(s.flown, outcome{s.policy.Name, s.target, r})
	for i, name := range s.peers {
		watch := func(simulate.View) {}
		if i == 0 {
			s.otherSeen.name, watch = name, s.otherSeen.watch(s.world.GPUsPerPod)
		}
		o, err := s.decide(ctx, name, s.target, deciders[i], watch)
		if err != nil {
			return err
		}
		s.flown = append(s.flown, o)
		bar.add(s.length(), name)
	}
	return nil
}

// compare flies who knows the future, and HorizontalPodAutoscalers at several targets.
func (s *simulation) compare(ctx context.Context) (err error) {
	if s.oracle, err = s.peer(ctx, "oracle", s.target); err != nil {
		return err
	}
	for _, part := range hpaTargets {
		if target := part * s.target; target <= 1 {
			o, err := s.peer(ctx, "hpa", target)
			if err != nil {
				return err
			}
			s.hpas = append(s.hpas, o)
		}
	}
	return nil
}

// fly plays the leg against a policy. told is called once a day with what is done since.
func (l leg) fly(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, told func(time.Duration), watch func(simulate.View)) (simulate.Result, error) {
	day, steps := int(24*time.Hour/l.world.Step), 0
	r, err := fly(ctx, l.world, l.trace, policy, l.before, func(v simulate.View) {
		if watch != nil {
			watch(v)
		}
		if steps++; steps%day == 0 {
			told(24 * time.Hour)
		}
	})
	if ctx.Err() != nil {
		return r, fmt.Errorf("stopped: %w", ctx.Err())
	}
	told(time.Duration(steps%day) * l.world.Step)
	return r, err
}

// peer plays the flight against a policy that is known.
func (s *simulation) peer(ctx context.Context, name string, target float64) (outcome, error) {
	d, err := s.decider(name, target)
	if err != nil {
		return outcome{}, err
	}
	return s.decide(ctx, name, target, d, nil)
}

// decide plays the flight against who decides it.
func (s *simulation) decide(ctx context.Context, name string, target float64, d simulate.Decider, watch func(simulate.View)) (outcome, error) {
	if ctx.Err() != nil {
		return outcome{}, fmt.Errorf("stopped: %w", ctx.Err())
	}
	r, err := simulate.Run(s.world, s.trace, d, watch)
	return outcome{name, target, r}, err
}

// decider makes a policy that is known, by the clocks of the policy's own time zone.
func (s *simulation) decider(name string, target float64) (simulate.Decider, error) {
	trace := s.trace
	if location, err := s.policy.Spec.Location(); err == nil { // else its conditions would say so
		trace.Start = trace.Start.In(location)
	}
	d, err := simulate.Peer(name, simulate.PeerOptions{
		Bounds: s.bounds, Target: target, GPUsPerPod: s.world.GPUsPerPod, Trace: trace, Before: s.before,
		Step: s.world.Step, Sync: s.world.Sync, Ahead: s.startup(1) + s.world.Sync,
	})
	if err != nil {
		return nil, fmt.Errorf("--against: %w", err)
	}
	return d, nil
}
