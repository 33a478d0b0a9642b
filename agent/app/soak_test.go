//go:build bench

package app

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/foretide/foretide/test/fakenvml"
	"github.com/foretide/foretide/test/node"
	"github.com/foretide/foretide/test/podresources"
)

// TestMemoryStaysFlat drives the agent's own tick a hundred thousand times, more than a day of seconds, with pods and processes that come and go,
// through the real go-nvml and the kubelet's socket, and prints how much memory that left behind.
func TestMemoryStaysFlat(t *testing.T) {
	const ticks, churn = 100_000, 50
	dir, err := os.MkdirTemp("", "foretide-soak-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	library, err := fakenvml.BuildLibrary("../../test/fakenvml/build")
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.New(dir, library, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n.Scenario, err = fakenvml.Profile("h100", 8); err != nil {
		t.Fatal(err)
	}
	o := DefaultOptions()
	o.NodeName, o.NVMLLibraryPath, o.KubeletSocketPath = "soak", n.Path(fakenvml.LibraryName), n.Path("kubelet.sock")
	o.HostProcPath, o.HostPodLogsPath, o.HostContainerLogsPath = n.Path("proc"), n.Path("pods"), n.Path("containers")
	o.AggregatorAddress, o.SpoolMaxMemoryBytes = "127.0.0.1:1", 1<<20
	p := &parts{options: o, logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if err := p.build(); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	n.Scenario.NowMicroseconds = now.UnixMicro()
	var early, late memory
	for i := range ticks {
		if i%churn == 0 {
			play(t, n, i/churn, now)
		}
		now = now.Add(time.Second)
		p.sampler.Tick(t.Context(), now)
		if i%1000 == 999 {
			metrics, err := p.registry.Gather()
			if err != nil || len(metrics) == 0 {
				t.Fatalf("%d families, %v", len(metrics), err)
			}
		}
		switch i {
		case ticks/10 - 1:
			early = resident(t)
		case ticks - 1:
			late = resident(t)
		}
	}
	if s := p.sampler.Status(); s.Holders != 64 || !s.OwnersKnown || s.Problems > 16 {
		t.Errorf("status = %+v", s)
	}
	fmt.Printf("after a tenth of %d ticks %.2f MiB are live in Go's heap and %.1f MiB anonymous in all; after all of them %.2f and %.1f, the scripted library's included\n",
		ticks, early.live, early.anonymous, late.live, late.anonymous)
	fmt.Printf("BENCH agent_heap_growth_1e5_ticks %.2f MiB\n", late.live-early.live)
}

// play replaces all pods and their processes.
func play(t *testing.T, n *node.Node, generation int, now time.Time) {
	var holders []podresources.Holder
	n.Scenario.NowMicroseconds = now.UnixMicro()
	if err := os.RemoveAll(n.Path("proc")); err != nil {
		t.Fatal(err)
	}
	for g := range n.Scenario.Devices {
		d := &n.Scenario.Devices[g]
		d.Processes, d.UtilizationGPUPercent = nil, 40
		for i := range 8 {
			pid := 1000 + (generation*64+g*8+i)%4_000_000
			uid, id := fmt.Sprintf("5fd4f087-86f3-7a43-b711-%012d", pid), fmt.Sprintf("%064x", pid)
			pod := fmt.Sprintf("pod-%d", pid)
			if err := n.Process(pid, fmt.Sprintf("0::/kubepods/pod%s/%s\n", uid, id)); err != nil {
				t.Fatal(err)
			}
			holders = append(holders, podresources.Holder{Namespace: "default", Pod: pod, Container: "c", DeviceIDs: []string{fmt.Sprintf("%s::%d", d.UUID, i)}})
			d.Processes = append(d.Processes, fakenvml.Process{PID: pid, SMPercent: 5, UsedBytes: 1 << 28})
		}
	}
	n.Kubelet.Set(holders)
	if err := n.Play(); err != nil {
		t.Fatal(err)
	}
}

// memory is in MiB: what is live in Go's heap, and what the process has that is no file's.
type memory struct{ live, anonymous float64 }

// resident returns the process's memory after a collection.
func resident(t *testing.T) memory {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var kib float64
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			if _, err := fmt.Sscan(rest, &kib); err != nil {
				t.Fatal(err)
			}
		}
	}
	return memory{float64(stats.HeapAlloc) / (1 << 20), kib / 1024}
}
