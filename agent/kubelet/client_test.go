package kubelet

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/foretide/foretide/pkg/telemetry"
)

// server is a kubelet that answers with what was put in last.
type server struct {
	podresources.UnimplementedPodResourcesListerServer
	answer func(context.Context) (*podresources.ListPodResourcesResponse, error)
	calls  atomic.Int32
	conns  atomic.Int32
}

func (s *server) List(ctx context.Context, _ *podresources.ListPodResourcesRequest) (*podresources.ListPodResourcesResponse, error) {
	s.calls.Add(1)
	return s.answer(ctx)
}

func (s *server) serve(t *testing.T, socket string) (stop func()) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	podresources.RegisterPodResourcesListerServer(g, s)
	done := make(chan struct{})
	go func() { _ = g.Serve(&countingListener{listener, &s.conns}); close(done) }()
	stop = func() { g.Stop(); <-done }
	t.Cleanup(g.Stop)
	return stop
}

type countingListener struct {
	net.Listener
	n *atomic.Int32
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return c, err
}

func always(pods ...*podresources.PodResources) func(context.Context) (*podresources.ListPodResourcesResponse, error) {
	return func(context.Context) (*podresources.ListPodResourcesResponse, error) {
		return &podresources.ListPodResourcesResponse{PodResources: pods}, nil
	}
}

func pod(name, container, resource string, ids ...string) *podresources.PodResources {
	return &podresources.PodResources{Namespace: "ns", Name: name, Containers: []*podresources.ContainerResources{{
		Name: container, Devices: []*podresources.ContainerDevices{{ResourceName: resource, DeviceIds: ids}},
	}}}
}

func connect(t *testing.T, socket string) *Client {
	t.Helper()
	c, err := New(Options{SocketPath: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask asks until the answer is the expected one: after a restart the connection takes its moment.
func ask(t *testing.T, c *Client, want func([]telemetry.Holding, error) bool) {
	t.Helper()
	for t.Context().Err() == nil {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		holdings, err := c.Holdings(ctx)
		cancel()
		if want(holdings, err) {
			return
		}
	}
	t.Fatal("the test ended first")
}

// lines writes holdings as pod/container resource [pool:]id.
func lines(holdings []telemetry.Holding) []string {
	var text []string
	for _, h := range holdings {
		pool := ""
		if h.Pool != "" {
			pool = h.Pool + ":"
		}
		text = append(text, fmt.Sprintf("%s/%s/%s %s %s%s", h.Owner.Namespace, h.Owner.Pod, h.Owner.Container, h.Resource, pool, h.ID))
	}
	return text
}

func TestEveryFormOfIDIsToldAsItIs(t *testing.T) {
	s := &server{answer: always(
		pod("whole", "model", "nvidia.com/gpu", "GPU-2", "GPU-1"),
		pod("replica", "model", "nvidia.com/gpu", "GPU-3::1"),
		pod("renamed", "model", "nvidia.com/gpu.shared", "GPU-3::0"),
		pod("mixed", "model", "nvidia.com/mig-1g.10gb", "MIG-5fd4"),
		pod("old", "model", "nvidia.com/gpu", "MIG-GPU-1/7/0"),
		pod("gke", "model", "nvidia.com/gpu", "nvidia0/gi0"),
		pod("other", "model", "example.com/fpga", "GPU-4"),
		pod("longer", "model", "nvidia.com/gpuish", "GPU-5"),
		&podresources.PodResources{Namespace: "ns", Name: "none"},
	)}
	socket := filepath.Join(t.TempDir(), "k.sock")
	s.serve(t, socket)
	c := connect(t, socket)
	for range 3 {
		got, err := c.Holdings(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{
			"ns/gke/model nvidia.com/gpu nvidia0/gi0",
			"ns/mixed/model nvidia.com/mig-1g.10gb MIG-5fd4",
			"ns/old/model nvidia.com/gpu MIG-GPU-1/7/0",
			"ns/renamed/model nvidia.com/gpu.shared GPU-3::0",
			"ns/replica/model nvidia.com/gpu GPU-3::1",
			"ns/whole/model nvidia.com/gpu GPU-1",
			"ns/whole/model nvidia.com/gpu GPU-2",
		}, lines(got)); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
	}
	if s.conns.Load() != 1 || s.calls.Load() != 3 {
		t.Errorf("%d connections for %d calls; want one for three", s.conns.Load(), s.calls.Load())
	}
}

func TestDevicesOfClaimsAreToldByDriverPoolAndName(t *testing.T) {
	claim := func(driver, pool, device string) *podresources.DynamicResource {
		return &podresources.DynamicResource{ClaimName: "c", ClaimNamespace: "ns", ClaimResources: []*podresources.ClaimResource{
			{DriverName: driver, PoolName: pool, DeviceName: device, ShareId: proto.String("x")},
			{DriverName: driver, PoolName: pool, DeviceName: device}, // a second share of the same
		}}
	}
	s := &server{answer: always(&podresources.PodResources{Namespace: "ns", Name: "dra", Containers: []*podresources.ContainerResources{
		{Name: "model", DynamicResources: []*podresources.DynamicResource{
			claim("gpu.nvidia.com", "node-1", "gpu-0-mig-1g10gb-19-2"), claim("gpu.nvidia.com", "node-1", "gpu-0"),
			claim("compute-domain.nvidia.com", "node-1", "channel-0"), claim("gpu.nvidia.com", "node-1", ""),
		}},
	}})}
	socket := filepath.Join(t.TempDir(), "k.sock")
	s.serve(t, socket)
	got, err := connect(t, socket).Holdings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{
		"ns/dra/model gpu.nvidia.com node-1:gpu-0",
		"ns/dra/model gpu.nvidia.com node-1:gpu-0-mig-1g10gb-19-2",
	}, lines(got)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestSharedDeviceHasEachHolderOnce(t *testing.T) {
	s := &server{answer: always(pod("a", "y", "nvidia.com/gpu", "GPU-1"), pod("a", "x", "nvidia.com/gpu", "GPU-1"),
		pod("a", "y", "nvidia.com/gpu", "GPU-1"))}
	socket := filepath.Join(t.TempDir(), "k.sock")
	s.serve(t, socket)
	got, err := connect(t, socket).Holdings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"ns/a/x nvidia.com/gpu GPU-1", "ns/a/y nvidia.com/gpu GPU-1"}, lines(got)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestMissingSocketIsExplainedAndFoundWhenItComes(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "k.sock")
	c := connect(t, socket)
	_, err := c.Holdings(t.Context())
	if err == nil || !strings.Contains(err.Error(), socket+" does not exist") {
		t.Errorf("error = %v; want one that names the socket", err)
	}
	s := &server{answer: always(pod("a", "x", "nvidia.com/gpu", "GPU-1"))}
	s.serve(t, socket)
	ask(t, c, func(h []telemetry.Holding, err error) bool { return err == nil && len(h) == 1 })
}

func TestRestartedKubeletIsFoundAgain(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "k.sock")
	stop := (&server{answer: always(pod("a", "x", "nvidia.com/gpu", "GPU-1"))}).serve(t, socket)
	c := connect(t, socket)
	ask(t, c, func(h []telemetry.Holding, err error) bool { return err == nil && len(h) == 1 })
	stop()
	ask(t, c, func(_ []telemetry.Holding, err error) bool { return err != nil })
	(&server{answer: always()}).serve(t, socket)
	ask(t, c, func(h []telemetry.Holding, err error) bool { return err == nil && len(h) == 0 })
}

func TestSilentKubeletIsAskedOnceAndItsLateAnswerTaken(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "k.sock")
	speak := make(chan struct{})
	s := &server{answer: func(ctx context.Context) (*podresources.ListPodResourcesResponse, error) {
		select {
		case <-speak:
			return always(pod("a", "x", "nvidia.com/gpu", "GPU-1"))(ctx)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	s.serve(t, socket)
	c := connect(t, socket)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		if _, err := c.Holdings(ctx); err == nil || !strings.Contains(err.Error(), "no answer in time") {
			t.Errorf("error = %v", err)
		}
		cancel()
	}
	close(speak)
	if got, err := c.Holdings(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("holdings = %v, %v; want the late answer", got, err)
	}
	if s.calls.Load() != 1 {
		t.Errorf("the kubelet was asked %d times; want once", s.calls.Load())
	}
}

func TestRateLimitIsNamed(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "k.sock")
	(&server{answer: func(context.Context) (*podresources.ListPodResourcesResponse, error) {
		return nil, status.Error(codes.ResourceExhausted, "rejected by rate limit")
	}}).serve(t, socket)
	if _, err := connect(t, socket).Holdings(t.Context()); err == nil || !strings.Contains(err.Error(), "rate limit") {
		t.Errorf("error = %v", err)
	}
}

func TestAnswerOfManyMegabytesIsTaken(t *testing.T) {
	var pods []*podresources.PodResources
	for i := range 600 {
		pods = append(pods, pod(fmt.Sprintf("%d-%s", i, strings.Repeat("n", 10_000)), "x", "nvidia.com/gpu", fmt.Sprintf("GPU-%d", i)))
	}
	socket := filepath.Join(t.TempDir(), "k.sock")
	(&server{answer: always(pods...)}).serve(t, socket)
	if got, err := connect(t, socket).Holdings(t.Context()); err != nil || len(got) != 600 {
		t.Errorf("%d holdings, %v; want 600", len(got), err)
	}
}

func FuzzHoldings(f *testing.F) {
	for _, p := range []*podresources.PodResources{nil, pod("a", "x", "nvidia.com/gpu", "GPU-1", "GPU-1", ""), pod("", "x", "nvidia.com/mig-1g.5gb", "MIG-1")} {
		seed, err := proto.Marshal(&podresources.ListPodResourcesResponse{PodResources: []*podresources.PodResources{p}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	w := wanted{DefaultResourceNames(), DefaultDRADrivers()}
	f.Fuzz(func(t *testing.T, message []byte) {
		answer := &podresources.ListPodResourcesResponse{}
		if proto.Unmarshal(message, answer) != nil {
			return
		}
		got := w.holdings(answer)
		for i, h := range got {
			if h.ID == "" || h.Owner.Pod == "" || !w.resource(h.Resource) && !slices.Contains(w.drivers, h.Resource) {
				t.Errorf("holding %+v was not asked for", h)
			}
			if i > 0 && compareHoldings(got[i-1], h) >= 0 {
				t.Errorf("%+v is not after %+v", h, got[i-1])
			}
		}
	})
}
