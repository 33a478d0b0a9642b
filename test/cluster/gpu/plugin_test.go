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

func TestPluginRegistersAgainWithANewKubelet(t *testing.T) {
	folder := t.TempDir()
	scenario := filepath.Join(folder, "scenario.ini")
	if err := EnsureScenario(scenario, 3); err != nil {
		t.Fatal(err)
	}
	registered := filepath.Join(folder, "registered")
	plugin := New(Options{ScenarioPath: scenario, Folder: folder, RegisteredFile: registered, Logger: slog.New(slog.DiscardHandler)})
	done := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	first, stop := startKubelet(t, folder)
	go func() { done <- plugin.Run(ctx) }()

	req := <-first.requests
	if req.ResourceName != ResourceName || req.Version != api.Version || req.Endpoint != SocketName {
		t.Errorf("registered as %v", req)
	}
	stop()
	second, stopSecond := startKubelet(t, folder)
	defer stopSecond()
	<-second.requests

	conn, err := grpc.NewClient("unix://"+filepath.Join(folder, SocketName), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := api.NewDevicePluginClient(conn)
	stream, err := client.ListAndWatch(ctx, &api.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	if got := deviceIDs(t, stream); !slices.Equal(got, []string{UUID(0), UUID(1), UUID(2)}) {
		t.Errorf("devices %v", got)
	}
	if err := os.WriteFile(scenario, []byte("[device 0]\nuuid=other\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := deviceIDs(t, stream); !slices.Equal(got, []string{"other"}) {
		t.Errorf("devices after the change %v", got)
	}
	resp, err := client.Allocate(ctx, &api.AllocateRequest{ContainerRequests: []*api.ContainerAllocateRequest{{DevicesIds: []string{"b", "a"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.ContainerResponses[0].Envs["NVIDIA_VISIBLE_DEVICES"]; got != "a,b" {
		t.Errorf("NVIDIA_VISIBLE_DEVICES %q, want a,b", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
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
