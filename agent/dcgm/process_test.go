package dcgm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakedcgm"
)

const (
	inside = "FORETIDE_TEST_INSIDE"
	built  = "FORETIDE_TEST_LIBRARY"
)

// TestMain compiles the library once for all the processes.
func TestMain(m *testing.M) {
	if os.Getenv(inside) == "yes" {
		os.Exit(m.Run())
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "fakedcgm-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		library, err := fakedcgm.BuildLibrary(dir)
		if err == nil {
			err = os.Setenv(built, library)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// inOwnProcess runs body in a process of its own: a loaded libdcgm cannot be taken out of a process again, go-dcgm knows one
// connection, and a function that is missing ends the process.
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

// host is a machine with a library and a host engine to change.
type host struct {
	t   *testing.T
	dir string
	now time.Time
}

func (h *host) library() string { return filepath.Join(h.dir, fakedcgm.LibraryName) }

func (h *host) install() {
	h.t.Helper()
	// A copy, as the library looks for its scenario beside itself.
	library, err := os.ReadFile(os.Getenv(built))
	if err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(h.library(), library, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// installC builds a library of the given C source at path instead.
func (h *host) installC(path, source string, flags ...string) {
	h.t.Helper()
	file := path + ".c"
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		h.t.Fatal(err)
	}
	if out, err := exec.Command("gcc", append(flags, "-shared", "-fPIC", "-o", path, file)...).CombinedOutput(); err != nil {
		h.t.Fatalf("%v\n%s", err, out)
	}
}

func (h *host) play(s fakedcgm.Scenario) {
	h.t.Helper()
	if err := s.Write(filepath.Join(h.dir, fakedcgm.ScenarioName)); err != nil {
		h.t.Fatal(err)
	}
}

const address = "127.0.0.1:5555"

// reader has an interval by which nothing is ever too old, however the test turns the clock.
func (h *host) reader() *Reader { return h.readerEvery(24 * time.Hour) }

func (h *host) readerEvery(interval time.Duration) *Reader {
	return New(Options{Address: address, LibraryPath: h.library(), Interval: interval})
}

// after reads once, the given time later.
func (h *host) after(d time.Duration, r *Reader) ([]telemetry.Sample, []string) {
	h.now = h.now.Add(d)
	return r.Read(h.t.Context(), h.now)
}
