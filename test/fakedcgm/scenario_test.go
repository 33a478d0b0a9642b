package fakedcgm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestScenarioIsWrittenAsTheLibraryReadsIt(t *testing.T) {
	s := Scenario{Address: "unix:///run/dcgm.sock", ConnectError: -21, Run: 2, ProfilingError: -36, HierarchyError: -6,
		Interval: time.Second, Hang: "dcgmInit", Entities: []Entity{{Kind: ComputeInstance, ID: 3, Parent: 1, NVMLIndex: 2, GPUInstance: 7,
			ComputeInstance: 4, Error: -18, Fields: map[int]Value{1001: Double(0.5).Aged(1500 * time.Millisecond), 54: Text("MIG-1"), 203: Int(7).Failed(-6)}}}}
	path := filepath.Join(t.TempDir(), ScenarioName)
	if err := s.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"address=unix:///run/dcgm.sock", "connect_error=-21", "run=2", "profiling_error=-36", "hierarchy_error=-6", "interval_us=1000000",
		"hang=dcgmInit", "[entity 5 3]", "parent=1", "nvml_gpu=2", "gpu_instance=7", "compute_instance=4", "error=-18",
		"field=54:0:0:s:MIG-1", "field=203:-6:0:i:7", "field=1001:0:1500:d:0.5", "",
	}, "\n")
	if string(got) != want {
		t.Errorf("wrote\n%s\nwant\n%s", got, want)
	}
}

func TestScenarioThatCouldNotBeReadBackIsNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), ScenarioName)
	bad := Default(1)
	bad.Entities[0].Fields[FieldName] = Text("a\n[entity 1 1]")
	if err := bad.Write(path); err == nil {
		t.Error("a name with a line break was written")
	}
	if err := Default(MaxEntities + 1).Write(path); err == nil {
		t.Errorf("%d entities were written", MaxEntities+1)
	}
	crowded := Default(1)
	for i := range MaxFields + 1 {
		crowded.Entities[0].Fields[2000+i] = Int(1)
	}
	if err := crowded.Write(path); err == nil {
		t.Errorf("%d fields were written", len(crowded.Entities[0].Fields))
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
