package fakenvml

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestScenarioSurvivesWritingAndReading(t *testing.T) {
	want := Default(8)
	want.InitError, want.NowMicroseconds = 9, 1_700_000_000_000_000
	one, zero := 1, 0
	d := &want.Devices[3]
	fill(t, d)
	d.GPM = map[int]float64{1: 0.1, 2: math.Inf(1), 20: 1e300}
	d.Processes = []Process{
		{PID: 1234, UsedBytes: 1 << 30, SMPercent: 37}, {PID: 99}, {PID: 1, UsedBytes: NotAvailable, DecoderPercent: 5},
		{PID: 7, MemoryPercent: 1, EncoderPercent: 2, DecoderPercent: 3, Kind: MPS, GPUInstance: &one, ComputeInstance: &zero},
	}
	d.MIGInstances = []MIGInstance{{}, {UUID: "MIG-1", GPM: map[int]float64{}, Processes: []Process{{PID: 5, Kind: Graphics}}}, {}}
	fill(t, &d.MIGInstances[2])
	d.MIGInstances[2].GPM, d.MIGInstances[2].Processes = nil, nil
	want.Devices[7].MIGInstances = []MIGInstance{{Errors: map[string]int{AllCalls: 4}}}
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

// fill gives every member of a section a value that is not zero, so that one without a key is found out.
func fill(t *testing.T, section any) {
	t.Helper()
	v := reflect.ValueOf(section).Elem()
	for i := range v.NumField() {
		switch at := v.Field(i).Addr().Interface().(type) {
		case *string:
			*at = fmt.Sprint("text ", i)
		case *int:
			*at = 1000 + i
		case *uint64:
			*at = math.MaxUint64 - uint64(i)
		case *bool:
			*at = true
		case *[]string:
			*at = []string{"nvmlDeviceGetName", AllCalls}
		case *map[string]int:
			*at = map[string]int{"nvmlDeviceGetUtilizationRates": i, AllCalls: 15}
		case *map[int]uint64:
			*at = map[int]uint64{3: 0, 83: math.MaxUint64}
		case *map[int]float64, *[]Process, *[]MIGInstance:
		case *[]Burst:
			*at = []Burst{{1, 2, 3}, {math.MaxInt64, 0, 200}}
		case *[]XID:
			*at = []XID{{1, 79}, {math.MaxUint64, 31}}
		default:
			t.Fatalf("%T.%s: what is a value of %T?", section, v.Type().Field(i).Name, at)
		}
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
		"unknown key":        {"colour=red", ":1: colour: what comes before the first device has no such key"},
		"section order":      {"[device 1]", `:1: section "[device 1]": the next one is "[device 0]"`},
		"unknown device key": {"[device 0]\nfan=3", ":2: fan"},
		"negative":           {"[device 0]\nminor=-1", `:2: minor is "-1"`},
		"process":            {"[device 0]\nprocess=1:2", ":2: process"},
		"error":              {"[device 0]\nerror=x", ":2: error"},
		"error code":         {"[device 0]\nerror=x:y", `:2: error of x is "y"`},
		"delay":              {"[device 0]\ndelay=x", ":2: delay \"x\": it is function:milliseconds"},
		"kind":               {"[device 0]\nprocess=1:2:3:4:5:6:idle:-:-", `:2: process "1:2:3:4:5:6:idle:-:-": kind is "idle"`},
		"instance":           {"[device 0]\nprocess=1:2:3:4:5:6::x:-", `gpu_instance is "x"`},
		"field":              {"[device 0]\nfield=83", `:2: field "83": it is id:value`},
		"field's value":      {"[device 0]\nfield=83:-1", `:2: field 83 is "-1"`},
		"gpm":                {"[device 0]\ngpm=1:high", `:2: gpm 1 is "high"`},
		"burst":              {"[device 0]\nburst=1:2", ":2: burst"},
		"xid":                {"[device 0]\nxid=1:2:3", ":2: xid"},
		"flag":               {"[device 0]\nmig_mode=yes", `:2: mig_mode is "yes"`},
		"instance of none":   {"[mig 0.0]", `:1: section "[mig 0.0]": the next one is "[device 0]"`},
		"instance order":     {"[device 0]\n[mig 0.1]", `:2: section "[mig 0.1]": the next one is "[device 1]" or "[mig 0.0]"`},
		"instance's device":  {"[device 0]\n[device 1]\n[mig 0.0]", `:3: section "[mig 0.0]"`},
		"instance's key":     {"[device 0]\n[mig 0.0]\nuuid=MIG-1", ":3: uuid: a MIG instance has no such key"},
		"too many instances": {"[device 0]\n" + tooManyInstances(), ":10: more than 8 MIG instances"},
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

func tooManyInstances() string {
	var b strings.Builder
	for i := range MaxInstances + 1 {
		fmt.Fprintf(&b, "[mig 0.%d]\n", i)
	}
	return b.String()
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
	bad = Default(1)
	bad.Devices[0].MIGInstances = make([]MIGInstance, MaxInstances+1)
	if err := bad.Write(path); err == nil {
		t.Error("too many MIG instances were written")
	}
	bad = Default(1)
	bad.Devices[0].Hangs = []string{" nvmlInit"}
	if err := bad.Write(path); err == nil {
		t.Error("white space that reading would cut off was written")
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is there: %v", err)
	}
}

func TestLibraryIsBuiltOnceAndAgainOnlyForAnotherDriver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	build := func(v Variant) os.FileInfo {
		path, err := BuildVariant(dir, v)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := build(Variant{})
	if !os.SameFile(first, build(Variant{})) {
		t.Error("built twice")
	}
	old := build(OldDriver())
	if os.SameFile(first, old) {
		t.Error("the old driver's library is the new one's")
	}
	if os.SameFile(old, build(Variant{Version: "550.54.15"})) {
		t.Error("the library of another version is the old driver's")
	}
}
