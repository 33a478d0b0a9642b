// Package fakedcgm writes the scenario file of the scripted libdcgm.so.4 beside it (lib/), and builds that library. The shipped
// agent loads it through go-dcgm as it loads NVIDIA's own; what it then reads is what the scenario says.
//
//	Scenario → dcgm.ini → libdcgm.so.4 → go-dcgm → agent
package fakedcgm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// LibraryName is the file name DCGM's library is loaded by.
const LibraryName = "libdcgm.so.4"

// ScenarioEnv names the environment variable that holds the scenario's path; without it the library reads ScenarioName in its
// own folder.
const (
	ScenarioEnv  = "FAKEDCGM_SCENARIO"
	ScenarioName = "dcgm.ini"
)

// Scenario is a host engine. Errors are dcgmReturn_t numbers: 0 is success, -21 is CONNECTION_NOT_VALID.
type Scenario struct {
	// Address is where the engine listens, host:port or unix:///path; empty is anywhere.
	Address string
	// ConnectError is what connecting gives. Connections that exist are lost as long as it is not 0.
	ConnectError int
	// Run says which run of the engine this is: a connection made in another is lost.
	Run int
	// ProfilingError is what watching a profiling field gives, HierarchyError what asking for MIG instances does.
	ProfilingError, HierarchyError int
	// Interval is the one a watch must ask for; 0 is any.
	Interval time.Duration
	// Hang names the function that does not return for as long as the scenario says so.
	Hang string
	// Entities are what the engine knows of; at most MaxEntities.
	Entities []Entity
}

// How many entities, and fields of each, the library has room for.
const (
	MaxEntities = 128
	MaxFields   = 64
)

// Kind is the kind of an entity, by the number DCGM gives it.
type Kind int

// The kinds.
const (
	GPU             Kind = 1
	GPUInstance     Kind = 4
	ComputeInstance Kind = 5
)

// Entity is a GPU, or a MIG instance on one of the two levels.
type Entity struct {
	Kind Kind
	// ID is the engine's number of it, Parent that of the entity one level up; a GPU has none.
	ID, Parent int
	// NVMLIndex is NVML's index of the GPU; GPUInstance and ComputeInstance are its numbers of the instances.
	NVMLIndex, GPUInstance, ComputeInstance int
	// Error is what asking for the entity's values gives.
	Error int
	// Fields are what the engine reads of it, by DCGM_FI_ number; of a field that is not here there is no data.
	Fields map[int]Value
}

// Value is what the engine says of one field.
type Value struct {
	kind   byte
	text   string
	age    time.Duration
	status int
}

// Int is the value of a field of whole numbers.
func Int(n int64) Value { return Value{kind: 'i', text: fmt.Sprint(n)} }

// Double is the value of a field of other numbers.
func Double(x float64) Value { return Value{kind: 'd', text: fmt.Sprint(x)} }

// Text is the value of a field of words.
func Text(s string) Value { return Value{kind: 's', text: s} }

// Aged returns the value as it was read the given time ago.
func (v Value) Aged(age time.Duration) Value { v.age = age; return v }

// Failed returns the value with the dcgmReturn_t of a read that failed.
func (v Value) Failed(status int) Value { v.status = status; return v }

// DCGM's marks for "no value": of whole numbers, other numbers and words (dcgm_structs.h).
var (
	BlankInt    = Int(0x7ffffffffffffff0)
	BlankDouble = Double(140737488355328)
	BlankText   = Text("<<<NULL>>>")
)

// BuildLibrary compiles the library into folder dir, unless it is there and up to date, and returns its path. It needs a C
// compiler ($CC, else gcc).
func BuildLibrary(dir string) (string, error) {
	_, self, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(self) {
		return "", fmt.Errorf("the sources of %s are not known to a binary built with -trimpath", LibraryName)
	}
	script := filepath.Join(filepath.Dir(self), "build.sh")
	if out, err := exec.Command(script, dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", script, dir, err, out)
	}
	path := filepath.Join(dir, LibraryName)
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	return path, nil
}
