package attribution

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/pkg/telemetry"
)

func node() []telemetry.Device {
	mig := func(uuid string, gi, placement int, profile string) telemetry.Device {
		return telemetry.Device{UUID: uuid, Index: 1, Minor: 3, MIG: telemetry.MIG{ParentUUID: "GPU-b", GPUInstance: gi, Profile: profile, Placement: placement}}
	}
	return []telemetry.Device{{UUID: "GPU-a", Minor: 2}, {UUID: "GPU-b", Index: 1, Minor: 3},
		mig("MIG-x", 7, 0, "1g.10gb"), mig("MIG-y", 8, 1, "1g.10gb"), mig("MIG-z", 5, 4, "3g.40gb")}
}

func TestEveryFormOfDeviceIDIsResolved(t *testing.T) {
	claims := map[string]Claimed{
		"gpu-2":                 {UUID: "GPU-a", Minor: -1, Placement: -1},
		"gpu-9":                 {Minor: 2, Placement: -1},
		"gpu-3-mig-3g40gb-9-4":  {MIG: true, ParentUUID: "GPU-b", Profile: "3g.40gb", Minor: -1, Placement: 4},
		"gpu-3-mig-1g10gb-19-1": {MIG: true, ParentUUID: "GPU-b", Profile: "1g.10gb", Minor: -1, Placement: 1},
		"by-minor-and-place":    {MIG: true, Profile: "1g10gb", Minor: 3, Placement: 0},
		"by-place-alone":        {MIG: true, Minor: 3, Placement: 4},
		"ambiguous":             {MIG: true, ParentUUID: "GPU-b", Profile: "1g.10gb", Minor: -1, Placement: -1},
		"no-such-profile":       {MIG: true, ParentUUID: "GPU-b", Profile: "7g.80gb", Minor: -1, Placement: -1},
		"no-such-minor":         {Minor: 7, Placement: -1},
	}
	for _, c := range []struct{ pool, id, want string }{
		{"", "GPU-a", "GPU-a"},
		{"", "GPU-never-read", "GPU-never-read"},
		{"", "GPU-a::3", "GPU-a"},
		{"", "MIG-x", "MIG-x"},
		{"", "MIG-x::0", "MIG-x"},
		{"", "MIG-GPU-b/8/0", "MIG-y"},
		{"", "MIG-GPU-b/8/1", ""},
		{"", "MIG-GPU-b/8", ""},
		{"", "MIG-GPU-b/x/y", ""},
		{"", "nvidia2", "GPU-a"},
		{"", "nvidia2/vgpu1", "GPU-a"},
		{"", "nvidia3/gi7", "MIG-x"},
		{"", "nvidia3/gi8/vgpu0", "MIG-y"},
		{"", "nvidia9", ""},
		{"", "nvidia3/gi99", ""},
		{"", "nvidia99999999999999999999", ""},
		{"", "all", "GPU-a GPU-b"},
		{"", "tegra", ""},
		{"", "", ""},
		{"node-1", "gpu-2", "GPU-a"},
		{"node-1", "gpu-9", "GPU-a"},
		{"node-1", "gpu-3-mig-3g40gb-9-4", "MIG-z"},
		{"node-1", "gpu-3-mig-1g10gb-19-1", "MIG-y"},
		{"node-1", "by-minor-and-place", "MIG-x"},
		{"node-1", "by-place-alone", "MIG-z"},
		{"node-1", "ambiguous", ""},
		{"node-1", "no-such-profile", ""},
		{"node-1", "no-such-minor", ""},
		{"node-1", "not-in-any-slice", ""},
	} {
		t.Run(c.pool+" "+c.id, func(t *testing.T) {
			owners, lost, problems := Resolve(node(), []telemetry.Holding{{Owner: owner("1"), Resource: "r", ID: c.id, Pool: c.pool}},
				func(h telemetry.Holding) (Claimed, bool) { claim, ok := claims[h.ID]; return claim, ok })
			want := map[string][]telemetry.Owner{}
			for _, uuid := range strings.Fields(c.want) {
				want[uuid] = []telemetry.Owner{owner("1")}
			}
			if d := cmp.Diff(want, owners); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if (c.want == "") != (len(problems) == 1 && len(lost) == 1) {
				t.Errorf("problems = %q", problems)
			}
		})
	}
}

func TestHoldersAreListedOnceInOrderAndLostIDsOncePerResource(t *testing.T) {
	hold := func(pod, resource, id string) telemetry.Holding {
		return telemetry.Holding{Owner: owner(pod), Resource: resource, ID: id}
	}
	owners, _, problems := Resolve(node(), []telemetry.Holding{hold("2", "gpu", "GPU-a::0"), hold("1", "gpu", "GPU-a::1"), hold("2", "gpu", "GPU-a::2"),
		hold("1", "gpu", "tegra"), hold("2", "gpu", "odd"), hold("1", "mig", "odd")}, nil)
	if d := cmp.Diff(map[string][]telemetry.Owner{"GPU-a": {owner("1"), owner("2")}}, owners); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	want := []string{`attribution: gpu: 2 ids are of no device of this node, such as "tegra" of ns/1 (c): not attributed`,
		`attribution: mig: 1 ids are of no device of this node, such as "odd" of ns/1 (c): not attributed`}
	if d := cmp.Diff(want, problems); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestWhatHAMiGaveStandsOverWhatTheKubeletSays(t *testing.T) {
	hold := func(pod, container, id string) telemetry.Holding {
		return telemetry.Holding{Owner: telemetry.Owner{Namespace: "ns", Pod: pod, Container: container}, Resource: "nvidia.com/gpu", ID: id}
	}
	said := map[string]string{
		"good":  "GPU-a,NVIDIA,3000,30:GPU-b,NVIDIA,3000,30:;GPU-b,NVIDIA,100,5:;",
		"empty": ";GPU-a,NVIDIA,3000,30:;",
		"bad":   "GPU-a;",
	}
	got, problems := ApplyHAMi([]telemetry.Holding{hold("good", "x", "GPU-q::1"), hold("good", "y", "GPU-q::2"), hold("empty", "y", "GPU-q::3"),
		hold("bad", "x", "GPU-q::4"), hold("plain", "x", "GPU-a")},
		func(_, pod string) (Allocated, bool) {
			text, ok := said[pod]
			return Allocated{text, []string{"x", "y"}}, ok
		})
	want := []telemetry.Holding{hold("good", "x", "GPU-a"), hold("good", "x", "GPU-b"), hold("good", "y", "GPU-b"), hold("empty", "y", "GPU-a"),
		hold("bad", "x", "GPU-q::4"), hold("plain", "x", "GPU-a")}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if len(problems) != 1 || !strings.Contains(problems[0], `pod ns/bad: annotation hami.io/vgpu-devices-allocated: "GPU-a" is no device`) {
		t.Errorf("problems = %q", problems)
	}
}

func FuzzResolve(f *testing.F) {
	for _, id := range []string{"GPU-a::3", "MIG-GPU-b/8/0", "nvidia3/gi8/vgpu0", "gpu-3-mig-1g10gb-19-1"} {
		f.Add(id, "GPU-a,NVIDIA,3000,30:;")
	}
	f.Fuzz(func(t *testing.T, id, annotation string) {
		holding := telemetry.Holding{Owner: owner("1"), Resource: "r", ID: id}
		holdings, _ := ApplyHAMi([]telemetry.Holding{holding}, func(string, string) (Allocated, bool) {
			return Allocated{annotation, []string{"c"}}, annotation != ""
		})
		owners, _, problems := Resolve(node(), holdings, nil)
		if len(holdings) > 0 && len(owners) == 0 && len(problems) == 0 {
			t.Errorf("%+v vanished", holdings)
		}
	})
}
