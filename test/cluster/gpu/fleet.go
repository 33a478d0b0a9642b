package gpu

import (
	"fmt"
	"strconv"
	"strings"
)

// Resources lists the device ids of every extended resource offered. A reference to a device that the scenario does not
// have, and an id that comes up twice in one resource, are errors.
func Resources(offers []Offer, fleet []Device) (map[string][]string, error) {
	resources := map[string][]string{}
	seen := map[[2]string]bool{}
	for _, o := range offers {
		if o.Form.isDRA() {
			continue
		}
		parts, err := o.parts(fleet)
		if err != nil {
			return nil, err
		}
		ids := resources[o.Resource] // a resource without a device is one with none, not one unknown
		for _, p := range parts {
			for _, id := range o.replicas(p.id(o.Form)) {
				if seen[[2]string{o.Resource, id}] {
					return nil, fmt.Errorf("offer of %s: device %s comes up twice", o.Resource, id)
				}
				seen[[2]string{o.Resource, id}] = true
				ids = append(ids, id)
			}
		}
		resources[o.Resource] = ids
	}
	return resources, nil
}

// DRADevice is one device of the DRA driver's ResourceSlices, with the attributes by which it can be told whose it is.
type DRADevice struct {
	// Name is unique in the node's pool.
	Name string
	// Type is "gpu" or "mig".
	Type string
	// UUID is empty for a dynamic MIG device; ParentUUID and Profile are empty for a GPU.
	UUID, ParentUUID, Profile string
	ProductName               string
	// MemoryBytes is 0 where the scenario does not say.
	MemoryBytes int64
}

// DRADevices lists the devices offered to ResourceClaims, under the errors of [Resources].
func DRADevices(offers []Offer, fleet []Device) ([]DRADevice, error) {
	var devices []DRADevice
	seen := map[string]bool{}
	for _, o := range offers {
		if !o.Form.isDRA() {
			continue
		}
		parts, err := o.parts(fleet)
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			d := p.draDevice(o.Form)
			if seen[d.Name] {
				return nil, fmt.Errorf("offer of %s: device %s comes up twice", o.Resource, d.Name)
			}
			seen[d.Name] = true
			devices = append(devices, d)
		}
	}
	return devices, nil
}

// part is a GPU, or a MIG instance of it.
type part struct {
	Device
	mig *MIGInstance // nil: the GPU
}

// parts finds what the references of an offer stand for.
func (o Offer) parts(fleet []Device) ([]part, error) {
	var found []part
	for _, ref := range o.Devices {
		before := len(found)
		for _, d := range fleet {
			whole := ref == "all" || ref == d.UUID || ref == strconv.Itoa(d.Index)
			if !o.Form.isMIG() {
				if whole {
					found = append(found, part{Device: d})
				}
				continue
			}
			for _, m := range d.MIG {
				if whole || ref == m.UUID || ref == fmt.Sprintf("%d.%d", d.Index, m.Index) {
					found = append(found, part{d, &m})
				}
			}
		}
		if len(found) == before && ref != "all" {
			return nil, fmt.Errorf("offer of %s: the scenario has no device %s of form %s", o.Resource, ref, o.Form)
		}
	}
	return found, nil
}

func (p part) id(form Form) string {
	switch form {
	case MIG:
		return p.mig.UUID
	case LegacyMIG:
		return fmt.Sprintf("MIG-%s/%d/%d", p.UUID, p.mig.GPUInstance, p.mig.ComputeInstance)
	case GKE:
		return fmt.Sprintf("nvidia%d", p.Minor)
	case GKEMIG:
		return fmt.Sprintf("nvidia%d/gi%d", p.Minor, p.mig.GPUInstance)
	default:
		return p.UUID
	}
}

// replicas are the ids under which a device can be held several times.
func (o Offer) replicas(id string) []string {
	if o.Replicas == 0 {
		return []string{id}
	}
	separator := "::"
	if o.Form == GKE || o.Form == GKEMIG {
		separator = "/vgpu"
	}
	var ids []string
	for n := range o.Replicas {
		ids = append(ids, id+separator+strconv.Itoa(n))
	}
	return ids
}

func (p part) draDevice(form Form) DRADevice {
	if form == DRA {
		return DRADevice{Name: fmt.Sprintf("gpu-%d", p.Minor), Type: "gpu", UUID: p.UUID, ProductName: p.Name,
			MemoryBytes: p.MemoryTotalBytes}
	}
	profile := strings.NewReplacer(".", "", "+", "-").Replace(p.mig.Profile)
	d := DRADevice{
		Name:       fmt.Sprintf("gpu-%d-mig-%s-%d-%d", p.Minor, profile, p.mig.profileID(), p.mig.PlacementStart),
		Type:       "mig",
		UUID:       p.mig.UUID,
		ParentUUID: p.UUID, Profile: p.mig.Profile, ProductName: p.Name,
		MemoryBytes: p.mig.MemoryTotalBytes,
	}
	if form == DRADynamicMIG {
		d.UUID = ""
	}
	return d
}

// profileID is the id of the instance's profile as `nvidia-smi mig -lgip` lists it: the same on A100, H100, H200 and B200
// (NVIDIA/mig-parted pull request 166).
func (m MIGInstance) profileID() int {
	size, _, _ := strings.Cut(m.Profile, "g.")
	if _, gpuSlices, ok := strings.Cut(size, "c."); ok {
		size = gpuSlices // 1c.3g.40gb is a compute instance within 3g.40gb
	}
	switch {
	case size == "7":
		return 0
	case size == "4":
		return 5
	case size == "3":
		return 9
	case size == "2":
		return 14
	case strings.Contains(m.Profile, "+"):
		return 20
	case m.PlacementSize > 1:
		return 15
	default:
		return 19
	}
}
