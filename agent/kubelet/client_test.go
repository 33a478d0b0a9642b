package kubelet

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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

func dial(t *testing.T, socket string) *Client {
	t.Helper()
	c, err := New(Options{SocketPath: socket, ResourceNames: []string{"nvidia.com/gpu", "nvidia.com/gpu.shared"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask asks until the answer is the expected one: after a restart the connection takes its moment.
func ask(t *testing.T, c *Client, want func(map[string][]telemetry.Owner, error) bool) {
	t.Helper()
	for t.Context().Err() == nil {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		owners, _, err := c.Owners(ctx)
		cancel()
		if want(owners, err) {
			return
		}
	}
	t.Fatal("the test ended first")
}

func TestOwnersOfWholeGPUsAreFound(t *testing.T) {
	s := &server{answer: always(
		pod("a", "model", "nvidia.com/gpu", "GPU-1", "GPU-2"),
		pod("b", "model", "nvidia.com/gpu", "GPU-3"),
		pod("other", "x", "example.com/fpga", "GPU-4"),
		&podresources.PodResources{Namespace: "ns", Name: "none"},
	)}
	socket := filepath.Join(t.TempDir(), "k.sock")
	s.serve(t, socket)
	c := dial(t, socket)
	for range 3 {
		got, problems, err := c.Owners(t.Context())
		if err != nil || problems != nil {
			t.Fatalf("error %v, problems %q", err, problems)
		}
		a, b := telemetry.Owner{Namespace: "ns", Pod: "a", Container: "model"}, telemetry.Owner{Namespace: "ns", Pod: "b", Container: "model"}
		if d := cmp.Diff(map[string][]telemetry.Owner{"GPU-1": {a}, "GPU-2": {a}, "GPU-3": {b}}, got); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
	}
	if s.conns.Load() != 1 || s.calls.Load() != 3 {
		t.Errorf("%d connections for %d calls; want one for three", s.conns.Load(), s.calls.Load())
	}
}

func TestSharedDeviceHasSeveralOwners(t *testing.T) {
	s := &server{answer: always(pod("a", "y", "nvidia.com/gpu", "GPU-1"), pod("a", "x", "nvidia.com/gpu", "GPU-1"),
		pod("a", "y", "nvidia.com/gpu", "GPU-1"))}
	socket := filepath.Join(t.TempDir(), "k.sock")
	s.serve(t, socket)
	got, _, err := dial(t, socket).Owners(t.Context())
	if err != nil || len(got["GPU-1"]) != 2 || got["GPU-1"][0].Container != "x" {
		t.Errorf("owners = %v, %v; want x and y, the repeated one once", got["GPU-1"], err)
	}
}

func TestDevicesThatAreNoWholeGPUAreCountedAndLeftOut(t *testing.T) {
	ids := []string{"MIG-5fd4", "GPU-1::3", "nvidia0", "nvidia0/gi0", "all", "MIG-GPU-1/7/0"}
	s := &server{answer: always(pod("a", "x", "nvidia.com/gpu", append(ids, "GPU-9")...), pod("b", "x", "nvidia.com/gpu.shared", "GPU-2::0"))}
	socket := filepath.Join(t.TempDir(), "k.sock")
	s.serve(t, socket)
	got, problems, err := dial(t, socket).Owners(t.Context())
	if err != nil || len(got) != 1 || len(got["GPU-9"]) != 1 {
		t.Errorf("owners = %v, %v; want GPU-9 alone", got, err)
	}
	if d := cmp.Diff([]string{
		"kubelet: nvidia.com/gpu: 6 devices have an id that is not understood (want GPU-<uuid>): not attributed",
		"kubelet: nvidia.com/gpu.shared: 1 device has an id that is not understood (want GPU-<uuid>): not attributed",
	}, problems); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestMissingSocketIsExplainedAndFoundWhenItComes(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "k.sock")
	c := dial(t, socket)
	_, _, err := c.Owners(t.Context())
	if err == nil || !strings.Contains(err.Error(), socket+" does not exist") {
		t.Errorf("error = %v; want one that names the socket", err)
	}
	s := &server{answer: always(pod("a", "x", "nvidia.com/gpu", "GPU-1"))}
	s.serve(t, socket)
	ask(t, c, func(o map[string][]telemetry.Owner, err error) bool { return err == nil && len(o) == 1 })
}

func TestRestartedKubeletIsFoundAgain(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "k.sock")
	stop := (&server{answer: always(pod("a", "x", "nvidia.com/gpu", "GPU-1"))}).serve(t, socket)
	c := dial(t, socket)
	ask(t, c, func(o map[string][]telemetry.Owner, err error) bool { return err == nil && len(o) == 1 })
	stop()
	ask(t, c, func(_ map[string][]telemetry.Owner, err error) bool { return err != nil })
	(&server{answer: always()}).serve(t, socket)
	ask(t, c, func(o map[string][]telemetry.Owner, err error) bool { return err == nil && len(o) == 0 })
}

func TestSilentKubeletEndsAtTheDeadline(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "k.sock")
	(&server{answer: func(ctx context.Context) (*podresources.ListPodResourcesResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}).serve(t, socket)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := dial(t, socket).Owners(ctx); err == nil || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("error = %v", err)
	}
}

func TestRateLimitIsNamed(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "k.sock")
	(&server{answer: func(context.Context) (*podresources.ListPodResourcesResponse, error) {
		return nil, status.Error(codes.ResourceExhausted, "rejected by rate limit")
	}}).serve(t, socket)
	if _, _, err := dial(t, socket).Owners(t.Context()); err == nil || !strings.Contains(err.Error(), "rate limit") {
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
	if got, _, err := dial(t, socket).Owners(t.Context()); err != nil || len(got) != 600 {
		t.Errorf("%d owners, %v; want 600", len(got), err)
	}
}
