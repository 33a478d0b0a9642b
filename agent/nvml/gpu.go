package nvml

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/lane"
	"github.com/foretide/foretide/pkg/telemetry"
)

// gpu is one place in NVML's enumeration: the GPU that is there, and its MIG instances. What follows the blank line belongs to
// the job that runs in the lane.
type gpu struct {
	index int
	lane  lane.Lane[outcome]
	// known is what was read here last, for messages while the lane is busy.
	known telemetry.Device

	whole *target // nil until it was identified
	parts []*target
}

// outcome is what one reading of a GPU gave.
type outcome struct {
	samples  []telemetry.Sample
	problems []string
	// loss is why the GPU as a whole could not be read; empty when it could.
	loss string
}

// read reads the GPU and its MIG instances.
func (g *gpu) read(r *Reader, now time.Time) outcome {
	var handle nvml.Device
	ret := timed(r.observe, "nvmlDeviceGetHandleByIndex", func() (ret nvml.Return) { handle, ret = r.lib.api.DeviceGetHandleByIndex(g.index); return ret })
	if ret == nvml.SUCCESS {
		ret = g.identify(r, handle)
	}
	if ret != nvml.SUCCESS {
		return g.lost(r, ret)
	}
	instances, problems, ret := g.instances(r, handle, now)
	if ret != nvml.SUCCESS {
		return g.lost(r, ret)
	}
	families := ofGPU
	if len(instances) > 0 {
		families = ofPartitioned
	}
	out := outcome{problems: problems}
	sample, problems, ret := g.whole.read(families, now)
	if ret != nvml.SUCCESS {
		return g.lost(r, ret)
	}
	out.samples, out.problems = append(out.samples, sample), append(out.problems, problems...)
	for _, t := range instances {
		sample, problems, ret := t.read(ofInstance, now)
		for _, p := range problems {
			if !slices.Contains(out.problems, p) {
				out.problems = append(out.problems, p)
			}
		}
		if ret != nvml.SUCCESS { // it went away between two calls
			out.problems = append(out.problems, fmt.Sprintf("%s: %v", describe(t.device), ret))
			continue
		}
		out.samples = append(out.samples, sample)
	}
	return out
}

// lost says why the GPU cannot be read, with the error it was last heard of.
func (g *gpu) lost(r *Reader, ret nvml.Return) outcome {
	loss := fmt.Sprintf("device %d: %v", g.index, ret)
	if g.whole != nil {
		loss = fmt.Sprintf("%s: %v", describe(g.whole.device), ret)
		if x, heard := r.xids.of(g.whole.device.UUID); heard && x.last != 0 {
			loss += fmt.Sprintf(" (last XID %d)", x.last)
		}
	}
	return outcome{problems: []string{loss}, loss: loss}
}

// identify finds out which GPU a handle is. The index alone does not say: enumeration may change under us. Of a GPU that was
// not here before nothing is remembered.
func (g *gpu) identify(r *Reader, handle nvml.Device) nvml.Return {
	var uuid string
	if ret := timed(r.observe, "nvmlDeviceGetUUID", func() (ret nvml.Return) { uuid, ret = handle.GetUUID(); return ret }); ret != nvml.SUCCESS {
		return ret
	}
	if g.whole != nil && g.whole.device.UUID == uuid {
		g.whole.handle = handle
		return nvml.SUCCESS
	}
	d := telemetry.Device{UUID: uuid, Index: g.index, Minor: g.index}
	if r.lib.has("nvmlDeviceGetName") {
		model, ret := handle.GetName()
		if gone(ret) {
			return ret
		}
		d.Model = validText(model)
	}
	if r.lib.has("nvmlDeviceGetMinorNumber") {
		if minor, ret := handle.GetMinorNumber(); ret == nvml.SUCCESS {
			d.Minor = minor
		}
	}
	if r.lib.has("nvmlDeviceGetPciInfo") {
		if pci, ret := handle.GetPciInfo(); ret == nvml.SUCCESS {
			d.PCIBusID = pciBusID(pci)
		}
	}
	g.forget()
	g.whole = newTarget(r.lib, r.observe, d, handle, nil)
	return nvml.SUCCESS
}

// forget gives back what is held of the GPU. NVML must still be initialized.
func (g *gpu) forget() {
	for _, t := range g.parts {
		t.stopMonitor()
	}
	if g.whole != nil {
		g.whole.stopMonitor()
	}
	g.whole, g.parts = nil, nil
}

// pciBusID is domain:bus:device.function as DCGM writes it, with eight digits of domain.
func pciBusID(pci nvml.PciInfo) string {
	return fmt.Sprintf("%08X:%02X:%02X.0", pci.Domain, pci.Bus, pci.Device)
}

// name is what to call the GPU while its lane may be busy.
func (g *gpu) name() string {
	if g.known.UUID == "" {
		return fmt.Sprintf("device %d", g.index)
	}
	return describe(g.known)
}

// validText makes text fit for a wire that takes nothing but UTF-8.
func validText(text string) string { return strings.ToValidUTF8(text, "?") }
