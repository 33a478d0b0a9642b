package fakenvml

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
)

// LibraryName is the file name NVML is loaded by.
const LibraryName = "libnvidia-ml.so.1"

// ScenarioEnv names the environment variable that holds the scenario's path; without it the library reads ScenarioName in
// its own folder.
const (
	ScenarioEnv  = "FAKENVML_SCENARIO"
	ScenarioName = "scenario.ini"
)

// Variant is a library of another driver.
type Variant struct {
	// Version is the driver's that the library belongs to. nvmlInit fails with LIB_RM_VERSION_MISMATCH (18) where the scenario's
	// is another, as when a driver was replaced under a running program. Empty fits any.
	Version string
	// Without lists functions that the library lacks.
	Without []string
}

// OldDriver is one before R510: no versions of functions, and no functions, that came since. On it a name without a version
// is all there is.
func OldDriver() Variant {
	var v Variant
	for _, list := range []string{"Compute", "Graphics", "MPSCompute"} {
		name := "nvmlDeviceGet" + list + "RunningProcesses"
		v.Without = append(v.Without, name+"_v2", name+"_v3")
	}
	v.Without = append(v.Without, "nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetCurrentClocksEventReasons",
		"nvmlDeviceGetProcessesUtilizationInfo", "nvmlGpmQueryDeviceSupport", "nvmlGpmSampleAlloc", "nvmlGpmSampleFree",
		"nvmlGpmSampleGet", "nvmlGpmMigSampleGet", "nvmlGpmMetricsGet")
	return v
}

// BuildLibrary compiles the library into folder dir, unless it is there and up to date, and returns its path. It needs a C
// compiler ($CC, else gcc).
func BuildLibrary(dir string) (string, error) { return BuildVariant(dir, Variant{}) }

// BuildVariant is [BuildLibrary] of another driver's library. It replaces one of another variant.
func BuildVariant(dir string, v Variant) (string, error) {
	_, self, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(self) {
		return "", fmt.Errorf("the sources of %s are not known to a binary built with -trimpath", LibraryName)
	}
	script := filepath.Join(filepath.Dir(self), "build.sh")
	arguments := slices.Concat([]string{dir, v.Version}, v.Without)
	if out, err := exec.Command(script, arguments...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s %q: %w\n%s", script, arguments, err, out)
	}
	path := filepath.Join(dir, LibraryName)
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	return path, nil
}
