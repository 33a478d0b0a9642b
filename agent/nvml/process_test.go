package nvml

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakenvml"
)

const inside = "FORETIDE_TEST_INSIDE"

// inOwnProcess runs body in a process of its own: a loaded NVML cannot be taken out of a process again, and a function that
// is missing from it ends the process.
func inOwnProcess(t *testing.T, body func(t *testing.T, h *host)) {
	t.Helper()
	if os.Getenv(inside) == "yes" {
		body(t, &host{t: t, dir: os.Getenv("FORETIDE_TEST_DIR"), now: time.Now()})
		return
	}
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	// Under the race detector a process sleeps for a second before it ends, unless it is told not to.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", inside+"=yes", "FORETIDE_TEST_DIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// host is a machine with a library and a scenario to change.
type host struct {
	t   *testing.T
	dir string
	now time.Time
}

func (h *host) library() string { return filepath.Join(h.dir, fakenvml.LibraryName) }

func (h *host) install() {
	h.t.Helper()
	built, err := fakenvml.BuildLibrary("../../test/fakenvml/build") // once for all tests
	if err != nil {
		h.t.Fatal(err)
	}
	text, err := os.ReadFile(built)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(h.library(), text, 0o700); err != nil {
		h.t.Fatal(err)
	}
}

// installC builds a library of the given C source instead.
func (h *host) installC(source string) {
	h.t.Helper()
	file := filepath.Join(h.dir, "other.c")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		h.t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", h.library(), file).CombinedOutput(); err != nil {
		h.t.Fatalf("%v\n%s", err, out)
	}
}

func (h *host) play(s fakenvml.Scenario) {
	h.t.Helper()
	if err := s.Write(filepath.Join(h.dir, fakenvml.ScenarioName)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) reader() *Reader { return New(Options{LibraryPath: h.library()}) }

// after reads once, the given time later.
func (h *host) after(d time.Duration, r *Reader) ([]telemetry.Sample, []string) {
	h.now = h.now.Add(d)
	return r.Read(h.t.Context(), h.now)
}

func (h *host) scenario() string { return filepath.Join(h.dir, fakenvml.ScenarioName) }
