package gpu

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// kubelet is the kubelet's side of registration, on a real socket.
type kubelet struct {
	api.UnimplementedRegistrationServer
	requests chan *api.RegisterRequest
}

func (k *kubelet) Register(_ context.Context, req *api.RegisterRequest) (*api.Empty, error) {
	k.requests <- req
	return &api.Empty{}, nil
}

// next is the next registration.
func (k *kubelet) next(t *testing.T) *api.RegisterRequest {
	t.Helper()
	select {
	case req := <-k.requests:
		return req
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is registered")
		return nil
	}
}

func startKubelet(t *testing.T, folder string) (*kubelet, func()) {
	t.Helper()
	path := filepath.Join(folder, "kubelet.sock")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	k := &kubelet{requests: make(chan *api.RegisterRequest, 8)}
	server := grpc.NewServer()
	api.RegisterRegistrationServer(server, k)
	go func() { _ = server.Serve(listener) }()
	return k, server.Stop
}

// harness is a plugin that runs on files and sockets in one folder.
type harness struct {
	folder, scenario, offers, registered string
}

func startPlugin(t *testing.T, offers string) harness {
	t.Helper()
	folder, err := os.MkdirTemp("", "gpu") // a test's own folder carries its name, too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	h := harness{folder, filepath.Join(folder, "scenario.ini"), filepath.Join(folder, "offer.ini"), filepath.Join(folder, "registered")}
	if err := EnsureScenario(h.scenario, 3); err != nil {
		t.Fatal(err)
	}
	if offers != "" {
		write(t, h.offers, offers)
	}
	plugin := New(Options{ScenarioPath: h.scenario, OfferPath: h.offers, Folder: folder, RegisteredFile: h.registered,
		Logger: slog.New(slog.DiscardHandler)})
	done := make(chan error)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- plugin.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return h
}

// write replaces a file in one step, so that the plugin reads the old text or the new one.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func (h harness) dial(t *testing.T, resource string) api.DevicePluginClient {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+filepath.Join(h.folder, SocketName(resource)), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return api.NewDevicePluginClient(conn)
}

func (h harness) watch(t *testing.T, resource string) grpc.ServerStreamingClient[api.ListAndWatchResponse] {
	t.Helper()
	stream, err := h.dial(t, resource).ListAndWatch(t.Context(), &api.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func TestPluginRegistersAgainWithANewKubelet(t *testing.T) {
	h := startPlugin(t, "")
	first, stop := startKubelet(t, h.folder)
	req := first.next(t)
	if req.ResourceName != ResourceName || req.Version != api.Version || req.Endpoint != SocketName(ResourceName) {
		t.Errorf("registered as %v", req)
	}
	stop()
	second, stopSecond := startKubelet(t, h.folder)
	defer stopSecond()
	second.next(t)

	stream := h.watch(t, ResourceName)
	if got := deviceIDs(t, stream); !slices.Equal(got, []string{UUID(0), UUID(1), UUID(2)}) {
		t.Errorf("devices %v", got)
	}
	write(t, h.scenario, "[device 0]\nuuid=other\n")
	if got := deviceIDs(t, stream); !slices.Equal(got, []string{"other"}) {
		t.Errorf("devices after the change %v", got)
	}
}

func TestPluginServesEachResourceOfTheOfferFileAndWithdrawsThoseThatVanish(t *testing.T) {
	h := startPlugin(t, "nvidia.com/gpu=whole 0\nnvidia.com/gpu.shared=whole 1 replicas=2\n")
	kubelet, stop := startKubelet(t, h.folder)
	defer stop()
	var names []string
	for range 2 {
		names = append(names, kubelet.next(t).ResourceName)
	}
	// A kubelet that has bound its socket and does not listen on it yet refuses the first, which is then tried again.
	slices.Sort(names)
	if want := []string{"nvidia.com/gpu", "nvidia.com/gpu.shared"}; !slices.Equal(names, want) {
		t.Fatalf("registered %v, want %v", names, want)
	}
	whole, shared := h.watch(t, "nvidia.com/gpu"), h.watch(t, "nvidia.com/gpu.shared")
	if got := deviceIDs(t, whole); !slices.Equal(got, []string{UUID(0)}) {
		t.Errorf("whole: %v", got)
	}
	if got := deviceIDs(t, shared); !slices.Equal(got, []string{UUID(1) + "::0", UUID(1) + "::1"}) {
		t.Errorf("shared: %v", got)
	}

	write(t, h.offers, "nvidia.com/gpu.shared=whole 1 replicas=3\nexample.com/gpu=gke 2\n")
	if got := kubelet.next(t).ResourceName; got != "example.com/gpu" {
		t.Errorf("registered %s, want the new resource alone", got)
	}
	if got := deviceIDs(t, shared); len(got) != 3 {
		t.Errorf("shared after the change: %v, want three replicas", got)
	}
	if _, err := whole.Recv(); err == nil {
		t.Error("a resource that left the file is still served")
	}
	sockets, err := Sockets(h.folder)
	want := []string{filepath.Join(h.folder, SocketName("example.com/gpu")), filepath.Join(h.folder, SocketName("nvidia.com/gpu.shared"))}
	if err != nil || !slices.Equal(sockets, want) {
		t.Errorf("sockets %v, %v, want %v", sockets, err, want)
	}
}

func TestAWrongOfferFileKeepsWhatWasOfferedEvenFromANewKubelet(t *testing.T) {
	h := startPlugin(t, "nvidia.com/gpu=whole 0\n")
	first, stop := startKubelet(t, h.folder)
	first.next(t)
	write(t, h.offers, "nvidia.com/gpu=hole 0\n")
	stop()
	second, stopSecond := startKubelet(t, h.folder)
	defer stopSecond()
	second.next(t)
	if got := deviceIDs(t, h.watch(t, "nvidia.com/gpu")); !slices.Equal(got, []string{UUID(0)}) {
		t.Errorf("devices %v", got)
	}
}

func TestAllocateNamesEachDeviceOnceAndWithoutItsReplica(t *testing.T) {
	r := newResource("nvidia.com/gpu.shared", Options{Logger: slog.New(slog.DiscardHandler)})
	resp, err := r.Allocate(t.Context(), &api.AllocateRequest{ContainerRequests: []*api.ContainerAllocateRequest{
		{DevicesIds: []string{"GPU-b::1", "GPU-a::0", "GPU-b::0"}}, {DevicesIds: []string{"MIG-GPU-a/1/0"}}}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, container := range resp.ContainerResponses {
		got = append(got, container.Envs["NVIDIA_VISIBLE_DEVICES"])
	}
	if want := []string{"GPU-a,GPU-b", "MIG-GPU-a/1/0"}; !slices.Equal(got, want) {
		t.Errorf("NVIDIA_VISIBLE_DEVICES %q, want %q", got, want)
	}
}

func deviceIDs(t *testing.T, stream grpc.ServerStreamingClient[api.ListAndWatchResponse]) []string {
	t.Helper()
	resp, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, device := range resp.Devices {
		ids = append(ids, device.ID)
	}
	return ids
}

func TestRegisteredNeedsTheKubeletThatListensNow(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "registered")
	if Registered(file, folder) {
		t.Error("registered without a file and a kubelet")
	}
	_, stop := startKubelet(t, folder)
	defer stop()
	if err := os.WriteFile(file, []byte(socketIdentity(folder)), 0o644); err != nil {
		t.Fatal(err)
	}
	if !Registered(file, folder) {
		t.Error("not registered with the kubelet that listens")
	}
	if err := os.WriteFile(file, []byte("1 2 3"), 0o644); err != nil {
		t.Fatal(err)
	}
	if Registered(file, folder) {
		t.Error("registered with a kubelet that is gone")
	}
}
