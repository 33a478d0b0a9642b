package nvml

import "time"

// State is where the reader stands with NVML. The words are label values of a metric.
type State string

// The states. In all but StateOK there are no readings.
const (
	// StateStarting: nothing was tried yet.
	StateStarting State = "starting"
	// StateLibraryMissing: no libnvidia-ml.so.1 could be loaded; a node without the NVIDIA driver stays here.
	StateLibraryMissing State = "library_missing"
	// StateDriverNotLoaded: the library is there, the kernel module is not.
	StateDriverNotLoaded State = "driver_not_loaded"
	// StateDriverMismatch: the kernel module was replaced by one of another version. A loaded library cannot be exchanged
	// within a process, so only a new one helps: see Status.LibraryReplaced.
	StateDriverMismatch State = "driver_mismatch"
	// StateReleased: NVML was given back on request, so that the driver can be unloaded.
	StateReleased State = "released"
	// StateHanging: nvmlInit does not return, or NVML cannot be given back because a call does not.
	StateHanging State = "hanging"
	// StateFailed: NVML gave another error, or none of its devices answers.
	StateFailed State = "failed"
	// StateNoDevices: NVML works and knows of no GPU.
	StateNoDevices State = "no_devices"
	// StateOK: NVML answers and knows of devices, though not every one may be readable.
	StateOK State = "ok"
)

// States lists every state.
func States() []State {
	return []State{StateStarting, StateLibraryMissing, StateDriverNotLoaded, StateDriverMismatch, StateReleased, StateHanging, StateFailed,
		StateNoDevices, StateOK}
}

// Up reports whether NVML answers.
func (s State) Up() bool { return s == StateOK || s == StateNoDevices }

// Status is what the last Read found.
type Status struct {
	State State
	// Since is when State became what it is; zero before the first Read.
	Since time.Time
	// DownSince is since when NVML has not answered, in whatever states; zero while it does, and before the first Read.
	DownSince time.Time
	// Message says what is wrong and what to do about it; empty when NVML answers.
	Message string
	// Devices counts the GPUs that were readable, Hanging those whose driver has not answered since an earlier Read.
	Devices, Hanging int
	// LibraryReplaced tells that there is another library now than the one that is loaded: only a new process will use it.
	LibraryReplaced bool
	// Library is what was loaded, Driver its version; empty until then.
	Library, Driver string
}
