package slices

import (
	"regexp"
	"strconv"
	"strings"
)

// Name is what the name that NVIDIA's DRA driver gives a device says of it.
type Name struct {
	// Minor is the number in /dev/nvidia<Minor> of the GPU, or of the GPU that a MIG instance is part of.
	Minor int
	// MIG tells a MIG instance from a whole GPU. The rest is of MIG instances.
	MIG bool
	// Profile is the kind of instance, such as 1g.10gb or 1g.10gb+me; empty where the name has only its number. A name shows
	// a profile's + as a hyphen, so that 1g.10gb-me, without media engines, reads as 1g.10gb+me.
	Profile string
	// ProfileID is the driver's number of the profile.
	ProfileID int
	// Placement is the first memory slice that the instance occupies.
	Placement int
}

// The names are made in cmd/gpu-kubelet-plugin of NVIDIA's k8s-dra-driver-gpu: gpu-<minor>;
// gpu-<minor>-mig-<profile>-<profile id>-<placement start>; in earlier versions without the profile, but with the
// placement's size: gpu-<minor>-mig-<profile id>-<placement start>-<placement size>.
var (
	gpuName     = regexp.MustCompile(`^gpu-(\d{1,4})$`)
	migName     = regexp.MustCompile(`^gpu-(\d{1,4})-mig-([0-9]+[cg][0-9a-z-]*)-(\d{1,4})-(\d{1,4})$`)
	oldMIGName  = regexp.MustCompile(`^gpu-(\d{1,4})-mig-(\d{1,4})-(\d{1,4})-\d{1,4}$`)
	profileName = regexp.MustCompile(`^(\d+c)?(\d+g)(\d+gb)((?:-[a-z]+)*)$`)
)

// ParseName reads the name of a device of NVIDIA's DRA driver, for when the ResourceSlices cannot be read. It reports false for
// a name of another form, such as that of a device passed through to a virtual machine, gpu-vfio-0.
//
// It is worth less than a UUID: a MIG instance may be gone and another be at its place.
func ParseName(name string) (Name, bool) {
	if m := gpuName.FindStringSubmatch(name); m != nil {
		return Name{Minor: number(m[1])}, true
	}
	if m := migName.FindStringSubmatch(name); m != nil {
		profile, ok := dotted(m[2])
		if !ok {
			return Name{}, false
		}
		return Name{Minor: number(m[1]), MIG: true, Profile: profile, ProfileID: number(m[3]), Placement: number(m[4])}, true
	}
	if m := oldMIGName.FindStringSubmatch(name); m != nil {
		return Name{Minor: number(m[1]), MIG: true, ProfileID: number(m[2]), Placement: number(m[3])}, true
	}
	return Name{}, false
}

// dotted puts the dots and signs back that a DNS label cannot hold: 1c3g40gb is 1c.3g.40gb, 1g10gb-me is 1g.10gb+me.
func dotted(profile string) (string, bool) {
	m := profileName.FindStringSubmatch(profile)
	if m == nil {
		return "", false
	}
	var text strings.Builder
	for _, part := range m[1:3] {
		if part != "" {
			text.WriteString(part + ".")
		}
	}
	text.WriteString(m[3])
	text.WriteString(strings.ReplaceAll(strings.ReplaceAll(m[4], "-meall", "-me.all"), "-", "+"))
	return text.String(), true
}

// number reads at most four digits, which the pattern made sure of.
func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}
