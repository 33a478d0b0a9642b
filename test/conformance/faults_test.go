//go:build conformance

package conformance

import (
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakenvml"
	"github.com/foretide/foretide/test/podresources"
)

// faults are the cases of what goes wrong around the agent. Steps of the wall clock are left to the sampler's own tests: the clock of a
// machine cannot be set for one of its processes.
func faults() []kase {
	const area = "faults"
	return []kase{
		{area, "a library that is missing is a state, and is used once it is there", scripted, missingLibrary},
		{area, "a library without a function the agent needs is named, and ends nothing", scripted, unusableLibrary},
		{area, "a driver that is not loaded makes the node unready while pods hold GPUs, and no other", scripted, driverNotLoaded},
		{area, "a driver that hangs in one GPU costs the others nothing; it is told, and over when it answers", scripted, hangingDevice},
		{area, "a GPU that falls off the bus costs the others nothing, and is read when it is back", scripted, lostDevice},
		{area, "MIG instances made anew under the agent are read under their new names", scripted, newInstances},
		{area, "a GPU put into MIG mode under the agent is read by instance", scripted, intoMIG},
		{area, "the driver is given back while the release file exists, and used again after", scripted, releaseFile},
		{area, "the driver is given back when the node is drained, once no pod holds a GPU", scripted, drainedNode},
		{area, "a driver that was upgraded is read by the agent begun anew in the same process", scripted, upgradedDriver},
		{area, "without the kubelet owners are unknown and not idle, and known again after", scripted, kubeletGone},
		{area, "the kubelet's rate limit is named", scripted, rateLimit},
		{area, "the latency of every NVML function is a histogram", scripted, callLatency},
		{area, "a slow driver does not make batches late", scripted, slowDriver},
		{area, "SIGTERM ends the agent in seconds, with every batch acknowledged", scripted, terminated},
	}
}

// state waits until the agent is in a state with NVML.
func (w *world) state(state string) {
	w.t.Helper()
	w.shows(1, "foretide_agent_nvml_state", "state", state)
}

// reads waits until devices are read.
func (w *world) reads(uuids ...string) telemetry.Batch {
	w.t.Helper()
	return w.batch("readings of "+strings.Join(uuids, ", "), func(b telemetry.Batch) bool {
		for _, uuid := range uuids {
			if r, there := reading(b, uuid); !there || len(r.Values) == 0 {
				return false
			}
		}
		return true
	})
}

func missingLibrary(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	library := w.Path(fakenvml.LibraryName)
	if err := os.Rename(library, library+".away"); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.state("library_missing")
	w.says("/healthz", 200, "library_missing")
	w.says("/readyz", 200, "library_missing")
	b := w.batch("what is missing", func(b telemetry.Batch) bool { return tells(b, "library not found") })
	if len(b.Readings) > 0 {
		t.Errorf("readings: %+v", b.Readings)
	}
	if err := os.Rename(library+".away", library); err != nil {
		t.Fatal(err)
	}
	w.reads(w.Scenario.Devices[0].UUID)
	w.state("ok")
}

func unusableLibrary(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	w.install(fakenvml.Variant{Without: []string{"nvmlDeviceGetUUID"}})
	w.start()
	w.batch("the function", func(b telemetry.Batch) bool { return tells(b, "it has no function nvmlDeviceGetUUID") })
	w.state("failed")
	w.says("/healthz", 200, "failed")
}

func driverNotLoaded(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	w.Scenario.InitError = 9
	w.play()
	w.start()
	w.state("driver_not_loaded")
	w.says("/readyz", 200, "driver_not_loaded")
	w.hold(holder("bert-0", "model", "nvidia.com/gpu", w.Scenario.Devices[0].UUID))
	w.says("/readyz", 503, "while 1 containers hold GPUs")
	w.says("/healthz", 200, "")
	w.batch("a holder of whom nothing is known", func(b telemetry.Batch) bool {
		return b.OwnersKnown && blank(b, "bert-0", w.Scenario.Devices[0].UUID) && tells(b, "kernel driver is not loaded")
	})
	w.Scenario.InitError = 0
	w.play()
	w.says("/readyz", 200, "1 readable")
	w.reads(w.Scenario.Devices[0].UUID)
}

func kubeletGone(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	uuid := w.Scenario.Devices[0].UUID
	holders := []podresources.Holder{holder("bert-0", "model", "nvidia.com/gpu", uuid)}
	w.hold(holders...)
	w.start()
	w.parts(uuid, map[string]float64{"bert-0": 0})
	w.Kubelet.Stop()
	b := w.batch("owners are not known", func(b telemetry.Batch) bool { return !b.OwnersKnown })
	if _, there := reading(b, uuid); !there || b.Usages != nil || !tells(b, "kubelet:") {
		t.Errorf("readings %v, usages %v, problems %q", b.Readings, b.Usages, b.Problems)
	}
	w.shows(0, "foretide_agent_kubelet_up")
	if _, shown := value(w.metrics(), "foretide_pod_utilization_ratio", "pod", "bert-0"); shown {
		t.Error("/metrics still says what the pod does")
	}
	var err error
	if w.Kubelet, err = podresources.Serve(w.Path("kubelet.sock")); err != nil {
		t.Fatal(err)
	}
	w.hold(holders...)
	w.batch("owners are known", func(b telemetry.Batch) bool { return b.OwnersKnown && len(b.Usages) == 1 })
}

func rateLimit(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	w.hold(holder("bert-0", "model", "nvidia.com/gpu", w.Scenario.Devices[0].UUID))
	w.start()
	w.batch("the owner", func(b telemetry.Batch) bool { return len(b.Usages) == 1 })
	w.Kubelet.Fail(status.Error(codes.ResourceExhausted, "rejected by rate limit"))
	w.batch("the limit is named", func(b telemetry.Batch) bool { return tells(b, "rate limit") && !b.OwnersKnown && len(b.Readings) == 1 })
	w.Kubelet.Fail(nil)
	w.batch("the owner again", func(b telemetry.Batch) bool { return len(b.Usages) == 1 })
}

func terminated(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 2))
	w.start()
	w.batch("the tenth batch", func(b telemetry.Batch) bool { return b.Sequence >= 10 })
	began := time.Now()
	if err := w.stop(); err != nil {
		t.Errorf("the agent ended with %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if strings.Contains(w.Log(), "has not acknowledged everything") || !strings.Contains(w.Log(), "agent stops") {
		t.Error("not everything was acknowledged")
	}
	for i, b := range w.received() {
		if b.Sequence != uint64(i+1) {
			t.Fatalf("batch %d has sequence %d", i+1, b.Sequence)
		}
	}
}
