package gpu

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDefaultScenarioNamesItsDevices(t *testing.T) {
	for _, n := range []int{0, 1, 8} {
		uuids, err := ParseUUIDs(DefaultScenario(n))
		if err != nil {
			t.Fatalf("%d devices: %v", n, err)
		}
		var want []string
		for i := range n {
			want = append(want, UUID(i))
		}
		if !slices.Equal(uuids, want) {
			t.Errorf("%d devices: got %v, want %v", n, uuids, want)
		}
	}
	if got, want := UUID(7), "GPU-f0e7de00-0000-4000-8000-000000000007"; got != want {
		t.Errorf("UUID(7) = %q, want %q", got, want)
	}
}

func TestParseUUIDs(t *testing.T) {
	for name, tc := range map[string]struct {
		text    string
		want    []string
		wantErr string
	}{
		"blanks and comments are no part of a value": {"[device 0]\n uuid = a # first\n# uuid=b\n", []string{"a"}, ""},
		"file order is kept":                         {"[device 1]\nuuid=b\n[device 0]\nuuid=a\n", []string{"b", "a"}, ""},
		"nothing in it":                              {"driver_version=1\n", nil, ""},
		"outside a section":                          {"uuid=a\n", nil, `line 1: uuid "a" stands outside`},
		"empty":                                      {"[device 0]\nuuid=\n", nil, "line 2: uuid is empty"},
		"twice":                                      {"[device 0]\nuuid=a\n[device 1]\nuuid=a\n", nil, `line 4: uuid "a" is named twice`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseUUIDs(tc.text)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("error %v, want %q in it", err, tc.wantErr)
				}
				return
			}
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("got %v, %v, want %v", got, err, tc.want)
			}
		})
	}
}

func TestEnsureScenarioLeavesAnExistingOneAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gpu", "scenario.ini")
	if err := EnsureScenario(path, 2); err != nil {
		t.Fatal(err)
	}
	if uuids, err := ReadUUIDs(path); err != nil || len(uuids) != 2 {
		t.Fatalf("got %v, %v, want 2 devices", uuids, err)
	}
	if err := os.WriteFile(path, []byte("[device 0]\nuuid=mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := EnsureScenario(path, 8); err != nil {
		t.Fatal(err)
	}
	if uuids, err := ReadUUIDs(path); err != nil || !slices.Equal(uuids, []string{"mine"}) {
		t.Errorf("got %v, %v, want the file as it was", uuids, err)
	}
}
