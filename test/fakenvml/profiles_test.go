package fakenvml

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEveryProfileSurvivesWritingAndReading(t *testing.T) {
	for _, model := range Profiles() {
		t.Run(model, func(t *testing.T) {
			want, err := Profile(model, 2)
			if err != nil {
				t.Fatal(err)
			}
			for name := range profiles[model].mig {
				if want.Devices[1], err = WithMIG(want.Devices[1], name); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(t.TempDir(), ScenarioName)
			if err := want.Write(path); err != nil {
				t.Fatal(err)
			}
			got, err := Read(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func TestUnknownModelIsRefusedWithThoseThereAre(t *testing.T) {
	if _, err := Profile("voodoo2", 1); err == nil || !strings.Contains(err.Error(), "rtx4090") {
		t.Errorf("error = %v; want one that lists the models", err)
	}
}

func TestMIGInstancesAreSetSideBySide(t *testing.T) {
	s, err := Profile("h100", 1)
	if err != nil {
		t.Fatal(err)
	}
	whole := s.Devices[0]
	d, err := WithMIG(whole, "3g.40gb", "2g.20gb", "1g.10gb")
	if err != nil {
		t.Fatal(err)
	}
	type place struct{ GPUInstance, Start, Size int }
	var got []place
	var uuids []string
	for _, m := range d.MIGInstances {
		got = append(got, place{m.GPUInstance, m.PlacementStart, m.PlacementSize})
		uuids = append(uuids, m.UUID)
	}
	if d := cmp.Diff([]place{{1, 0, 4}, {3, 4, 2}, {7, 6, 1}}, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if slices.Sort(uuids); len(slices.Compact(uuids)) != 3 {
		t.Errorf("uuids = %q; want all different", uuids)
	}
	if m := d.MIGInstances[0]; m.MemoryTotalBytes != whole.MemoryTotalBytes/2 || len(m.GPM) != len(whole.GPM) {
		t.Errorf("3g.40gb has %d bytes and GPM %v; want half of %d, and all of %v", m.MemoryTotalBytes, m.GPM, whole.MemoryTotalBytes, whole.GPM)
	}
	if whole.MIGMode || whole.MIGInstances != nil {
		t.Error("the device that was given has changed")
	}
}

func TestMIGThatThereIsNoRoomForIsRefused(t *testing.T) {
	h100, _ := Profile("h100", 1)
	t4, _ := Profile("t4", 1)
	cases := map[string]struct {
		device   Device
		profiles []string
		want     string
	}{
		"no MIG":     {t4.Devices[0], []string{"1g.10gb"}, "Tesla T4 has no MIG"},
		"of another": {h100.Devices[0], []string{"1g.5gb"}, `"1g.5gb" is not one of`},
		"full":       {h100.Devices[0], []string{"4g.40gb", "3g.40gb", "1g.10gb"}, "no room for MIG profile 1g.10gb"},
		"eight":      {h100.Devices[0], slices.Repeat([]string{"1g.10gb"}, 8), "no room"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := WithMIG(c.device, c.profiles...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v; want one with %q", err, c.want)
			}
		})
	}
}
