package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/dynamic-resource-allocation/resourceslice"

	"github.com/foretide/foretide/test/cluster/gpu"
)

// pollInterval is how often the driver looks for a changed scenario or offer file.
const pollInterval = 500 * time.Millisecond

// driver is the driver of one node.
type driver struct {
	kubeconfig, node                   string
	scenarioPath, offerPath            string
	kubeletDir                         string
	devicePluginFolder, registeredFile string
	logger                             *slog.Logger
	// doubtful says that the ResourceSlices may not be those published last: a kubelet that starts deletes all of its node.
	doubtful atomic.Bool
}

// run serves the kubelet and keeps the ResourceSlices as the files say, until ctx ends.
func (d *driver) run(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", d.kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	data := filepath.Join(d.kubeletDir, "plugins", gpu.DriverName)
	if err := os.MkdirAll(data, 0o750); err != nil {
		return err
	}
	helper, err := kubeletplugin.Start(ctx, d,
		kubeletplugin.DriverName(gpu.DriverName),
		kubeletplugin.KubeClient(client),
		kubeletplugin.NodeName(d.node),
		kubeletplugin.RegistrarDirectoryPath(filepath.Join(d.kubeletDir, "plugins_registry")),
		kubeletplugin.PluginDataDirectoryPath(data),
		kubeletplugin.GRPCInterceptor(d.noteRegistered),
		kubeletplugin.HealthService(false),
	)
	if err != nil {
		return err
	}
	defer helper.Stop()
	return d.publish(ctx, helper)
}

// publish publishes the devices at first, whenever they change, and again to each new kubelet: by itself the library waits
// half a minute before it mends what others deleted. Without any device there is no ResourceSlice at all, not even one that
// an earlier driver left.
func (d *driver) publish(ctx context.Context, helper *kubeletplugin.Helper) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var published []gpu.DRADevice
	lastErr := ""
	d.doubtful.Store(true)
	for {
		devices, err := d.devices()
		// While the scenario is away the devices stay as they were last, as the device plugin's do.
		if err == nil && (d.doubtful.Swap(false) || !slices.Equal(devices, published)) {
			if err = helper.PublishResources(ctx, d.resources(devices)); err != nil {
				d.doubtful.Store(true)
			} else {
				d.logger.Info("published", "count", len(devices), "before", len(published))
				published = devices
			}
		}
		if err != nil && err.Error() != lastErr && !errors.Is(err, fs.ErrNotExist) {
			d.logger.Warn("devices are not published, trying again", "error", err)
		}
		lastErr = fmt.Sprint(err)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (d *driver) devices() ([]gpu.DRADevice, error) {
	fleet, err := gpu.ReadScenario(d.scenarioPath)
	if err != nil {
		return nil, err
	}
	offers, err := gpu.ReadOffers(d.offerPath)
	if err != nil {
		return nil, err
	}
	return gpu.DRADevices(offers, fleet)
}

// resources puts the devices into the node's one pool.
func (d *driver) resources(devices []gpu.DRADevice) resourceslice.DriverResources {
	if len(devices) == 0 {
		return resourceslice.DriverResources{}
	}
	var pool resourceslice.Pool
	for some := range slices.Chunk(devices, resourceapi.ResourceSliceMaxDevices) {
		var slice resourceslice.Slice
		for _, device := range some {
			slice.Devices = append(slice.Devices, apiDevice(device))
		}
		pool.Slices = append(pool.Slices, slice)
	}
	return resourceslice.DriverResources{Pools: map[string]resourceslice.Pool{d.node: pool}}
}

// apiDevice names the attributes as NVIDIA's driver does; those that the scenario does not tell of are absent.
func apiDevice(d gpu.DRADevice) resourceapi.Device {
	device := resourceapi.Device{Name: d.Name, Attributes: map[resourceapi.QualifiedName]resourceapi.DeviceAttribute{}}
	for name, value := range map[resourceapi.QualifiedName]string{
		"type": d.Type, "uuid": d.UUID, "parentUUID": d.ParentUUID, "profile": d.Profile, "productName": d.ProductName,
	} {
		if value != "" {
			device.Attributes[name] = resourceapi.DeviceAttribute{StringValue: &value}
		}
	}
	if d.MemoryBytes > 0 {
		device.Capacity = map[resourceapi.QualifiedName]resourceapi.DeviceCapacity{
			"memory": {Value: *resource.NewQuantity(d.MemoryBytes, resource.BinarySI)},
		}
	}
	return device
}

// PrepareResourceClaims answers with the devices that the scheduler chose. There is nothing to prepare, and no CDI device
// either: containerd 1.6 knows none.
func (d *driver) PrepareResourceClaims(_ context.Context, claims []*resourceapi.ResourceClaim) (map[types.UID]kubeletplugin.PrepareResult, error) {
	results := map[types.UID]kubeletplugin.PrepareResult{}
	for _, claim := range claims {
		var result kubeletplugin.PrepareResult
		for _, device := range claim.Status.Allocation.Devices.Results {
			if device.Driver != gpu.DriverName {
				continue
			}
			result.Devices = append(result.Devices, kubeletplugin.Device{
				Requests: []string{device.Request}, PoolName: device.Pool, DeviceName: device.Device, ShareID: device.ShareID,
			})
			d.logger.Info("prepared", "claim", claim.Namespace+"/"+claim.Name, "device", device.Device)
		}
		results[claim.UID] = result
	}
	return results, nil
}

// UnprepareResourceClaims has nothing to undo.
func (d *driver) UnprepareResourceClaims(_ context.Context, claims []kubeletplugin.NamespacedObject) (map[types.UID]error, error) {
	results := map[types.UID]error{}
	for _, claim := range claims {
		results[claim.UID] = nil
	}
	return results, nil
}

// HandleError reports what goes wrong in the background; the library tries again by itself.
func (d *driver) HandleError(_ context.Context, err error, msg string) {
	d.logger.Error(msg, "error", err)
}

// WatchHealthStatus is never asked for: the health service is off.
func (d *driver) WatchHealthStatus(context.Context, chan<- kubeletplugin.DeviceHealthReport) error {
	return kubeletplugin.ErrHealthNotSupported
}

// noteRegistered remembers the kubelet that has just said that it knows the driver.
func (d *driver) noteRegistered(ctx context.Context, req any, call *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	resp, err := handle(ctx, req)
	if err == nil && d.registeredFile != "" && strings.HasSuffix(call.FullMethod, "/NotifyRegistrationStatus") {
		d.logger.Info("registered with kubelet")
		d.doubtful.Store(true)
		err = gpu.NoteRegistered(d.registeredFile, d.devicePluginFolder)
	}
	return resp, err
}
