package fakenvml

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestScenarioSurvivesWritingAndReading(t *testing.T) {
	want := Default(8)
	want.InitError = 9
	want.Devices[3].UtilizationGPUPercent = 37
	want.Devices[3].MemoryReservedBytes, want.Devices[3].MemoryUsedBytes = 1<<29, 1<<30
	want.Devices[3].Processes = []Process{{1234, 1 << 30, 37}, {99, 0, 0}}
	want.Devices[3].Errors = map[string]int{"nvmlDeviceGetUtilizationRates": 3, AllCalls: 15}
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
}

func TestCommentsAndBlankLinesAreSkipped(t *testing.T) {
	path := filepath.Join(t.TempDir(), ScenarioName)
	text := "# all\n\n driver_version = 1.2 # why\n[device 0] # first\n uuid=GPU-1\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Scenario{DriverVersion: "1.2", Devices: []Device{{UUID: "GPU-1"}}}, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestWrongLineIsRefusedByNumberAndContent(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"no value":           {"driver_version", `:1: "driver_version"`},
		"unknown key":        {"colour=red", ":1: colour"},
		"section order":      {"[device 1]", `:1: section "[device 1]": the next one is "[device 0]"`},
		"unknown device key": {"[device 0]\nfan=3", ":2: fan"},
		"negative":           {"[device 0]\nminor=-1", `:2: minor is "-1"`},
		"process":            {"[device 0]\nprocess=1:2", ":2: process"},
		"error":              {"[device 0]\nerror=x", ":2: error"},
		"error code":         {"[device 0]\nerror=x:y", ":2: code"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), ScenarioName)
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Read(path); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v; want one with %q", err, c.want)
			}
		})
	}
}

func TestScenarioThatCouldNotBeReadBackIsNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), ScenarioName)
	bad := Default(1)
	bad.Devices[0].Name = "a\n[device 1]"
	if err := bad.Write(path); err == nil {
		t.Error("a name with a line break was written")
	}
	if err := Default(MaxDevices + 1).Write(path); err == nil {
		t.Errorf("%d devices were written", MaxDevices+1)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is there: %v", err)
	}
}

func TestLibraryIsBuiltOnceAndAgainOnlyWhenItsSourceIsNewer(t *testing.T) {
	dir := t.TempDir()
	path, err := BuildLibrary(dir)
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := BuildLibrary(dir); err != nil {
		t.Fatal(err)
	}
	second, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(first, second) {
		t.Error("built twice")
	}
}
