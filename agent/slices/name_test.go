package slices

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNamesSayWhichDevice(t *testing.T) {
	for name, want := range map[string]Name{
		"gpu-3":                       {Minor: 3},
		"gpu-12":                      {Minor: 12},
		"gpu-3-mig-1g10gb-19-2":       {Minor: 3, MIG: true, Profile: "1g.10gb", ProfileID: 19, Placement: 2},
		"gpu-0-mig-7g80gb-0-0":        {MIG: true, Profile: "7g.80gb"},
		"gpu-0-mig-1c3g40gb-9-4":      {MIG: true, Profile: "1c.3g.40gb", ProfileID: 9, Placement: 4},
		"gpu-0-mig-1g10gb-me-20-6":    {MIG: true, Profile: "1g.10gb+me", ProfileID: 20, Placement: 6},
		"gpu-0-mig-1g10gb-meall-21-6": {MIG: true, Profile: "1g.10gb+me.all", ProfileID: 21, Placement: 6},
		"gpu-0-mig-1g24gb-gfx-47-0":   {MIG: true, Profile: "1g.24gb+gfx", ProfileID: 47},
		"gpu-2-mig-19-4-1":            {Minor: 2, MIG: true, ProfileID: 19, Placement: 4}, // without profile: start and size
	} {
		got, ok := ParseName(name)
		if d := cmp.Diff(want, got); d != "" || !ok {
			t.Errorf("%s: %v (-want +got)\n%s", name, ok, d)
		}
	}
}

func TestNamesOfAnotherFormAreRefused(t *testing.T) {
	for _, name := range []string{"", "gpu-", "gpu-x", "gpu--1", "gpu-99999", "gpu-vfio-0", "gpu-3-mig", "gpu-3-mig-1g10gb", "gpu-3-mig-1g10gb-19",
		"gpu-3-mig-10gb-19-2", "gpu-3-mig-1g10gb-19-2-x", "xgpu-3", "gpu-3\n", "channel-0", "gpu-0-mig-1g10tb-19-2"} {
		if got, ok := ParseName(name); ok || got != (Name{}) {
			t.Errorf("%q is taken for %+v", name, got)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("gpu-3")
	f.Add("gpu-3-mig-1c3g40gb-me-19-2")
	f.Add("gpu-3-mig-19-2-1")
	f.Fuzz(func(t *testing.T, name string) {
		got, ok := ParseName(name)
		if got.Minor < 0 || got.Placement < 0 || got.ProfileID < 0 || !got.MIG && got.Profile != "" || !ok && got != (Name{}) {
			t.Errorf("%q is %+v, %v", name, got, ok)
		}
	})
}
