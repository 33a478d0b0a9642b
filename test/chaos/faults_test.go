//go:build chaos

package chaos

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/foretide/foretide/test/swarm"
)

func TestPartitionLosesNothing(t *testing.T) {
	w := newWorld(t, "")
	p := newProxy(t, w.server.Ingest)
	far := w.agents(swarm.Options{Agents: 10, Prefix: "far-", Address: p.address, Node: swarm.NodeOptions{PodLife: time.Minute}})
	near := w.agents(swarm.Options{Agents: 10, Prefix: "near-"})
	p.cut()
	before := near.Acknowledged.Load()
	w.pass(*partition)
	if waiting := far.Waiting(); waiting < 20 {
		t.Errorf("only %d frames wait although nothing got through for %v", waiting, *partition)
	}
	if near.Acknowledged.Load() == before {
		t.Error("the agents this side of the partition were not acknowledged anything")
	}
	p.heal()
	w.delivered(far, false)
	w.delivered(near, false)
	w.compare()
}

func TestFullDiskLosesNothing(t *testing.T) {
	store := filepath.Join(t.TempDir(), "small")
	mount(t, "tmpfs", store, "tmpfs", "size=300m")
	w := newWorld(t, store)
	fleet := w.agents(swarm.Options{Agents: 20, Node: swarm.NodeOptions{PodLife: time.Minute}})
	ballast := filepath.Join(store, "ballast")
	fill(t, ballast)
	w.eventually("frames wait because the disk is full", func() bool { return fleet.Deferred.Load() > 0 })
	w.pass(*trouble)
	if page, err := w.server.Metrics(t.Context()); err != nil || page == "" {
		t.Errorf("/metrics does not answer while the disk is full: %v", err)
	}
	acknowledged := fleet.Acknowledged.Load()
	// Killed and started on a full disk, it must come back.
	w.kill()
	w.start()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	w.eventually("it recovers by itself", func() bool { return fleet.Acknowledged.Load() > acknowledged })
	w.delivered(fleet, false)
	w.compare()
}

// fill takes all the room there is.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = f.Write(block)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk ended with %v", err)
	}
}

func TestSlowDiskLosesNothing(t *testing.T) {
	d := newSlowDisk(t)
	w := newWorld(t, filepath.Join(d.path, "store"))
	fleet := w.agents(swarm.Options{Agents: 20, Node: swarm.NodeOptions{PodLife: time.Minute}})
	// The agents' samples alone are 30 KB of log a second.
	d.slow(w.server.PID(), 16<<10)
	most := 0 // the agents are soon told to report less often, so that what waits is least at the end
	for begin := time.Now(); time.Since(begin) < *trouble; w.pass(time.Second) {
		most = max(most, fleet.Waiting())
	}
	// It is gone once the writes it is in have ended, which at that speed takes long.
	if err := w.server.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.fast()
	w.kill()
	w.start()
	if most < 20 {
		t.Errorf("at most %d frames waited: the disk was not slow enough to matter", most)
	}
	w.delivered(fleet, false)
	w.compare()
}

// steps are how far the nodes' clocks are off, one after the other. Half an hour back is what an agent's backlog looks like; three hours
// ahead the aggregator does not wait for.
var steps = []time.Duration{0, 90 * time.Second, -110 * time.Second, 37 * time.Second, -30 * time.Minute, 3 * time.Hour, 0}

func TestClocksSteppedBackAndForthLoseNothing(t *testing.T) {
	w := newWorld(t, "")
	var step atomic.Int64
	fleet := w.agents(swarm.Options{Agents: 20, Clock: func() time.Time {
		// Ends of windows of two steps never fall on the same millisecond: of two values for one moment the history keeps one.
		i := step.Load()
		return time.Now().Add(steps[i]).Truncate(10 * time.Millisecond).Add(time.Duration(i) * time.Millisecond)
	}})
	for i := range steps {
		step.Store(int64(i))
		before := fleet.Acknowledged.Load() + fleet.Refused.Load()
		w.pass(*trouble / 2)
		w.eventually("an answer after the clock was set", func() bool { return fleet.Acknowledged.Load()+fleet.Refused.Load() > before })
	}
	w.delivered(fleet, true)
	if fleet.Refused.Load() == 0 {
		t.Error("nothing was refused although the clocks were three hours ahead")
	}
	w.compare()
}
