package nvml

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

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

// required lists the functions the reader cannot do without.
func required() []string {
	return []string{"nvmlInit", "nvmlShutdown", "nvmlErrorString", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetUUID"}
}

// versions lists, per function of which go-nvml takes the newest version the library has, the names it may have (go-nvml,
// pkg/nvml/lib.go, updateVersionedSymbols). Any other function is called by its own name and no other.
var versions = map[string][]string{
	"nvmlInit":                                {"nvmlInit_v2", "nvmlInit"},
	"nvmlDeviceGetCount":                      {"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount"},
	"nvmlDeviceGetHandleByIndex":              {"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"},
	"nvmlDeviceGetPciInfo":                    {"nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfo"},
	"nvmlEventSetWait":                        {"nvmlEventSetWait_v2", "nvmlEventSetWait"},
	"nvmlDeviceGetComputeRunningProcesses":    processVersions("nvmlDeviceGetComputeRunningProcesses"),
	"nvmlDeviceGetGraphicsRunningProcesses":   processVersions("nvmlDeviceGetGraphicsRunningProcesses"),
	"nvmlDeviceGetMPSComputeRunningProcesses": processVersions("nvmlDeviceGetMPSComputeRunningProcesses"),
}

func processVersions(name string) []string { return []string{name + "_v3", name + "_v2", name} }

// library is a loaded NVML. It stays loaded for the life of the process: its functions are bound as they are first called,
// and the bindings outlive an unload.
//
// go-nvml calls C functions by name without asking whether they exist, and the dynamic loader ends the process when one does
// not. So nothing is called before has said yes.
type library struct {
	path  string
	api   nvml.Interface
	own   *dl.DynamicLibrary
	mu    sync.Mutex
	found map[string]bool
	// inode is that of the file that was loaded; 0 when it is not known.
	file  string
	inode uint64
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
		for _, function := range required() {
			if !l.has(function) {
				return nil, &unusableError{path, function}
			}
		}
		l.note()
		return l, nil
	}
	return nil, fmt.Errorf("looked for %s", strings.Join(tried, ", "))
}

// has reports whether the library exports all of the functions, in any version. It may be called by several goroutines at once.
func (l *library) has(functions ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range functions {
		found, known := l.found[f]
		if !known {
			found = l.exports(f)
			l.found[f] = found
		}
		if !found {
			return false
		}
	}
	return true
}

func (l *library) exports(function string) bool {
	names := versions[function]
	if names == nil {
		names = []string{function}
	}
	return slices.ContainsFunc(names, func(name string) bool { return l.own.Lookup(name) == nil })
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

// replaced reports whether the file that was loaded is no longer the one at its path: the driver was upgraded. A process keeps
// what it has loaded, so only a new one gets the new library.
func (l *library) replaced() bool {
	if l.inode == 0 {
		return false
	}
	now := inodeOf(l.file)
	return now != 0 && now != l.inode // gone is not replaced: there is nothing new to load yet
}

// note remembers which file was loaded, as the file system says it: the kernel's list of mappings may name another inode where file
// systems are stacked.
func (l *library) note() {
	if maps, err := os.ReadFile("/proc/self/maps"); err == nil {
		if path, ok := mappedLibrary(string(maps)); ok {
			l.file, l.inode = path, inodeOf(path)
		}
	}
}

// inodeOf returns 0 when there is no such file.
func inodeOf(path string) uint64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return stat.Ino
}

// mappedLibrary finds NVML in /proc/<pid>/maps (proc(5)): address, rights, offset, device, inode, path.
func mappedLibrary(maps string) (path string, ok bool) {
	for line := range strings.Lines(maps) {
		fields := strings.Fields(line)
		if len(fields) >= 6 && strings.Contains(filepath.Base(fields[5]), "libnvidia-ml.so") {
			return fields[5], true
		}
	}
	return "", false
}
