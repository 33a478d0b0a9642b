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
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// ResourceName is what pods ask for.
const ResourceName = "nvidia.com/gpu"

// SocketName is the plugin's own socket in the kubelet's device-plugin folder.
const SocketName = "foretide-gpu.sock"

// pollInterval is how often the plugin looks for a new kubelet socket and a changed scenario.
const pollInterval = 500 * time.Millisecond

// Options wires a plugin.
type Options struct {
	// ScenarioPath is the file whose uuid lines are the devices.
	ScenarioPath string
	// Folder holds kubelet.sock and the plugin's own socket.
	Folder string
	// RegisteredFile, if set, holds the identity of the kubelet socket at which the plugin is registered now.
	RegisteredFile string
	// Logger receives registrations, allocations and changes.
	Logger *slog.Logger
}

// Plugin is a device plugin of the v1beta1 API.
type Plugin struct {
	api.UnimplementedDevicePluginServer
	opts Options

	mu      sync.Mutex
	uuids   []string
	changed chan struct{} // closed and replaced when uuids change
}

// New makes a plugin; Run serves it.
func New(opts Options) *Plugin {
	return &Plugin{opts: opts, changed: make(chan struct{})}
}

// Run serves until ctx ends. It registers with the kubelet, and again whenever the kubelet's socket is a new one:
// a kubelet that restarts clears the folder, the plugin's socket included, and forgets every plugin.
func (p *Plugin) Run(ctx context.Context) error {
	if err := p.noteRegistered(""); err != nil {
		return err
	}
	var stop func()
	var registered string // identity of the kubelet socket we are registered at
	defer func() {
		if stop != nil {
			stop()
		}
	}()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	lastErr := ""
	for {
		err := p.refresh()
		if now := socketIdentity(p.opts.Folder); err == nil && now != registered {
			if stop != nil {
				stop()
				stop, registered = nil, ""
			}
			if now != "" {
				stop, err = p.serveAndRegister(ctx)
				if err == nil {
					registered = now
					err = p.noteRegistered(now)
				}
			}
		}
		if err != nil && err.Error() != lastErr {
			p.opts.Logger.Warn("device plugin is not registered, trying again", "error", err)
		}
		lastErr = fmt.Sprint(err)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// refresh reads the scenario. While it is away the devices stay as they were last: a driver that is gone for a moment
// does not take the hardware out of the machine.
func (p *Plugin) refresh() error {
	uuids, err := ReadUUIDs(p.opts.ScenarioPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Equal(uuids, p.uuids) {
		return nil
	}
	p.opts.Logger.Info("devices changed", "count", len(uuids), "before", len(p.uuids))
	p.uuids = uuids
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

func (p *Plugin) devices() ([]*api.Device, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	devices := make([]*api.Device, 0, len(p.uuids))
	for _, uuid := range p.uuids {
		devices = append(devices, &api.Device{ID: uuid, Health: api.Healthy})
	}
	return devices, p.changed
}

// serveAndRegister listens on the plugin's socket and tells the kubelet of it; the function returned ends the serving.
func (p *Plugin) serveAndRegister(ctx context.Context) (func(), error) {
	path := filepath.Join(p.opts.Folder, SocketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, p)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(listener); err != nil {
			p.opts.Logger.Warn("device plugin stopped serving", "error", err)
		}
	}()
	stop := func() {
		server.Stop()
		<-served
	}
	if err := p.register(ctx); err != nil {
		stop()
		return nil, fmt.Errorf("register with kubelet: %w", err)
	}
	p.opts.Logger.Info("registered with kubelet", "resource", ResourceName)
	return stop, nil
}

func (p *Plugin) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := grpc.NewClient("unix://"+filepath.Join(p.opts.Folder, "kubelet.sock"),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = api.NewRegistrationClient(conn).Register(ctx, &api.RegisterRequest{
		Version:      api.Version,
		Endpoint:     SocketName,
		ResourceName: ResourceName,
	})
	return err
}

func (p *Plugin) noteRegistered(identity string) error {
	if p.opts.RegisteredFile == "" {
		return nil
	}
	return os.WriteFile(p.opts.RegisteredFile, []byte(identity), 0o644)
}

// Registered says whether the plugin that writes registeredFile is registered with the kubelet that listens in folder
// now, and not with one that is gone.
func Registered(registeredFile, folder string) bool {
	text, err := os.ReadFile(registeredFile)
	now := socketIdentity(folder)
	return err == nil && now != "" && string(text) == now
}

// socketIdentity tells one kubelet socket from its successor at the same path; empty when there is none.
func socketIdentity(folder string) string {
	info, err := os.Stat(filepath.Join(folder, "kubelet.sock"))
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d %d %d", stat.Dev, stat.Ino, stat.Ctim.Nano())
}

// GetDevicePluginOptions says that the plugin needs nothing beyond ListAndWatch and Allocate.
func (p *Plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

// ListAndWatch sends the devices now and after every change.
func (p *Plugin) ListAndWatch(_ *api.Empty, stream grpc.ServerStreamingServer[api.ListAndWatchResponse]) error {
	for {
		devices, changed := p.devices()
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

// Allocate hands the container the ids of its devices as NVIDIA's own plugin does: in NVIDIA_VISIBLE_DEVICES.
func (p *Plugin) Allocate(_ context.Context, req *api.AllocateRequest) (*api.AllocateResponse, error) {
	resp := &api.AllocateResponse{}
	for _, container := range req.ContainerRequests {
		ids := slices.Sorted(slices.Values(container.DevicesIds))
		p.opts.Logger.Info("allocated", "devices", ids)
		resp.ContainerResponses = append(resp.ContainerResponses, &api.ContainerAllocateResponse{
			Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": strings.Join(ids, ",")},
		})
	}
	return resp, nil
}
