package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/foretide/foretide/test/swarm"
	"github.com/foretide/foretide/test/swarm/shipped"
)

// restart fills a history, kills the aggregator while its agents report, starts it again at once, and waits for it.
func (s settings) restart(ctx context.Context, dir string, f *figures) (err error) {
	a, err := start(ctx, s.binary, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Stop()) }()
	if _, err := s.bring(ctx, a, s.restartAgents, s.backlog(s.rewinds)); err != nil {
		return err
	}
	roots, err := a.Roots()
	if err != nil {
		return err
	}
	fleet, err := swarm.Start(swarm.Options{Address: a.Ingest, Roots: roots, Token: shipped.Token, Agents: s.restartAgents, Seed: s.seed,
		Join: 20 * time.Second, Node: swarm.NodeOptions{GPUs: s.gpus}})
	if err != nil {
		return err
	}
	defer fleet.Stop()
	if err := until(ctx, "every agent is heard", func() bool { return fleet.Connected.Load() == int64(s.restartAgents) && fleet.Longest() < 2 }); err != nil {
		return err
	}
	if err := until(ctx, "a decision before the kill", func() bool { return decided(ctx, a) }); err != nil {
		return err
	}
	killed := time.Now()
	if err := a.Kill(); err != nil {
		return err
	}
	began := time.Now()
	if err := a.Start("--log.level=warn"); err != nil {
		return err
	}
	if err := until(ctx, "a decision after the restart", func() bool { return decided(ctx, a) }); err != nil {
		return err
	}
	decisions := time.Since(began).Seconds()
	want := float64(s.restartAgents * s.gpus)
	history := fmt.Sprintf("count(foretide_device_power_watts @ %d)", killed.Add(-20*time.Second).Unix())
	if err := until(ctx, "the history from before the kill", func() bool {
		answer, err := a.Query(ctx, history)
		return err == nil && len(answer) == 1 && answer[0].Value == want
	}); err != nil {
		return err
	}
	raw := time.Since(began).Seconds()
	fmt.Printf("restart:      SIGKILL with %d series of %d windows and agents reporting every %v: the first decision after %.1f s, the raw history answers after %.1f s\n",
		s.restartAgents*s.gpus*20, s.rewinds, fleet.Interval(), decisions, raw)
	f.add("restart_to_decisions %.1f s", decisions)
	f.add("restart_to_raw %.1f s", raw)
	return nil
}

// decided reports whether /metrics shows a decision: it does only of a policy whose pods are heard of.
func decided(ctx context.Context, a *shipped.Aggregator) bool {
	page, err := a.Metrics(ctx)
	return err == nil && strings.Contains(page, "\nforetide_policy_desired_replicas{")
}

// patience is how long anything may take before the measurement is given up.
const patience = 10 * time.Minute

func until(ctx context.Context, what string, holds func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("never seen: %s: %w", what, ctx.Err())
		case <-ticker.C:
		}
	}
	return nil
}
