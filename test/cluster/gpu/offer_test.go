package gpu

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// fleet is a GPU whose minor number is not its index, and one with two MIG instances.
func fleet() []Device {
	return []Device{
		{Index: 0, Minor: 4, UUID: "GPU-a", Name: "H100", MemoryTotalBytes: 80},
		{Index: 1, Minor: 5, UUID: "GPU-b", Name: "H100", MIG: []MIGInstance{
			{Index: 0, UUID: "MIG-b0", Profile: "1g.10gb+me", GPUInstance: 7, PlacementStart: 0, MemoryTotalBytes: 10},
			{Index: 2, UUID: "MIG-b2", Profile: "3g.40gb", GPUInstance: 2, ComputeInstance: 1, PlacementStart: 4},
		}},
	}
}

func TestEveryFormNamesItsDevicesAsItsPluginDoes(t *testing.T) {
	for line, want := range map[string][]string{
		"nvidia.com/gpu=whole all":                            {"GPU-a", "GPU-b"},
		"nvidia.com/gpu=whole 1,GPU-a":                        {"GPU-b", "GPU-a"},
		"nvidia.com/gpu.shared = whole 0 replicas=2":          {"GPU-a::0", "GPU-a::1"},
		"nvidia.com/gpu=whole 0 replicas=1":                   {"GPU-a::0"},
		"nvidia.com/mig-1g.10gb=mig 1.0":                      {"MIG-b0"},
		"nvidia.com/gpu=mig 1":                                {"MIG-b0", "MIG-b2"},
		"nvidia.com/gpu=mig all":                              {"MIG-b0", "MIG-b2"},
		"nvidia.com/mig-3g.40gb.shared=mig MIG-b2 replicas=2": {"MIG-b2::0", "MIG-b2::1"},
		"nvidia.com/gpu=legacy-mig 1.2":                       {"MIG-GPU-b/2/1"},
		"nvidia.com/gpu=gke 0":                                {"nvidia4"},
		"nvidia.com/gpu=gke 0 replicas=2":                     {"nvidia4/vgpu0", "nvidia4/vgpu1"},
		"nvidia.com/gpu=gke-mig 1.0":                          {"nvidia5/gi7"},
		"nvidia.com/gpu=gke-mig 1.0 replicas=1":               {"nvidia5/gi7/vgpu0"},
	} {
		t.Run(line, func(t *testing.T) {
			offers, err := ParseOffers(line + " # as pods ask for it\n\n")
			if err != nil {
				t.Fatal(err)
			}
			got, err := Resources(offers, fleet())
			resource, _, _ := strings.Cut(line, "=")
			if diff := cmp.Diff(map[string][]string{strings.TrimSpace(resource): want}, got); err != nil || diff != "" {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestDRADevicesCarryTheAttributesOfNVIDIAsDriver(t *testing.T) {
	offers, err := ParseOffers("nvidia.com/gpu=whole 1\ngpu.nvidia.com=dra 0\ngpu.nvidia.com=dra-mig 1.0\ngpu.nvidia.com=dra-dynamic-mig 1.2\n")
	if err != nil {
		t.Fatal(err)
	}
	got, err := DRADevices(offers, fleet())
	want := []DRADevice{
		{Name: "gpu-4", Type: "gpu", UUID: "GPU-a", ProductName: "H100", MemoryBytes: 80},
		{Name: "gpu-5-mig-1g10gb-me-20-0", Type: "mig", UUID: "MIG-b0", ParentUUID: "GPU-b", Profile: "1g.10gb+me", ProductName: "H100", MemoryBytes: 10},
		{Name: "gpu-5-mig-3g40gb-9-4", Type: "mig", ParentUUID: "GPU-b", Profile: "3g.40gb", ProductName: "H100"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	resources, err := Resources(offers, fleet())
	if diff := cmp.Diff(map[string][]string{"nvidia.com/gpu": {"GPU-b"}}, resources); err != nil || diff != "" {
		t.Errorf("resources beside them: error %v (-want +got):\n%s", err, diff)
	}
}

func TestWithoutAnOfferFileEveryGPUIsOfferedWhole(t *testing.T) {
	offers, err := ReadOffers(filepath.Join(t.TempDir(), "offer.ini"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Resources(offers, fleet())
	if diff := cmp.Diff(map[string][]string{ResourceName: {"GPU-a", "GPU-b"}}, got); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	// A machine whose GPUs are all gone offers none, rather than no such resource.
	got, err = Resources(offers, nil)
	if diff := cmp.Diff(map[string][]string{ResourceName: {}}, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("without devices: error %v (-want +got):\n%s", err, diff)
	}
}

func TestWrongOffersAreRefusedByName(t *testing.T) {
	for text, want := range map[string]string{
		"\nnvidia.com/gpu\n":                                 "offer line 2: ",
		"nvidia.com/gpu=whole":                               "want <resource>=<form> <devices>",
		"nvidia.com/gpu=hole 0":                              `form "hole": want whole`,
		"gpu=whole 0":                                        `resource "gpu": want a name such as nvidia.com/gpu`,
		"nvidia.com/gpu=dra 0":                               "form dra belongs to the driver gpu.nvidia.com",
		"nvidia.com/gpu=whole 0 replicas=0":                  "want replicas=<n> from 1 on",
		"nvidia.com/gpu=whole 0 4":                           "want replicas=<n> from 1 on",
		"gpu.nvidia.com=dra 0 replicas=2":                    "none for a form of DRA",
		"nvidia.com/gpu=whole 7":                             "the scenario has no device 7 of form whole",
		"nvidia.com/gpu=mig 0":                               "the scenario has no device 0 of form mig",
		"nvidia.com/gpu=whole 0\nnvidia.com/gpu=whole GPU-a": "device GPU-a comes up twice",
		"gpu.nvidia.com=dra 0,0":                             "device gpu-4 comes up twice",
	} {
		offers, err := ParseOffers(text)
		if err == nil {
			_, err = Resources(offers, fleet())
		}
		if err == nil {
			_, err = DRADevices(offers, fleet())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q in it", text, err, want)
		}
	}
}

func TestProfileIDsAreThoseThatNVIDIASmiLists(t *testing.T) {
	for _, tc := range []struct {
		profile string
		size    int
		want    int
	}{
		{"1g.10gb", 1, 19}, {"1g.10gb+me", 1, 20}, {"1g.20gb", 2, 15}, {"2g.20gb", 2, 14}, {"3g.40gb", 4, 9},
		{"1c.3g.40gb", 4, 9}, {"4g.40gb", 4, 5}, {"7g.80gb", 8, 0},
	} {
		if got := (MIGInstance{Profile: tc.profile, PlacementSize: tc.size}).profileID(); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.profile, got, tc.want)
		}
	}
}
