package dcgm

import (
	"fmt"

	"github.com/NVIDIA/go-dcgm/pkg/dcgm"

	"github.com/foretide/foretide/pkg/telemetry"
)

// device is a GPU or a MIG instance as the host engine has it.
type device struct {
	telemetry.Device
	// entity is what the engine is asked about: of a MIG instance its GPU instance.
	entity dcgm.GroupEntityPair
	role   role
	// together says that several compute instances share the GPU instance: DCGM cannot tell them apart.
	together bool
}

func (d *device) String() string {
	if d.IsMIG() {
		return fmt.Sprintf("device %d instance %d/%d (%s)", d.Index, d.MIG.GPUInstance, d.MIG.ComputeInstance, d.UUID)
	}
	return fmt.Sprintf("device %d (%s)", d.Index, d.UUID)
}

// survey asks the engine which devices there are: each GPU, and after it its MIG instances. Problems name those that could not
// be identified. An error means that the engine does not answer.
func survey() (found []device, problems []string, err error) {
	gpus, err := dcgm.GetEntityGroupEntities(dcgm.FE_GPU)
	if err != nil {
		return nil, nil, err
	}
	hierarchy, err := dcgm.GetGPUInstanceHierarchy()
	if err != nil { // of a GPU there are samples all the same
		problems = append(problems, fmt.Sprintf("dcgm: MIG instances are not known: %v", err))
		hierarchy.Count = 0
	}
	parts := hierarchy.EntityList[:min(int(hierarchy.Count), len(hierarchy.EntityList))]
	for _, id := range gpus {
		gpu, size, err := identifyGPU(id)
		if err != nil {
			problems = append(problems, fmt.Sprintf("dcgm: GPU %d of the host engine: %v", id, err))
			continue
		}
		instances, trouble := instancesOf(gpu, size, parts)
		if len(instances) > 0 {
			gpu.role = rolePartitioned
		}
		found = append(append(found, gpu), instances...)
		problems = append(problems, trouble...)
	}
	return found, problems, nil
}

func identifyGPU(id uint) (d device, memory float64, err error) {
	d = device{entity: dcgm.GroupEntityPair{EntityGroupId: dcgm.FE_GPU, EntityId: id}, role: roleGPU}
	values, err := identity(d.entity, dcgm.DCGM_FI_DEV_UUID, dcgm.DCGM_FI_DEV_NAME, dcgm.DCGM_FI_DEV_PCI_BUSID,
		dcgm.DCGM_FI_DEV_NVML_INDEX, dcgm.DCGM_FI_DEV_MINOR_NUMBER, dcgm.DCGM_FI_DEV_FB_TOTAL)
	if err != nil {
		return d, 0, err
	}
	d.UUID, d.Model, d.PCIBusID = text(&values[0]), text(&values[1]), text(&values[2])
	if d.UUID == "" {
		return d, 0, fmt.Errorf("its UUID is not known")
	}
	d.Index = integer(&values[3], int(id))
	d.Minor = integer(&values[4], d.Index)
	return d, float64(integer(&values[5], 0)), nil
}

// instancesOf returns the MIG instances of a GPU: a compute instance each, with what is measured of its GPU instance.
func instancesOf(gpu device, memory float64, parts []dcgm.MigHierarchyInfo_v2) (found []device, problems []string) {
	for _, part := range parts {
		if part.Entity.EntityGroupId != dcgm.FE_GPU_I || part.Parent != gpu.entity {
			continue
		}
		var inside []dcgm.MigHierarchyInfo_v2
		for _, p := range parts {
			if p.Entity.EntityGroupId == dcgm.FE_GPU_CI && p.Parent == part.Entity {
				inside = append(inside, p)
			}
		}
		profile, size := describeInstance(part.Entity)
		for _, p := range inside {
			d := gpu
			d.entity, d.role, d.together = part.Entity, roleInstance, len(inside) > 1
			d.MIG = telemetry.MIG{ParentUUID: gpu.UUID, GPUInstance: int(part.Info.NvmlInstanceId),
				ComputeInstance: int(p.Info.NvmlComputeInstanceId), Profile: profile, Placement: -1}
			if memory > 0 {
				d.MIG.Share = min(size/memory, 1)
			}
			values, err := identity(p.Entity, dcgm.DCGM_FI_DEV_UUID)
			if err == nil {
				d.UUID = text(&values[0])
			}
			if err != nil || d.UUID == "" {
				problems = append(problems, fmt.Sprintf("%s: the UUID of its MIG instance %d/%d is not known", &gpu,
					d.MIG.GPUInstance, d.MIG.ComputeInstance))
				continue
			}
			found = append(found, d)
		}
	}
	return found, problems
}

// describeInstance says what can be known of a GPU instance beyond its number. DCGM gives the profile as its name: 1g.10gb.
func describeInstance(entity dcgm.GroupEntityPair) (profile string, memory float64) {
	values, err := identity(entity, dcgm.DCGM_FI_DEV_NAME, dcgm.DCGM_FI_DEV_FB_TOTAL)
	if err != nil {
		return "", 0
	}
	return text(&values[0]), float64(integer(&values[1], 0))
}

// driverVersion is empty when it cannot be had.
func driverVersion(of device) string {
	values, err := identity(of.entity, dcgm.DCGM_FI_DRIVER_VERSION)
	if err != nil {
		return ""
	}
	return text(&values[0])
}

// identity asks for fields that are not watched, as they are now. There are as many values as fields, in their order.
func identity(of dcgm.GroupEntityPair, fields ...dcgm.Short) ([]dcgm.FieldValue_v2, error) {
	return dcgm.EntitiesGetLatestValues([]dcgm.GroupEntityPair{of}, fields, dcgm.DCGM_FV_FLAG_LIVE_DATA)
}

func integer(v *dcgm.FieldValue_v2, otherwise int) int {
	if v.Status != dcgm.DCGM_ST_OK || v.FieldType != dcgm.DCGM_FT_INT64 || v.Int64() < 0 || dcgm.IsInt64Blank(v.Int64()) {
		return otherwise
	}
	return int(v.Int64())
}
