package fakenvml

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

const inside = "FORETIDE_TEST_INSIDE"

// played runs body in a process of its own: a loaded NVML cannot be taken out of a process again, and a function that is missing
// from it ends the process.
func played(t *testing.T, v Variant, body func(t *testing.T, p *player)) {
	t.Helper()
	if library := os.Getenv(inside); library != "" {
		body(t, &player{t: t, scenario: os.Getenv(ScenarioEnv), Interface: nvml.New(nvml.WithLibraryPath(library))})
		return
	}
	t.Parallel()
	library := built(t, v)
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	// Under the race detector a process sleeps for a second before it ends, unless it is told not to.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", inside+"="+library, ScenarioEnv+"="+filepath.Join(t.TempDir(), ScenarioName))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

var libraries struct {
	sync.Mutex
	folder string // of all that were built, one folder each
	paths  map[string]string
}

// built returns a library of the variant. Most tests need the same one.
func built(t *testing.T, v Variant) string {
	t.Helper()
	libraries.Lock()
	defer libraries.Unlock()
	kind := fmt.Sprintf("%q", v)
	if path, ok := libraries.paths[kind]; ok {
		return path
	}
	path, err := BuildVariant(filepath.Join(libraries.folder, strconv.Itoa(len(libraries.paths))), v)
	if err != nil {
		t.Fatal(err)
	}
	libraries.paths[kind] = path
	return path
}

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "fakenvml-*")
	if err != nil {
		panic(err)
	}
	libraries.folder, libraries.paths = folder, map[string]string{}
	code := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// player is the library, seen through go-nvml, with a scenario to change.
type player struct {
	t        *testing.T
	scenario string
	nvml.Interface
}

func (p *player) play(s Scenario) {
	p.t.Helper()
	if err := s.Write(p.scenario); err != nil {
		p.t.Fatal(err)
	}
}

// open plays the scenario, initializes the library and returns the first device.
func (p *player) open(s Scenario) nvml.Device {
	p.t.Helper()
	p.play(s)
	p.want(p.Init(), nvml.SUCCESS)
	d, ret := p.DeviceGetHandleByIndex(0)
	p.want(ret, nvml.SUCCESS)
	return d
}

// want fails the test unless NVML answered so.
func (p *player) want(got, want nvml.Return) {
	p.t.Helper()
	if got != want {
		p.t.Fatalf("NVML answered %d (%v); want %d (%v)", got, nvml.ErrorString(got), want, nvml.ErrorString(want))
	}
}

// must returns the value of a call that succeeds.
func must[T any](p *player) func(value T, ret nvml.Return) T {
	return func(value T, ret nvml.Return) T {
		p.t.Helper()
		p.want(ret, nvml.SUCCESS)
		return value
	}
}

// scenarioOf is a scenario of a profile.
func (p *player) scenarioOf(model string, devices int) Scenario {
	p.t.Helper()
	s, err := Profile(model, devices)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}
