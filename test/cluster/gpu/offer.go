// Package gpu offers the devices of a scenario file to the kubelet, in every form in which NVIDIA's and Google's device
// plugins and NVIDIA's driver of Dynamic Resource Allocation (DRA) name them.
//
//	scenario.ini (what there is) + offer.ini (what is offered how) → device plugin: resource → device ids
//	                                                               → DRA driver: devices of ResourceSlices
//
// The scenario file is what the scenario library (test/fakenvml) reads: line-based text with one [device N] section per GPU
// and one [mig N.M] section per MIG instance of it. The offer file is this package's own; each line is
//
//	<resource>=<form> <devices> [replicas=<n>]
//
// for instance
//
//	nvidia.com/gpu=whole 0,1                     two GPUs
//	nvidia.com/gpu.shared=whole 2 replicas=4     one GPU, shared by up to four containers
//	nvidia.com/mig-1g.10gb=mig 3.0,3.1           two MIG instances of GPU 3
//	gpu.nvidia.com=dra 4                         one GPU for ResourceClaims
//
// Devices are numbers of sections (N, or N.M for a MIG instance; for a form of MIG instances N means all those of the GPU),
// uuids, or "all". Several lines of one resource add up. Without the file every GPU is offered whole as nvidia.com/gpu.
package gpu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

const (
	// ResourceName is what pods ask for while there is no offer file.
	ResourceName = "nvidia.com/gpu"
	// DriverName is the DRA driver's name; in the offer file it stands in a resource's place.
	DriverName = "gpu.nvidia.com"
)

// Form is how a device is named to those who ask for it.
type Form string

// The forms of device ids. The first three are those of NVIDIA's device plugin, to which a replica adds ::<n>
// (k8s-device-plugin internal/rm); the next two those of Google's, to which it adds /vgpu<n>
// (container-engine-accelerators pkg/gpu/nvidia).
const (
	Whole     Form = "whole"      // GPU-<uuid>
	MIG       Form = "mig"        // MIG-<uuid>
	LegacyMIG Form = "legacy-mig" // MIG-GPU-<uuid>/<GPU instance>/<compute instance>: drivers before R470
	GKE       Form = "gke"        // nvidia<minor>
	GKEMIG    Form = "gke-mig"    // nvidia<minor>/gi<GPU instance>
)

// The forms of DRA devices (dra-driver-nvidia-gpu cmd/gpu-kubelet-plugin).
const (
	DRA           Form = "dra"             // gpu-<minor>
	DRAMIG        Form = "dra-mig"         // gpu-<minor>-mig-<profile>-<profile id>-<placement>, with the instance's uuid
	DRADynamicMIG Form = "dra-dynamic-mig" // the same without a uuid: the instance is made when it is claimed
)

func (f Form) isDRA() bool { return f == DRA || f == DRAMIG || f == DRADynamicMIG }

// isMIG says whether a device of this form is a MIG instance rather than a GPU.
func (f Form) isMIG() bool {
	return f == MIG || f == LegacyMIG || f == GKEMIG || f == DRAMIG || f == DRADynamicMIG
}

// Offer is one line of the offer file.
type Offer struct {
	// Resource is the extended resource that pods ask for, or DriverName for the forms of DRA.
	Resource string
	Form     Form
	// Devices are the references as written: "all", N, N.M or uuids.
	Devices []string
	// Replicas is how many containers may hold each device at once; 0 means one, under the device's plain id.
	Replicas int
}

// ReadOffers reads the offer file at path. Without one, every GPU is offered whole.
func ReadOffers(path string) ([]Offer, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return []Offer{{Resource: ResourceName, Form: Whole, Devices: []string{"all"}}}, nil
	}
	if err != nil {
		return nil, err
	}
	return ParseOffers(string(text))
}

// ParseOffers reads the text of an offer file. Errors name the line.
func ParseOffers(text string) ([]Offer, error) {
	var offers []Offer
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		offer, err := parseOffer(line)
		if err != nil {
			return nil, fmt.Errorf("offer line %d: %w", i+1, err)
		}
		offers = append(offers, offer)
	}
	return offers, nil
}

func parseOffer(line string) (Offer, error) {
	resource, rest, _ := strings.Cut(line, "=")
	fields := strings.Fields(rest)
	if len(fields) < 2 || len(fields) > 3 {
		return Offer{}, fmt.Errorf("%q: want <resource>=<form> <devices> [replicas=<n>]", line)
	}
	o := Offer{Resource: strings.TrimSpace(resource), Form: Form(fields[0]), Devices: strings.Split(fields[1], ",")}
	switch o.Form {
	case Whole, MIG, LegacyMIG, GKE, GKEMIG, DRA, DRAMIG, DRADynamicMIG:
	default:
		return Offer{}, fmt.Errorf("form %q: want %s, %s, %s, %s, %s, %s, %s or %s", o.Form,
			Whole, MIG, LegacyMIG, GKE, GKEMIG, DRA, DRAMIG, DRADynamicMIG)
	}
	switch {
	case o.Form.isDRA() && o.Resource != DriverName:
		return Offer{}, fmt.Errorf("resource %q: form %s belongs to the driver %s", o.Resource, o.Form, DriverName)
	case !o.Form.isDRA() && strings.Count(o.Resource, "/") != 1:
		return Offer{}, fmt.Errorf("resource %q: want a name such as %s", o.Resource, ResourceName)
	}
	if len(fields) == 2 {
		return o, nil
	}
	value, ok := strings.CutPrefix(fields[2], "replicas=")
	n, err := strconv.Atoi(value)
	if !ok || err != nil || n < 1 || o.Form.isDRA() {
		return Offer{}, fmt.Errorf("%q: want replicas=<n> from 1 on, and none for a form of DRA", fields[2])
	}
	o.Replicas = n
	return o, nil
}
