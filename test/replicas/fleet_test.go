//go:build replicas

package replicas

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretide/foretide/agent/spool"
	"github.com/foretide/foretide/agent/stream"
	"github.com/foretide/foretide/pkg/telemetry"
)

// gpusOfANode is how many each node has, and a pod of the workload on each.
const gpusOfANode = 2

// fleet is nodes whose GPUs are made up, and whose spools and streams are the shipped agent's.
type fleet struct {
	nodes []*node
	// offered is the work offered to the workload, in hundredths of a GPU; its pods share it.
	offered atomic.Int64
}

// node is one agent.
type node struct {
	name     string
	number   int
	fleet    *fleet
	spool    *spool.Spool
	interval atomic.Int64 // what the aggregators ask for, in nanoseconds
}

// fleetOptions are the same for all of its agents.
type fleetOptions struct {
	nodes             int
	addresses         []stream.Address
	copies            int
	caFile, tokenFile string
	// gpus is the work offered at first.
	gpus float64
}

func newFleet(t *testing.T, o fleetOptions) *fleet {
	t.Helper()
	f := &fleet{}
	f.offer(o.gpus)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	dir := t.TempDir()
	for i := range o.nodes {
		n := &node{name: fmt.Sprintf("node-%02d", i), number: i, fleet: f}
		n.interval.Store(int64(time.Second))
		var err error
		if n.spool, err = spool.Open(spool.Options{Path: filepath.Join(dir, n.name)}); err != nil {
			t.Fatal(err)
		}
		s := stream.New(stream.Options{
			Addresses: o.addresses, Copies: o.copies, CAFile: o.caFile, ServerName: "foretide-aggregator", TokenFile: o.tokenFile,
			Node: n.name, Session: n.spool.Session(), Version: "test", Logger: slog.New(slog.DiscardHandler),
			Receiver:          func(store string) stream.Receiver { return n.spool.Receiver(store) },
			SetReportInterval: func(d time.Duration) { n.interval.Store(int64(d)) },
		})
		running.Go(func() { s.Run(ctx) })
		running.Go(func() { n.sample(ctx) })
		f.nodes = append(f.nodes, n)
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
		for _, n := range f.nodes {
			if s := n.spool.Stats(); s.Dropped > 0 || s.Refused > 0 {
				t.Errorf("%s: %d batches dropped, %d refused", n.name, s.Dropped, s.Refused)
			}
			if err := n.spool.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return f
}

// offer changes the work offered to the workload, in GPUs.
func (f *fleet) offer(gpus float64) { f.offered.Store(int64(math.Round(100 * gpus))) }

func (f *fleet) gpus() float64 { return float64(f.offered.Load()) / 100 }

func (f *fleet) pods() int { return gpusOfANode * len(f.nodes) }

// right is how many replicas the work offered asks for.
func (f *fleet) right() float64 { return math.Ceil(f.gpus()/target - 1e-9) }

// waiting is how many batches some aggregator has not answered.
func (f *fleet) waiting() int {
	waiting := 0
	for _, n := range f.nodes {
		waiting += n.spool.Stats().Batches
	}
	return waiting
}

// sample puts a batch into the spool at each interval.
func (n *node) sample(ctx context.Context) {
	last := time.Now()
	for {
		timer := time.NewTimer(time.Duration(n.interval.Load()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		now := time.Now()
		n.spool.Put(n.batch(last, now))
		last = now
	}
}

// batch is a window in which the pods do their part of the work offered. It swings from one pod of the node to the other, so that no
// value is like the one before and the sum is what it is.
func (n *node) batch(start, end time.Time) telemetry.Batch {
	b := telemetry.Batch{Node: n.name, Session: n.spool.Session(), Start: start, End: end, OwnersKnown: true}
	share := n.fleet.gpus() / float64(n.fleet.pods())
	swing := 0.1 * min(share, 1-share) * math.Sin(end.Sub(end.Truncate(time.Hour)).Seconds()/7+float64(n.number))
	for g := range gpusOfANode {
		busy := share + swing
		swing = -swing
		uuid, pod := fmt.Sprintf("GPU-%s-%d", n.name, g), fmt.Sprintf("%s-%s-%d", workload, n.name, g)
		used := telemetry.Values{telemetry.UtilizationMean: busy, telemetry.UtilizationMax: busy, telemetry.MemoryTotal: 80 << 30, telemetry.MemoryUsed: 40 << 30}
		read := telemetry.Values{telemetry.UtilizationMean: busy, telemetry.MemoryTotal: 80 << 30, telemetry.MemoryUsed: 40 << 30, telemetry.Power: 70 + 600*busy}
		b.Readings = append(b.Readings, telemetry.Reading{Device: telemetry.Device{UUID: uuid, Index: g, Minor: g, Model: "H100"}, Values: read})
		b.Usages = append(b.Usages, telemetry.Usage{Owner: telemetry.Owner{Namespace: namespace, Pod: pod, Container: "main"}, DeviceUUID: uuid,
			Attribution: telemetry.AttributionExclusive, Values: used})
		b.Pods = append(b.Pods, telemetry.Pod{Namespace: namespace, Name: pod, Known: true, Ready: true})
	}
	return b
}

func addressesOf(t *testing.T, list string) []stream.Address {
	t.Helper()
	addresses, err := stream.ParseAddresses(list)
	if err != nil {
		t.Fatal(err)
	}
	return addresses
}
