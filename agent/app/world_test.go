package app

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
	"github.com/foretide/foretide/test/fakenvml"
	"github.com/foretide/foretide/test/node"
)

// world is everything around the agent, all of it real but for the GPUs: an NVML library with a scenario, a kubelet's socket,
// and an aggregator behind TLS.
type world struct {
	t        *testing.T
	dir      string
	scenario fakenvml.Scenario
	options  Options
	log      safeBuffer
	address  string // of the agent's /metrics
	probes   string // of its probes

	podresources.UnimplementedPodResourcesListerServer
	mu      sync.Mutex
	holders map[string]string // device → pod
	got     []telemetry.Batch
	mute    bool // the aggregator does not acknowledge
	drain   bool // it says that the node is being drained
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), scenario: fakenvml.Default(8), holders: map[string]string{}}
	w.options = DefaultOptions()
	w.options.NodeName = "node-1"
	w.options.SamplerInterval = minInterval
	w.options.KubeletSocketPath = filepath.Join(w.dir, "kubelet.sock")
	w.options.KubeletPodsSocketPath = filepath.Join(w.dir, "pods.sock")
	w.options.HostPodLogsPath, w.options.HostContainerLogsPath = filepath.Join(w.dir, "pods"), filepath.Join(w.dir, "containers")
	w.options.NVMLReleaseFile = filepath.Join(w.dir, "release-driver")
	// One library for all tests of this process: a process cannot change it. The scenario differs.
	folder, err := filepath.Abs("../../test/fakenvml/build")
	if err != nil {
		t.Fatal(err)
	}
	library, err := fakenvml.BuildLibrary(folder)
	if err != nil {
		t.Fatal(err)
	}
	w.options.NVMLLibraryPath = library
	t.Setenv(fakenvml.ScenarioEnv, filepath.Join(w.dir, fakenvml.ScenarioName))
	w.play()
	return w
}

func (w *world) play() {
	w.t.Helper()
	if err := w.scenario.Write(filepath.Join(w.dir, fakenvml.ScenarioName)); err != nil {
		w.t.Fatal(err)
	}
}

// startAgent runs the agent until the returned function is called, which gives Run's error.
func (w *world) startAgent() (stop func() error) {
	w.t.Helper()
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			w.t.Fatal(err)
		}
		return l
	}
	w.options.Listener, w.options.HealthListener = listen(), listen()
	w.address, w.probes = w.options.Listener.Addr().String(), w.options.HealthListener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, w.options, slog.New(slog.NewTextHandler(&w.log, nil))) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	w.t.Cleanup(func() { _ = stop() })
	return stop
}

func (w *world) startKubelet() {
	w.t.Helper()
	listener, err := net.Listen("unix", w.options.KubeletSocketPath)
	if err != nil {
		w.t.Fatal(err)
	}
	g := grpc.NewServer()
	podresources.RegisterPodResourcesListerServer(g, w)
	go func() { _ = g.Serve(listener) }()
	w.t.Cleanup(g.Stop)
}

// startAggregator listens on the address, an empty one takes a free port, and writes the certificate.
func (w *world) startAggregator(address string) (stop func()) {
	w.t.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	r, err := node.Receive(address, filepath.Join(w.dir, "ca.crt"), w.take)
	if err != nil {
		w.t.Fatal(err)
	}
	w.options.AggregatorAddress, w.options.AggregatorCAFile = r.Address, r.CAFile
	w.t.Cleanup(r.Stop)
	return r.Stop
}

// take is the aggregator's answer to a batch.
func (w *world) take(b telemetry.Batch) *telemetrypb.Ack {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = append(w.got, b)
	if w.mute {
		return nil
	}
	return &telemetrypb.Ack{ReportIntervalMilliseconds: uint32(minInterval.Milliseconds()), NodeDraining: w.drain}
}

// List implements the kubelet's API.
func (w *world) List(context.Context, *podresources.ListPodResourcesRequest) (*podresources.ListPodResourcesResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := &podresources.ListPodResourcesResponse{}
	for device, pod := range w.holders {
		out.PodResources = append(out.PodResources, &podresources.PodResources{Namespace: "default", Name: pod,
			Containers: []*podresources.ContainerResources{{Name: "model",
				Devices: []*podresources.ContainerDevices{{ResourceName: "nvidia.com/gpu", DeviceIds: []string{device}}}}}})
	}
	return out, nil
}

// batch waits for a batch of which the condition holds.
func (w *world) batch(what string, holds func(telemetry.Batch) bool) telemetry.Batch {
	w.t.Helper()
	var found telemetry.Batch
	w.eventually(what, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, b := range w.got {
			if holds(b) {
				found = b
				return true
			}
		}
		return false
	})
	return found
}

func (w *world) get(path string) (int, string) {
	w.t.Helper()
	address := w.probes
	if path == "/metrics" {
		address = w.address
	}
	response, err := http.Get("http://" + address + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	for w.t.Context().Err() == nil {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("never: %s", what)
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
