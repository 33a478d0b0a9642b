package nvml

import (
	"fmt"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/dl"
	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// defaultLibraries is where the library is looked for, in this order: the loader's own places (which the NVIDIA container
// runtime fills), the root of the GPU operator's driver container, and the folders of GKE's driver installer.
func defaultLibraries() []string {
	return []string{
		"libnvidia-ml.so.1",
		"/run/nvidia/driver/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
		"/run/nvidia/driver/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1",
		"/run/nvidia/driver/usr/lib64/libnvidia-ml.so.1",
		"/home/kubernetes/bin/nvidia/lib64/libnvidia-ml.so.1",
		"/usr/local/nvidia/lib64/libnvidia-ml.so.1",
	}
}

// required lists, per function the reader cannot do without, the names it may have: go-nvml takes the newest there is.
func required() [][]string {
	return [][]string{
		{"nvmlInit_v2", "nvmlInit"},
		{"nvmlShutdown"},
		{"nvmlErrorString"},
		{"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount"},
		{"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"},
		{"nvmlDeviceGetUUID"},
	}
}

// library is a loaded NVML. It stays loaded for the life of the process: its functions are bound as they are first called,
// and the bindings outlive an unload.
//
// go-nvml calls C functions by name without asking whether they exist, and the dynamic loader ends the process when one does
// not. So nothing is called before has said yes.
type library struct {
	path  string
	api   nvml.Interface
	own   *dl.DynamicLibrary
	found map[string]bool
}

// loadLibrary loads the first of the candidates that there is. An error of type *unusableError is about a library that was
// found; any other says where was looked.
func loadLibrary(candidates []string) (*library, error) {
	var tried []string
	for _, path := range candidates {
		own := dl.New(path, dl.RTLD_LAZY|dl.RTLD_GLOBAL)
		if err := own.Open(); err != nil {
			// Where it is not needs no more words than the path; this text is in every batch of a node without GPUs.
			tried = append(tried, strings.TrimSuffix(err.Error(), ": cannot open shared object file: No such file or directory"))
			continue
		}
		l := &library{path: path, api: nvml.New(nvml.WithLibraryPath(path)), own: own, found: map[string]bool{}}
		for _, names := range required() {
			if !l.hasAny(names) {
				return nil, &unusableError{path, names[0]}
			}
		}
		return l, nil
	}
	return nil, fmt.Errorf("looked for %s", strings.Join(tried, ", "))
}

// has reports whether the library exports the function.
func (l *library) has(function string) bool {
	found, known := l.found[function]
	if !known {
		found = l.own.Lookup(function) == nil
		l.found[function] = found
	}
	return found
}

func (l *library) hasAny(functions []string) bool {
	for _, f := range functions {
		if l.has(f) {
			return true
		}
	}
	return false
}

// driverVersion is empty when it cannot be had.
func (l *library) driverVersion() string {
	if !l.has("nvmlSystemGetDriverVersion") {
		return ""
	}
	version, ret := l.api.SystemGetDriverVersion()
	if ret != nvml.SUCCESS {
		return ""
	}
	return version
}

type unusableError struct{ path, function string }

func (e *unusableError) Error() string {
	return fmt.Sprintf("%s was loaded but is no usable NVML: it has no function %s", e.path, e.function)
}

// initState turns the result of nvmlInit into a state and what to tell the user.
func initState(ret nvml.Return) (State, string) {
	switch ret {
	case nvml.ERROR_DRIVER_NOT_LOADED:
		return StateDriverNotLoaded, "the NVIDIA kernel driver is not loaded on this node"
	case nvml.ERROR_LIB_RM_VERSION_MISMATCH:
		return StateDriverMismatch, "the kernel driver and the loaded library are of different versions: restart the agent to load the new library"
	case nvml.ERROR_NO_PERMISSION:
		return StateFailed, "no permission to open the NVIDIA devices: does the container have them?"
	default:
		return StateFailed, fmt.Sprintf("initialize NVML: %v", ret)
	}
}
