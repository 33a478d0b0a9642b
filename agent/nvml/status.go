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
	// within a process, so only a restart of the agent helps.
	StateDriverMismatch State = "driver_mismatch"
	// StateFailed: NVML gave another error, or none of its devices answers.
	StateFailed State = "failed"
	// StateNoDevices: NVML works and knows of no GPU.
	StateNoDevices State = "no_devices"
	// StateOK: NVML answers and knows of devices, though not every one may be readable.
	StateOK State = "ok"
)

// States lists every state.
func States() []State {
	return []State{StateStarting, StateLibraryMissing, StateDriverNotLoaded, StateDriverMismatch, StateFailed, StateNoDevices, StateOK}
}

// Up reports whether NVML answers.
func (s State) Up() bool { return s == StateOK || s == StateNoDevices }

// Status is what the last Read found.
type Status struct {
	State State
	// Since is when State became what it is; zero before the first Read.
	Since time.Time
	// Message says what is wrong and what to do about it; empty when NVML answers.
	Message string
	// Devices counts the devices that were readable.
	Devices int
	// Library is what was loaded, Driver its version; empty until then.
	Library, Driver string
}
