package gpu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// socketPrefix begins the names of the plugin's own sockets in the kubelet's device-plugin folder.
const socketPrefix = "foretide-"

// SocketName is the plugin's socket for one resource.
func SocketName(resource string) string {
	return socketPrefix + strings.ReplaceAll(resource, "/", "_") + ".sock"
}

// Sockets lists the plugin's sockets in folder, those that a killed plugin left behind among them.
func Sockets(folder string) ([]string, error) {
	return filepath.Glob(filepath.Join(folder, socketPrefix+"*.sock"))
}

// resource serves one extended resource by the v1beta1 API, on a socket of its own: the kubelet knows a plugin as the pair
// of both.
type resource struct {
	api.UnimplementedDevicePluginServer
	name   string
	folder string
	logger *slog.Logger
	// end ends the serving; nil while nothing is served.
	end func()

	mu      sync.Mutex
	ids     []string
	changed chan struct{} // closed and replaced when ids change
}

func newResource(name string, opts Options) *resource {
	return &resource{name: name, folder: opts.Folder, logger: opts.Logger.With("resource", name), changed: make(chan struct{})}
}

func (r *resource) set(ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Equal(ids, r.ids) {
		return
	}
	r.logger.Info("devices changed", "count", len(ids), "before", len(r.ids))
	r.ids = ids
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *resource) devices() ([]*api.Device, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	devices := make([]*api.Device, 0, len(r.ids))
	for _, id := range r.ids {
		devices = append(devices, &api.Device{ID: id, Health: api.Healthy})
	}
	return devices, r.changed
}

// serve listens on the resource's socket and tells the kubelet of it, unless that is done.
func (r *resource) serve(ctx context.Context) error {
	if r.end != nil {
		return nil
	}
	path := filepath.Join(r.folder, SocketName(r.name))
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("%s: listen: %w", r.name, err)
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, r)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(listener); err != nil {
			r.logger.Warn("device plugin stopped serving", "error", err)
		}
	}()
	r.end = func() {
		server.Stop()
		<-served
	}
	if err := r.register(ctx); err != nil {
		r.stop()
		return fmt.Errorf("%s: register with kubelet: %w", r.name, err)
	}
	r.logger.Info("registered with kubelet")
	return nil
}

// stop ends the serving; the kubelet then offers none of the resource, and forgets it after some minutes.
func (r *resource) stop() {
	if r.end != nil {
		r.end()
		r.end = nil
	}
}

func (r *resource) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := grpc.NewClient("unix://"+filepath.Join(r.folder, "kubelet.sock"),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = api.NewRegistrationClient(conn).Register(ctx, &api.RegisterRequest{
		Version:      api.Version,
		Endpoint:     SocketName(r.name),
		ResourceName: r.name,
	})
	return err
}

// GetDevicePluginOptions says that the plugin needs nothing beyond ListAndWatch and Allocate.
func (r *resource) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

// ListAndWatch sends the devices now and after every change.
func (r *resource) ListAndWatch(_ *api.Empty, stream grpc.ServerStreamingServer[api.ListAndWatchResponse]) error {
	for {
		devices, changed := r.devices()
		if err := stream.Send(&api.ListAndWatchResponse{Devices: devices}); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}

// Allocate hands the container the ids of its devices as NVIDIA's own plugin does: in NVIDIA_VISIBLE_DEVICES, each once
// and without its replica's number.
func (r *resource) Allocate(_ context.Context, req *api.AllocateRequest) (*api.AllocateResponse, error) {
	resp := &api.AllocateResponse{}
	for _, container := range req.ContainerRequests {
		r.logger.Info("allocated", "devices", container.DevicesIds)
		var ids []string
		for _, id := range container.DevicesIds {
			id, _, _ = strings.Cut(id, "::")
			ids = append(ids, id)
		}
		slices.Sort(ids)
		resp.ContainerResponses = append(resp.ContainerResponses, &api.ContainerAllocateResponse{
			Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": strings.Join(slices.Compact(ids), ",")},
		})
	}
	return resp, nil
}
