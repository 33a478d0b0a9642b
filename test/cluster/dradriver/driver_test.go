package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"

	"github.com/foretide/foretide/test/cluster/gpu"
)

func TestADeviceHasOnlyTheAttributesThatAreKnown(t *testing.T) {
	device := apiDevice(gpu.DRADevice{Name: "gpu-0-mig-1g10gb-19-0", Type: "mig", ParentUUID: "GPU-a", Profile: "1g.10gb"})
	got := map[string]string{}
	for name, attribute := range device.Attributes {
		got[string(name)] = *attribute.StringValue
	}
	if diff := cmp.Diff(map[string]string{"type": "mig", "parentUUID": "GPU-a", "profile": "1g.10gb"}, got); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if device.Capacity != nil {
		t.Errorf("capacity %v of a device of unknown size", device.Capacity)
	}
	whole := apiDevice(gpu.DRADevice{Name: "gpu-0", Type: "gpu", MemoryBytes: 80 << 30})
	if memory := whole.Capacity["memory"].Value; memory.String() != "80Gi" {
		t.Errorf("memory %s, want 80Gi", memory.String())
	}
}

func TestDevicesFillOnePoolInSlicesThatTheAPITakes(t *testing.T) {
	d := &driver{node: "node"}
	devices := make([]gpu.DRADevice, resourceapi.ResourceSliceMaxDevices+1)
	pools := d.resources(devices).Pools
	if len(pools) != 1 || len(pools["node"].Slices) != 2 || len(pools["node"].Slices[1].Devices) != 1 {
		t.Errorf("got %d pools, the node's with %d slices", len(pools), len(pools["node"].Slices))
	}
	if pools := d.resources(nil).Pools; len(pools) != 0 {
		t.Errorf("%d pools without a device", len(pools))
	}
}

func TestPrepareAnswersWithItsOwnDevicesOfEachClaim(t *testing.T) {
	share := types.UID("share")
	claim := &resourceapi.ResourceClaim{Status: resourceapi.ResourceClaimStatus{Allocation: &resourceapi.AllocationResult{
		Devices: resourceapi.DeviceAllocationResult{Results: []resourceapi.DeviceRequestAllocationResult{
			{Request: "gpu", Driver: gpu.DriverName, Pool: "node", Device: "gpu-0", ShareID: &share},
			{Request: "nic", Driver: "nic.example.com", Pool: "node", Device: "nic-0"},
		}}}}}
	claim.UID = "claim"
	d := &driver{logger: slog.New(slog.DiscardHandler)}
	got, err := d.PrepareResourceClaims(t.Context(), []*resourceapi.ResourceClaim{claim})
	want := map[types.UID]kubeletplugin.PrepareResult{"claim": {Devices: []kubeletplugin.Device{
		{Requests: []string{"gpu"}, PoolName: "node", DeviceName: "gpu-0", ShareID: &share}}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	released, err := d.UnprepareResourceClaims(t.Context(), []kubeletplugin.NamespacedObject{{UID: "claim"}})
	if diff := cmp.Diff(map[types.UID]error{"claim": nil}, released); err != nil || diff != "" {
		t.Errorf("release: error %v (-want +got):\n%s", err, diff)
	}
}

func TestTheDriverIsRegisteredOnceTheKubeletSaysSo(t *testing.T) {
	folder := t.TempDir()
	d := &driver{devicePluginFolder: folder, registeredFile: filepath.Join(folder, "registered"), logger: slog.New(slog.DiscardHandler)}
	if err := os.WriteFile(filepath.Join(folder, "kubelet.sock"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		method string
		err    error
		want   bool
	}{
		{"/pluginregistration.Registration/GetInfo", nil, false},
		{"/pluginregistration.Registration/NotifyRegistrationStatus", errors.New("the kubelet refuses it"), false},
		{"/pluginregistration.Registration/NotifyRegistrationStatus", nil, true},
	} {
		_, err := d.noteRegistered(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: tc.method}, func(context.Context, any) (any, error) { return nil, tc.err })
		if !errors.Is(err, tc.err) {
			t.Errorf("%s: error %v, want %v", tc.method, err, tc.err)
		}
		if got := gpu.Registered(d.registeredFile, folder); got != tc.want || d.doubtful.Load() != tc.want {
			t.Errorf("after %s (%v): registered %t, to be published again %t, want %t", tc.method, tc.err, got, d.doubtful.Load(), tc.want)
		}
	}
}
