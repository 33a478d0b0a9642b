package app

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/agent/attribution"
	resourceslices "github.com/foretide/foretide/agent/slices"
	"github.com/foretide/foretide/pkg/telemetry"
)

// known is what the ResourceSlices say.
type known struct {
	devices map[string]resourceslices.Device
	wanted  []string
}

func (k *known) Lookup(_, _, name string) (resourceslices.Device, bool) {
	d, ok := k.devices[name]
	return d, ok
}

func (k *known) Want(_, _, name string) { k.wanted = append(k.wanted, name) }

func (k *known) Problem() string { return "slices cannot be read" }

func TestClaimIsWhatItsSliceSaysAndElseWhatItsNameSays(t *testing.T) {
	k := &known{devices: map[string]resourceslices.Device{
		"gpu-0":                 {UUID: "GPU-a"},
		"gpu-1":                 {UUID: "GPU-replaced"},
		"gpu-2-mig-1g10gb-19-4": {ParentUUID: "GPU-c", Profile: "1g.10gb"},
		"named-by-somebody":     {UUID: "MIG-x", ParentUUID: "GPU-c", Profile: "3g.40gb"},
	}}
	c := &claims{slices: k}
	present := func(uuid string) bool { return uuid == "GPU-a" || uuid == "MIG-x" }
	for name, want := range map[string]attribution.Claimed{
		"gpu-0":                 {UUID: "GPU-a", Minor: 0, Placement: -1},
		"gpu-1":                 {UUID: "GPU-replaced", Minor: 1, Placement: -1},
		"gpu-2-mig-1g10gb-19-4": {MIG: true, ParentUUID: "GPU-c", Profile: "1g.10gb", Minor: 2, Placement: 4},
		"named-by-somebody":     {MIG: true, UUID: "MIG-x", ParentUUID: "GPU-c", Profile: "3g.40gb", Minor: -1, Placement: -1},
		"gpu-3-mig-3g40gb-9-0":  {MIG: true, Profile: "3g.40gb", Minor: 3, Placement: 0},
	} {
		got, ok := c.of(telemetry.Holding{Pool: "node-1", ID: name}, present)
		if d := cmp.Diff(want, got); d != "" || !ok {
			t.Errorf("%s: known %v (-want +got)\n%s", name, ok, d)
		}
	}
	if _, ok := c.of(telemetry.Holding{Pool: "node-1", ID: "no-such"}, present); ok {
		t.Error("a name that says nothing was understood")
	}
	want := map[string]bool{"gpu-1": true, "gpu-3-mig-3g40gb-9-0": true, "no-such": true}
	for _, name := range k.wanted {
		delete(want, name)
		if name == "gpu-0" || name == "named-by-somebody" {
			t.Errorf("%s was wanted again", name)
		}
	}
	if len(want) != 0 {
		t.Errorf("not wanted: %v", want)
	}
	if got := c.problems(); len(got) != 1 {
		t.Errorf("problems = %q; want that they cannot be read", got)
	}
	if got := c.problems(); got != nil {
		t.Errorf("problems = %q; want none, for nothing is wanted any more", got)
	}
}
