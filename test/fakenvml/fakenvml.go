// Package fakenvml writes and reads the scenario file of the scripted libnvidia-ml.so.1 beside it (lib/), and builds that
// library. The shipped agent loads it as it loads NVIDIA's own; what it then reads is what the scenario says.
//
//	Scenario → scenario.ini → libnvidia-ml.so.1 → agent
package fakenvml

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// LibraryName is the file name NVML is loaded by.
const LibraryName = "libnvidia-ml.so.1"

// ScenarioEnv names the environment variable that holds the scenario's path; without it the library reads ScenarioName in
// its own folder.
const (
	ScenarioEnv  = "FAKENVML_SCENARIO"
	ScenarioName = "scenario.ini"
)

// AllCalls stands for every call on the device, as a key of [Device.Errors].
const AllCalls = "*"

// Scenario is everything the library will say.
type Scenario struct {
	DriverVersion string
	// InitError is the nvmlReturn_t of nvmlInit; 0 is success, 9 is DRIVER_NOT_LOADED.
	InitError int
	// Devices in NVML's enumeration order; at most MaxDevices.
	Devices []Device
}

// MaxDevices is how many devices the library has room for.
const MaxDevices = 64

// Device is one GPU.
type Device struct {
	UUID, Name string
	// Minor is the number in /dev/nvidia<Minor>.
	Minor int
	// MemoryUsedBytes is what processes hold; MemoryReservedBytes comes on top and is the driver's own.
	MemoryTotalBytes, MemoryReservedBytes, MemoryUsedBytes uint64
	// UtilizationGPUPercent is what nvmlDeviceGetUtilizationRates says; more than 100 is allowed, as real drivers have been seen to.
	UtilizationGPUPercent, UtilizationMemoryPercent int
	Processes                                       []Process
	// Errors maps a function's full name, or AllCalls, to the nvmlReturn_t it gives for this device; 15 is GPU_IS_LOST.
	Errors map[string]int
}

// Process is one process that uses a device.
type Process struct {
	PID       int
	UsedBytes uint64
	// SMPercent is its share of the streaming multiprocessors' time.
	SMPercent int
}

// Default returns a scenario of n idle H100 devices.
func Default(n int) Scenario {
	s := Scenario{DriverVersion: "570.124.06"}
	for i := range n {
		s.Devices = append(s.Devices, Device{
			UUID: fmt.Sprintf("GPU-f0e7de00-0000-4000-8000-%012d", i), Name: "NVIDIA H100 80GB HBM3", Minor: i,
			// What NVML reports for this model.
			MemoryTotalBytes: 85_520_809_984,
		})
	}
	return s
}

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
