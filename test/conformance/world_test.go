//go:build conformance

package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
	"github.com/foretide/foretide/test/fakenvml"
	"github.com/foretide/foretide/test/node"
	"github.com/foretide/foretide/test/podresources"
)

// world is a node with the agent's binary on it.
type world struct {
	*node.Node
	t       *testing.T
	holders []podresources.Holder

	mu       sync.Mutex
	batches  []telemetry.Batch
	draining bool
	report   time.Duration // the report interval that batches are acknowledged with
	stopped  bool
}

// newWorld makes a node; start begins the agent.
func newWorld(t *testing.T, s fakenvml.Scenario) *world {
	t.Helper()
	library, err := fakenvml.BuildLibrary("../fakenvml/build")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, report: 200 * time.Millisecond}
	dir, err := os.MkdirTemp("", "foretide-") // t.TempDir is too long for a unix socket's path
	if err != nil {
		t.Fatal(err)
	}
	if w.Node, err = node.New(dir, library, w.take); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Errorf("agent: %v", err)
		}
		if t.Failed() {
			t.Logf("the agent's log:\n%s", w.Log())
		}
		_ = os.RemoveAll(dir)
	})
	w.Scenario = s
	w.play()
	return w
}

func (w *world) start(flags ...string) {
	w.t.Helper()
	binary, err := filepath.Abs("../../bin/agent")
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.Start(binary, append([]string{"--sampler.interval=200ms"}, flags...)...); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("the agent answers", func() bool {
		_, _, err := w.Get(w.t.Context(), "/healthz", "")
		return err == nil
	})
}

// stop ends the agent and the node, once.
func (w *world) stop() error {
	if w.stopped {
		return nil
	}
	w.stopped = true
	return w.Stop()
}

// install puts the library of another driver in place of the one that is there, as an upgrade does: a new file of the same name.
func (w *world) install(v fakenvml.Variant) {
	w.t.Helper()
	library, err := fakenvml.BuildVariant(w.Path("driver"), v)
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := os.ReadFile(library)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(fakenvml.LibraryName+".new", text)
	if err := os.Rename(w.Path(fakenvml.LibraryName+".new"), w.Path(fakenvml.LibraryName)); err != nil {
		w.t.Fatal(err)
	}
}

// write makes a file of the node.
func (w *world) write(name string, text []byte) {
	w.t.Helper()
	if err := os.WriteFile(w.Path(name), text, 0o700); err != nil {
		w.t.Fatal(err)
	}
}

// remove takes a file of the node away.
func (w *world) remove(name string) {
	w.t.Helper()
	if err := os.Remove(w.Path(name)); err != nil {
		w.t.Fatal(err)
	}
}

// drain has the aggregator say whether the node is being drained.
func (w *world) drain(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.draining = yes
}

// reportEach has the aggregator ask for a batch each d.
func (w *world) reportEach(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report = d
}

// received returns every batch so far.
func (w *world) received() []telemetry.Batch {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.batches)
}

// shows waits until a series of /metrics has the value.
func (w *world) shows(want float64, name string, labels ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%s%q is %v", name, labels, want), func() bool {
		v, there := value(w.metrics(), name, labels...)
		return there && v == want
	})
}

// says waits until a probe answers with the status and the words.
func (w *world) says(path string, status int, words string) {
	w.t.Helper()
	last := ""
	defer func() {
		if w.t.Failed() {
			w.t.Logf("%s said last: %s", path, last)
		}
	}()
	w.eventually(fmt.Sprintf("%s answers %d with %q", path, status, words), func() bool {
		got, body, err := w.Get(w.t.Context(), path, "")
		last = fmt.Sprint(got, " ", body, err)
		return err == nil && got == status && strings.Contains(body, words)
	})
}

func (w *world) play() {
	w.t.Helper()
	if err := w.Play(); err != nil {
		w.t.Fatal(err)
	}
}

// hold has the kubelet say that these hold devices, and no others.
func (w *world) hold(holders ...podresources.Holder) {
	w.holders = holders
	w.Kubelet.Set(holders)
}

// process puts a process of a pod's container on the node, known by its logs. uid has the form of a pod's UID.
func (w *world) process(pid int, pod, container string) {
	w.t.Helper()
	uid, id := fmt.Sprintf("5fd4f087-86f3-7a43-b711-%012x", len(pod)<<20+int(pod[len(pod)-1])), fmt.Sprintf("%064x", pid)
	cgroup := fmt.Sprintf("0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod%s.slice/cri-containerd-%s.scope\n", strings.ReplaceAll(uid, "-", "_"), id)
	if err := w.Process(pid, cgroup); err != nil {
		w.t.Fatal(err)
	}
	if err := w.Logs("default", pod, uid, container, id); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) take(b telemetry.Batch) *telemetrypb.Ack {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.batches = append(w.batches, b)
	return &telemetrypb.Ack{NodeDraining: w.draining, ReportIntervalMilliseconds: uint32(w.report.Milliseconds())}
}

// batch waits for a batch of which the condition holds, from now on.
func (w *world) batch(what string, holds func(telemetry.Batch) bool) telemetry.Batch {
	w.t.Helper()
	w.mu.Lock()
	from := len(w.batches)
	w.mu.Unlock()
	var found telemetry.Batch
	w.eventually(what, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for ; from < len(w.batches); from++ {
			if holds(w.batches[from]) {
				found = w.batches[from]
				return true
			}
		}
		return false
	})
	return found
}

// patience is how long anything may take to come about; nothing is asserted of how soon it does.
const patience = 60 * time.Second

func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
	}
	w.t.Fatalf("never: %s", what)
}

// metrics reads the agent's /metrics.
func (w *world) metrics() map[string]*dto.MetricFamily {
	w.t.Helper()
	status, body, err := w.Get(w.t.Context(), "/metrics", "text/plain")
	if err != nil || status != 200 {
		w.t.Fatalf("/metrics: %d %v", status, err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	return families
}
