package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/foretide/foretide/test/swarm"
	"github.com/foretide/foretide/test/swarm/shipped"
)

// backlog is an hour or so that ended a little ago: the aggregator takes up to two.
func (s settings) backlog(windows int) *swarm.Backlog {
	to := time.Now().Add(-time.Minute).Truncate(s.window)
	return &swarm.Backlog{From: to.Add(-time.Duration(windows) * s.window), To: to, Window: s.window}
}

// throughput brings the same backlog through the aggregator and through remote write. Of both it counts the processor time of the
// receiving process, from its start to the last acknowledgement.
func (s settings) throughput(ctx context.Context, dir string, f *figures) error {
	b := s.backlog(s.windows)
	ours, perSample, err := s.throughAggregator(ctx, dir, b)
	if err != nil {
		return err
	}
	theirs, err := s.throughRemoteWrite(ctx, dir, b)
	if err != nil {
		return err
	}
	f.add("ingest_per_core %.0f samples/s", ours)
	f.add("ingest_vs_remote_write %.2f ratio", ours/theirs)
	f.add("wire_bytes_per_sample %.2f B", perSample)
	return nil
}

// throughAggregator gives samples per second of the aggregator's processor time, and bytes per sample on the wire.
func (s settings) throughAggregator(ctx context.Context, dir string, b *swarm.Backlog) (perCore, bytesPerSample float64, err error) {
	a, err := start(ctx, s.binary, dir)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, a.Stop()) }()
	began, used := time.Now(), shipped.Usage{}
	fleet, err := s.bring(ctx, a, s.agents, b)
	if err != nil {
		return 0, 0, err
	}
	samples, took := float64(fleet.AcknowledgedSamples.Load()), time.Since(began).Seconds()
	if used, err = shipped.UsageOf(a.PID()); err != nil {
		return 0, 0, err
	}
	perCore = samples / used.CPUSeconds
	bytesPerSample = float64(fleet.WireBytes.Load()) / float64(fleet.SentSamples.Load())
	fmt.Printf("aggregator:   %.1f M samples of %d agents over gRPC and TLS into the history: %.1f s, %.1f s of processor time, %.2f M samples/s per core, %.2f GiB at most; "+
		"%.2f bytes per sample on the wire (values made up as drivers give them: utilization as the mean of whole percents, power to the milliwatt)\n",
		samples/1e6, s.agents, took, used.CPUSeconds, perCore/1e6, used.PeakResident/(1<<30), bytesPerSample)
	return perCore, bytesPerSample, nil
}

// start runs an aggregator that holds agents to no pace.
func start(ctx context.Context, binary, dir string) (*shipped.Aggregator, error) {
	a, err := shipped.NewAggregator(binary, dir, "")
	if err != nil {
		return nil, err
	}
	return a, errors.Join(a.Start("--log.level=warn"), a.Ready(ctx))
}

// bring lets agents bring a backlog until all of it is acknowledged.
func (s settings) bring(ctx context.Context, a *shipped.Aggregator, agents int, b *swarm.Backlog) (*swarm.Swarm, error) {
	roots, err := a.Roots()
	if err != nil {
		return nil, err
	}
	fleet, err := swarm.Start(swarm.Options{Address: a.Ingest, Roots: roots, Token: shipped.Token, Agents: agents, Seed: s.seed,
		Node: swarm.NodeOptions{GPUs: s.gpus}, Backlog: b})
	if err != nil {
		return nil, err
	}
	defer fleet.Stop()
	want := int64(agents) * int64(b.To.Sub(b.From)/b.Window)
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for fleet.Acknowledged.Load() < want {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
		if fleet.Refused.Load() > 0 {
			return nil, fmt.Errorf("%d frames were refused: %s", fleet.Refused.Load(), fleet.Complaint())
		}
	}
	return fleet, nil
}
