package gpu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDefaultScenarioNamesItsDevices(t *testing.T) {
	for _, n := range []int{0, 1, 8} {
		fleet, err := ParseScenario(DefaultScenario(n))
		if err != nil {
			t.Fatalf("%d devices: %v", n, err)
		}
		var want []Device
		for i := range n {
			want = append(want, Device{Index: i, Minor: i, UUID: UUID(i), Name: "NVIDIA H100 80GB HBM3", MemoryTotalBytes: MemoryTotalBytes})
		}
		if diff := cmp.Diff(want, fleet); diff != "" {
			t.Errorf("%d devices (-want +got):\n%s", n, diff)
		}
	}
	if got, want := UUID(7), "GPU-f0e7de00-0000-4000-8000-000000000007"; got != want {
		t.Errorf("UUID(7) = %q, want %q", got, want)
	}
}

func TestParseScenario(t *testing.T) {
	for name, tc := range map[string]struct {
		text    string
		want    []Device
		wantErr string
	}{
		"blanks and comments are no part of a value": {"[device 0]\n uuid = a # first\n# uuid=b\n", []Device{{UUID: "a"}}, ""},
		"file order is kept":                         {"[device 1]\nuuid=b\n[device 0]\nuuid=a\n", []Device{{Index: 1, Minor: 1, UUID: "b"}, {UUID: "a"}}, ""},
		"a minor number of its own":                  {"[device 0]\nuuid=a\nminor=3\n", []Device{{Minor: 3, UUID: "a"}}, ""},
		"a device without a uuid is none":            {"[device 0]\nminor=1\n", nil, ""},
		"nothing in it":                              {"driver_version=1\n", nil, ""},
		"MIG instances belong to the device they name, and empty slots to none": {
			"[device 0]\nuuid=a\n[device 1]\nuuid=b\n[mig 0.0]\nprofile=1g.10gb\n" +
				"[mig 0.2]\nmig_uuid=m\nprofile=3g.40gb\ngpu_instance=2\ncompute_instance=1\nplacement_start=4\nplacement_size=4\nmemory_total_bytes=7\n",
			[]Device{
				{UUID: "a", MIG: []MIGInstance{{Index: 2, UUID: "m", Profile: "3g.40gb", GPUInstance: 2, ComputeInstance: 1, PlacementStart: 4, PlacementSize: 4, MemoryTotalBytes: 7}}},
				{Index: 1, Minor: 1, UUID: "b"},
			}, ""},
		"sections of another kind are skipped": {"[device 0]\nuuid=a\n[link 0]\nminor=5\n", []Device{{UUID: "a"}}, ""},
		"outside a section":                    {"uuid=a\n", nil, `line 1: uuid "a" stands outside`},
		"empty":                                {"[device 0]\nuuid=\n", nil, "line 2: uuid is empty"},
		"twice":                                {"[device 0]\nuuid=a\n[device 1]\nuuid=a\n", nil, `line 4: uuid "a" is named twice`},
		"a number that is none":                {"[device 0]\nminor=x\n", nil, "line 2: "},
		"a section without a number":           {"[device]\n", nil, `line 1: section "device": want device N`},
		"a MIG section without a slot":         {"[device 0]\n[mig 0]\n", nil, `line 2: section "mig 0": want mig N.M`},
		"a MIG section before its device":      {"[mig 0.1]\n", nil, "line 1: section \"mig 0.1\": there is no device 0"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseScenario(tc.text)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("error %v, want %q in it", err, tc.wantErr)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestEnsureScenarioLeavesAnExistingOneAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gpu", "scenario.ini")
	if err := EnsureScenario(path, 2); err != nil {
		t.Fatal(err)
	}
	if fleet, err := ReadScenario(path); err != nil || len(fleet) != 2 {
		t.Fatalf("got %v, %v, want 2 devices", fleet, err)
	}
	if err := os.WriteFile(path, []byte("[device 0]\nuuid=mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := EnsureScenario(path, 8); err != nil {
		t.Fatal(err)
	}
	if fleet, err := ReadScenario(path); err != nil || len(fleet) != 1 || fleet[0].UUID != "mine" {
		t.Errorf("got %v, %v, want the file as it was", fleet, err)
	}
}
