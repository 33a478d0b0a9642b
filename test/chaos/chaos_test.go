//go:build chaos

// Package chaos does to the shipped agent and aggregator what happens to programs: they are killed at random moments, the network between
// them falls silent, the disk is full or slow, clocks are set. After each an independent reader compares the history, sample by sample, with
// what was acknowledged.
//
//	simulated agents, and shipped ones behind a relay → what was acknowledged → ledger
//	the shipped aggregator's files, copied after a SIGKILL → a plain Prometheus TSDB → compared with the ledger
package chaos

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretide/foretide/test/swarm"
	"github.com/foretide/foretide/test/swarm/shipped"
)

var (
	kills     = flag.Int("kills", 3, "how often agents and aggregator are killed")
	partition = flag.Duration("partition", 15*time.Second, "how long the network is silent")
	trouble   = flag.Duration("trouble", 10*time.Second, "how long a disk is full, a disk is slow, a clock is wrong")
	seed      = flag.Uint64("seed", uint64(time.Now().UnixNano()), "what the moments are drawn from")
	binaries  = flag.String("binaries", "../../bin", "folder of the agent and the aggregator")
	library   = flag.String("nvml", "../fakenvml/build/libnvidia-ml.so.1", "the scripted NVML library")
)

// What all tests found together.
var killed, lost, duplicated, compared atomic.Int64

func TestMain(m *testing.M) {
	flag.Parse()
	fmt.Printf("seed %d: the same moments with -seed=%d\n", *seed, *seed)
	code := m.Run()
	if compared.Load() > 0 {
		fmt.Printf("%d acknowledged samples were looked up in the history\n", compared.Load())
		fmt.Printf("BENCH chaos_kills %d kills\nBENCH chaos_lost_samples %d samples\nBENCH chaos_duplicated_samples %d samples\n", killed.Load(), lost.Load(), duplicated.Load())
	}
	os.Exit(code)
}

// world is an aggregator and who speaks to it.
type world struct {
	t      *testing.T
	server *shipped.Aggregator
	ledger ledger
}

// newWorld starts an aggregator on a store; an empty one is a temporary folder.
func newWorld(t *testing.T, store string) *world {
	t.Helper()
	w := &world{t: t}
	var err error
	if w.server, err = shipped.NewAggregator(filepath.Join(*binaries, "aggregator"), t.TempDir(), store); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.server.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the end of the aggregator's log:\n%s", w.server.LogTail(6000))
		}
	})
	w.start()
	return w
}

func (w *world) start() {
	w.t.Helper()
	ctx, cancel := w.patience()
	defer cancel()
	if err := errors.Join(w.server.Start(), w.server.Ready(ctx)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) kill() {
	w.t.Helper()
	if err := w.server.Kill(); err != nil {
		w.t.Fatal(err)
	}
	killed.Add(1)
}

// patience bounds what must come to an end at all.
func (w *world) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(w.t.Context(), 5*time.Minute)
}

// agents starts simulated ones, whose acknowledged frames go into the ledger.
func (w *world) agents(o swarm.Options) *swarm.Swarm {
	w.t.Helper()
	roots, err := w.server.Roots()
	if err != nil {
		w.t.Fatal(err)
	}
	if o.Address == "" {
		o.Address = w.server.Ingest
	}
	o.Roots, o.Token, o.Seed, o.Acknowledged = roots, shipped.Token, *seed, w.ledger.acknowledged
	s, err := swarm.Start(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.Stop)
	w.eventually("every agent is acknowledged something", func() bool { return s.Acknowledged.Load() >= int64(2*o.Agents) })
	return s
}

// delivered waits until everything agents have is answered, and wants nothing of it dropped or, unless it may be, refused.
func (w *world) delivered(s *swarm.Swarm, mayRefuse bool) {
	w.t.Helper()
	ctx, cancel := w.patience()
	defer cancel()
	if err := s.Finish(ctx); err != nil {
		w.t.Fatalf("%v; last complaint: %s", err, s.Complaint())
	}
	if s.Dropped.Load() > 0 || s.Refused.Load() > 0 && !mayRefuse {
		w.t.Errorf("%d frames dropped, %d refused: %s", s.Dropped.Load(), s.Refused.Load(), s.Complaint())
	}
	w.t.Logf("%d frames sent, %d acknowledged, %d deferred, %d refused, %d streams", s.Sent.Load(), s.Acknowledged.Load(), s.Deferred.Load(), s.Refused.Load(), s.Streams.Load())
}

// compare kills the aggregator once more, and compares what is on its disk with the ledger.
func (w *world) compare() {
	w.t.Helper()
	w.kill()
	found, err := w.ledger.compare(w.t.Context(), filepath.Join(w.server.Store, "raw"), w.t.TempDir())
	if err != nil {
		w.t.Fatal(err)
	}
	lost.Add(int64(found.lost))
	duplicated.Add(int64(found.duplicated))
	compared.Add(int64(found.compared))
	w.t.Logf("%d acknowledged samples of %d frames: %d lost, %d duplicated", found.compared, len(w.ledger.seen), found.lost, found.duplicated)
	if found.compared == 0 || found.lost > 0 || found.duplicated > 0 {
		w.t.Errorf("of %d acknowledged samples %d are lost and %d are there that should not be, such as %s", found.compared, found.lost, found.duplicated, found.example)
	}
}

// eventually waits for what other processes are about to do.
func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	ctx, cancel := w.patience()
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			w.t.Fatalf("never: %s\n%s", what, w.server.LogTail(4000))
		case <-ticker.C:
		}
	}
}

// pass lets time go by under load.
func (w *world) pass(d time.Duration) {
	select {
	case <-w.t.Context().Done():
	case <-time.After(d):
	}
}
