//go:build chaos

package chaos

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
	"github.com/foretide/foretide/test/fakenvml"
	"github.com/foretide/foretide/test/node"
	"github.com/foretide/foretide/test/podresources"
)

// host is a node with the shipped agent, which keeps its spool on disk and speaks to the aggregator through a relay.
type host struct {
	world *world
	name  string
	node  *node.Node
	relay *relay
}

// host starts one, with two GPUs and a pod on each.
func (w *world) host(name string) *host {
	w.t.Helper()
	// The node's own receiver is not used: later flags stand for earlier ones.
	n, err := node.New(w.t.TempDir(), *library, func(telemetry.Batch) *telemetrypb.Ack { return nil })
	if err != nil {
		w.t.Fatal(err)
	}
	h := &host{world: w, name: name, node: n, relay: newRelay(w)}
	n.Scenario = fakenvml.Default(2)
	var holders []podresources.Holder
	for i, d := range n.Scenario.Devices {
		holders = append(holders, podresources.Holder{Namespace: "default", Pod: name + "-pod-" + strconv.Itoa(i), Container: "main", DeviceIDs: []string{d.UUID}})
	}
	n.Kubelet.Set(holders)
	if err := n.Play(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			w.t.Errorf("agent: %v", err)
		}
		if w.t.Failed() {
			log := n.Log()
			w.t.Logf("the end of the log of agent %s:\n%s", name, log[max(0, len(log)-3000):])
		}
	})
	h.start()
	w.eventually("the shipped agent's frames are acknowledged", func() bool { return h.relay.count() > 1 })
	return h
}

func (h *host) start() {
	h.world.t.Helper()
	if err := h.node.Start(filepath.Join(*binaries, "agent"), "--node-name="+h.name, "--aggregator.address="+h.relay.address,
		"--aggregator.ca-file="+h.relay.caFile, "--aggregator.token-file="+h.world.server.TokenFile(), "--spool.path="+h.node.Path("spool")); err != nil {
		h.world.t.Fatal(err)
	}
}

// kill ends the agent with SIGKILL and waits until it is gone.
func (h *host) kill() {
	h.world.t.Helper()
	pid := h.node.PID()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		h.world.t.Fatal(err)
	}
	if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
		h.world.t.Fatal(err)
	}
	killed.Add(1)
}

// play changes what the GPUs do.
func (h *host) play(r *rand.Rand) {
	h.world.t.Helper()
	for i := range h.node.Scenario.Devices {
		h.node.Scenario.Devices[i].UtilizationGPUPercent = r.IntN(101)
	}
	if err := h.node.Play(); err != nil {
		h.world.t.Fatal(err)
	}
}

var waitingBatches = regexp.MustCompile(`(?m)^foretide_agent_spool_batches(?:\{[^}]*\})? (\S+)$`)

// delivered waits until the agent has little left to say, and wants every frame it ever numbered to have arrived.
func (h *host) delivered() {
	h.world.t.Helper()
	h.world.eventually("the shipped agent's spool is empty", func() bool {
		_, page, err := h.node.Get(h.world.t.Context(), "/metrics", "")
		m := waitingBatches.FindStringSubmatch(page)
		return err == nil && m != nil && (m[1] == "0" || m[1] == "1")
	})
	if missing := h.relay.missing(restartJump); len(missing) > 0 {
		h.world.t.Errorf("agent %s: %d frames it had numbered never arrived, such as %d", h.name, len(missing), missing[0])
		lost.Add(int64(len(missing)))
	}
	h.world.t.Logf("agent %s: %d frames acknowledged", h.name, h.relay.count())
}

// restartJump is less than what the agent leaves out of its numbers when it starts anew, and more than a run ever has.
const restartJump = 1 << 15

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
