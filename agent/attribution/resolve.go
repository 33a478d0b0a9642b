package attribution

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/foretide/foretide/pkg/telemetry"
)

// Claimed is what a DRA driver says of one of its devices, as far as it says it.
type Claimed struct {
	// UUID is the device's. A dynamic MIG device has none: it is made when a pod comes.
	UUID string
	// MIG tells a MIG device from a GPU. ParentUUID and Profile are empty, and Placement, its first memory slice, is -1 where they
	// are not known.
	MIG                 bool
	ParentUUID, Profile string
	Placement           int
	// Minor is the number in /dev/nvidia<Minor> of the GPU, -1 when it is not known.
	Minor int
}

// Resolve says which devices the holdings are of: owners by device UUID, each once and in alphabetical order. claimed looks up
// a DRA device. What matches no device is lost, by its id, and named, one problem for each resource; but a UUID is taken at its word, for
// its device may be one that was not read.
//
//	id                                  | who says so                                  | device
//	GPU-<uuid>, MIG-<uuid>              | NVIDIA's device plugin, HAMi                 | the one of that UUID
//	MIG-GPU-<uuid>/<gi>/<ci>            | the same with drivers before R470            | the GPU's instance of those numbers
//	nvidia0, nvidia0/gi1                | GKE's device plugin                          | by minor number, and by GPU instance
//	…::<n>, …/vgpu<n>                   | replica n of any of these: time-slicing, MPS | the device that is shared
//	all                                 | NVIDIA's device plugin on WSL                | every GPU
//	gpu-0, gpu-0-mig-1g10gb-19-2 (DRA)  | NVIDIA's DRA driver                          | by what its ResourceSlice says of that name
func Resolve(devices []telemetry.Device, holdings []telemetry.Holding, claimed func(telemetry.Holding) (Claimed, bool)) (owners, lost map[string][]telemetry.Owner, problems []string) {
	owners, lost = map[string][]telemetry.Owner{}, map[string][]telemetry.Owner{}
	odd := map[string][]telemetry.Holding{}
	for _, h := range holdings {
		uuids := resolve(devices, h, claimed)
		if len(uuids) == 0 {
			odd[h.Resource] = append(odd[h.Resource], h)
			lost[cmp.Or(h.ID, h.Resource)] = append(lost[cmp.Or(h.ID, h.Resource)], h.Owner)
		}
		for _, uuid := range uuids {
			if !slices.Contains(owners[uuid], h.Owner) {
				owners[uuid] = append(owners[uuid], h.Owner)
			}
		}
	}
	for _, holders := range owners {
		sortOwners(holders)
	}
	for _, resource := range slices.Sorted(maps.Keys(odd)) {
		first := odd[resource][0]
		problems = append(problems, fmt.Sprintf("attribution: %s: %d ids are of no device of this node, such as %q of %s: not attributed",
			resource, len(odd[resource]), first.ID, names([]telemetry.Owner{first.Owner})))
	}
	return owners, lost, problems
}

func resolve(devices []telemetry.Device, h telemetry.Holding, claimed func(telemetry.Holding) (Claimed, bool)) []string {
	if h.Pool != "" {
		c, ok := claimed(h)
		if !ok {
			return nil
		}
		return one(claimedDevice(devices, c))
	}
	id, _, _ := strings.Cut(h.ID, "::")
	switch {
	case strings.HasPrefix(id, "MIG-GPU-"):
		return one(legacyMIG(devices, id))
	case strings.HasPrefix(id, "GPU-"), strings.HasPrefix(id, "MIG-"):
		return []string{id}
	case id == "all":
		var uuids []string
		for _, d := range devices {
			if !d.IsMIG() {
				uuids = append(uuids, d.UUID)
			}
		}
		return uuids
	}
	return one(gke(devices, id))
}

func one(uuid string) []string {
	if uuid == "" {
		return nil
	}
	return []string{uuid}
}

func find(devices []telemetry.Device, match func(telemetry.Device) bool) string {
	if i := slices.IndexFunc(devices, match); i >= 0 {
		return devices[i].UUID
	}
	return ""
}

func legacyMIG(devices []telemetry.Device, id string) string {
	parts := strings.Split(strings.TrimPrefix(id, "MIG-"), "/")
	if len(parts) != 3 {
		return ""
	}
	gi, err1 := strconv.Atoi(parts[1])
	ci, err2 := strconv.Atoi(parts[2])
	if err1 != nil || err2 != nil {
		return ""
	}
	return find(devices, func(d telemetry.Device) bool {
		return d.MIG.ParentUUID == parts[0] && d.MIG.GPUInstance == gi && d.MIG.ComputeInstance == ci
	})
}

var gkeID = regexp.MustCompile(`^nvidia(\d+)(?:/gi(\d+))?(?:/vgpu\d+)?$`)

func gke(devices []telemetry.Device, id string) string {
	parts := gkeID.FindStringSubmatch(id)
	if parts == nil {
		return ""
	}
	minor, err := strconv.Atoi(parts[1])
	if err != nil {
		return ""
	}
	if parts[2] == "" {
		return gpuOf(devices, minor)
	}
	gi, err := strconv.Atoi(parts[2])
	if err != nil {
		return ""
	}
	return find(devices, func(d telemetry.Device) bool { return d.IsMIG() && d.Minor == minor && d.MIG.GPUInstance == gi })
}

func gpuOf(devices []telemetry.Device, minor int) string {
	return find(devices, func(d telemetry.Device) bool { return !d.IsMIG() && d.Minor == minor })
}

// claimedDevice finds a DRA device. A MIG device without a UUID is the instance of that profile on that GPU; where there are
// several, that at the placement.
func claimedDevice(devices []telemetry.Device, c Claimed) string {
	if c.UUID != "" {
		return c.UUID
	}
	parent := c.ParentUUID
	if parent == "" && c.Minor >= 0 {
		parent = gpuOf(devices, c.Minor)
	}
	if parent == "" {
		return ""
	}
	if !c.MIG {
		return parent
	}
	var matches []telemetry.Device
	for _, d := range devices {
		if d.MIG.ParentUUID == parent && (c.Profile == "" || plain(d.MIG.Profile) == plain(c.Profile)) &&
			(c.Placement < 0 || d.MIG.Placement < 0 || d.MIG.Placement == c.Placement) {
			matches = append(matches, d)
		}
	}
	if len(matches) != 1 { // several that the driver does not place are not to be told apart
		return ""
	}
	return matches[0].UUID
}

// plain writes a profile as it stands in device names: 1g10gb for 1g.10gb.
func plain(profile string) string { return strings.ReplaceAll(profile, ".", "") }
