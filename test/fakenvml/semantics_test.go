package fakenvml

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestCallsWithoutBuffersAnswerAsTheHeaderSays(t *testing.T) {
	t.Parallel()
	dir, library := t.TempDir(), built(t, Variant{})
	s := Default(1)
	s.NowMicroseconds = 1_000_000_000
	d := &s.Devices[0]
	d.SamplePeriodMicroseconds, d.GPM = 200_000, map[int]float64{}
	d.Fields = map[int]uint64{3: 0, 4: 0}
	d.Processes = []Process{{PID: 11, SMPercent: 40}, {PID: 12, UsedBytes: NotAvailable, SMPercent: 5}, {PID: 13, Kind: MPS}}
	if err := s.Write(filepath.Join(dir, ScenarioName)); err != nil {
		t.Fatal(err)
	}
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/NVIDIA/go-nvml").Output()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "semantics")
	header := filepath.Join(strings.TrimSpace(string(module)), "pkg", "nvml")
	run(t, dir, "gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", header, "-o", program, "testdata/semantics.c", library, "-Wl,-rpath="+filepath.Dir(library))
	run(t, dir, program)
}

// run runs a program that finds the scenario in dir.
func run(t *testing.T, dir, program string, arguments ...string) {
	t.Helper()
	cmd := exec.Command(program, arguments...)
	cmd.Env = append(os.Environ(), ScenarioEnv+"="+filepath.Join(dir, ScenarioName))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}
