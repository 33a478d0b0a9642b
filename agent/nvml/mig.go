package nvml

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/telemetry"
)

var migFunctions = []string{"nvmlDeviceGetMigMode", "nvmlDeviceGetMaxMigDeviceCount", "nvmlDeviceGetMigDeviceHandleByIndex",
	"nvmlDeviceGetGpuInstanceId", "nvmlDeviceGetComputeInstanceId"}

// instances returns the GPU's MIG instances as they are now: they may be made and removed at any time. What is remembered of
// one stays while it is there.
func (g *gpu) instances(r *Reader, handle nvml.Device, now time.Time) ([]*target, []string, nvml.Return) {
	t := g.whole
	if !r.lib.has(migFunctions...) || now.Before(t.unsupported["nvmlDeviceGetMigMode"]) {
		return nil, nil, nvml.SUCCESS
	}
	var mode int
	ret := t.timed("nvmlDeviceGetMigMode", func() (ret nvml.Return) { mode, _, ret = handle.GetMigMode(); return ret })
	switch {
	case notSupported(ret):
		t.unsupported["nvmlDeviceGetMigMode"] = now.Add(askAgain)
		return nil, nil, nvml.SUCCESS
	case gone(ret):
		return nil, nil, ret
	case ret != nvml.SUCCESS: // nothing says that it is not as before
		return g.parts, []string{fmt.Sprintf("%s: nvmlDeviceGetMigMode: %v", describe(t.device), ret)}, nvml.SUCCESS
	}
	var found []*target
	var problems []string
	if mode == nvml.DEVICE_MIG_ENABLE {
		slots, ret := handle.GetMaxMigDeviceCount()
		if gone(ret) {
			return nil, nil, ret
		}
		if ret != nvml.SUCCESS {
			return g.parts, []string{fmt.Sprintf("%s: nvmlDeviceGetMaxMigDeviceCount: %v", describe(t.device), ret)}, nvml.SUCCESS
		}
		for slot := range slots {
			part, ret := g.instance(r, handle, slot)
			switch {
			case ret == nvml.SUCCESS:
				found = append(found, part)
			case gone(ret):
				return nil, nil, ret
			case ret != nvml.ERROR_NOT_FOUND && ret != nvml.ERROR_INVALID_ARGUMENT: // an empty slot
				problems = append(problems, fmt.Sprintf("%s: MIG instance in slot %d: %v", describe(t.device), slot, ret))
			}
		}
	}
	if (len(found) > 0) != (len(g.parts) > 0) { // partitioned, or not any more: other things are supported now
		clear(t.unsupported)
	}
	for _, old := range g.parts {
		if !slices.Contains(found, old) {
			old.stopMonitor()
		}
	}
	g.parts = found
	return found, append(problems, sharedInstances(found)...), nvml.SUCCESS
}

// instance returns the MIG instance in a slot.
func (g *gpu) instance(r *Reader, gpuHandle nvml.Device, slot int) (*target, nvml.Return) {
	var handle nvml.Device
	ret := g.whole.timed("nvmlDeviceGetMigDeviceHandleByIndex", func() (ret nvml.Return) {
		handle, ret = gpuHandle.GetMigDeviceHandleByIndex(slot)
		return ret
	})
	if ret != nvml.SUCCESS {
		return nil, ret
	}
	uuid, ret := handle.GetUUID()
	if ret != nvml.SUCCESS {
		return nil, ret
	}
	for _, t := range g.parts {
		if t.device.UUID == uuid {
			t.handle, t.parent = handle, gpuHandle
			return t, nvml.SUCCESS
		}
	}
	d := g.whole.device
	d.MIG = telemetry.MIG{ParentUUID: d.UUID, Placement: -1}
	d.UUID = uuid
	if d.MIG.GPUInstance, ret = handle.GetGpuInstanceId(); ret != nvml.SUCCESS {
		return nil, ret
	}
	if d.MIG.ComputeInstance, ret = handle.GetComputeInstanceId(); ret != nvml.SUCCESS {
		return nil, ret
	}
	describeInstance(r, gpuHandle, handle, &d)
	return newTarget(r.lib, r.observe, d, handle, gpuHandle), nvml.SUCCESS
}

// describeInstance adds what can be known of an instance beyond its numbers. Each of these may need a privilege.
func describeInstance(r *Reader, gpuHandle, handle nvml.Device, d *telemetry.Device) {
	if r.lib.has("nvmlDeviceGetName") {
		// NVIDIA H100 80GB HBM3 MIG 1g.10gb
		if name, ret := handle.GetName(); ret == nvml.SUCCESS {
			if _, profile, ok := strings.Cut(name, " MIG "); ok {
				d.MIG.Profile = validText(profile)
			}
		}
	}
	if r.lib.has("nvmlDeviceGetGpuInstanceById", "nvmlGpuInstanceGetInfo") {
		if instance, ret := gpuHandle.GetGpuInstanceById(d.MIG.GPUInstance); ret == nvml.SUCCESS {
			if info, ret := instance.GetInfo(); ret == nvml.SUCCESS {
				d.MIG.Placement = int(info.Placement.Start)
			}
		}
	}
	d.MIG.Share = share(d.MIG.Profile, d.Model)
}

var computeSlices = regexp.MustCompile(`(?:^|[^0-9])([0-9])[cg]\.`)

// share is which part of its GPU's streaming multiprocessors an instance has: the first number of its profile, 1c.3g.40gb as 3g.40gb, of
// seven slices, or of four on the A30 (NVIDIA Multi-Instance GPU User Guide, supported profiles). 0 when the profile is not known.
func share(profile, model string) float64 {
	m := computeSlices.FindStringSubmatch(profile)
	if m == nil {
		return 0
	}
	slices := 7.0
	if strings.Contains(model, "A30") {
		slices = 4
	}
	return min(float64(m[1][0]-'0')/slices, 1)
}

// sharedInstances names the GPU instances that hold several compute instances: what the performance monitor says of them is
// of all together, so it is said of none.
func sharedInstances(parts []*target) []string {
	holders := map[int]int{}
	for _, t := range parts {
		holders[t.device.MIG.GPUInstance]++
	}
	var problems []string
	for _, t := range parts {
		n := holders[t.device.MIG.GPUInstance]
		t.together = n > 1
		if t.together && t.device.MIG.ComputeInstance == 0 {
			problems = append(problems, fmt.Sprintf("%s: its GPU instance is divided among %d compute instances, whose utilization cannot be told apart",
				describe(t.device), n))
		}
	}
	return problems
}
