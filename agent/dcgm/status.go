package dcgm

import "time"

// State is where the reader stands with DCGM. The words are label values of a metric.
type State string

// The states. In all but StateOK there are no samples.
const (
	// StateStarting: nothing was tried yet.
	StateStarting State = "starting"
	// StateLibraryMissing: no libdcgm.so.4 could be loaded.
	StateLibraryMissing State = "library_missing"
	// StateEngineUnreachable: the library is there; no host engine answers at the address, or the one that did is gone.
	StateEngineUnreachable State = "engine_unreachable"
	// StateHanging: a call of the library does not return.
	StateHanging State = "hanging"
	// StateFailed: the address or the library is unusable, or none of the devices answers.
	StateFailed State = "failed"
	// StateNoDevices: the host engine answers and knows of no GPU.
	StateNoDevices State = "no_devices"
	// StateOK: the host engine answers and knows of devices, though not every one may be readable.
	StateOK State = "ok"
)

// States lists every state.
func States() []State {
	return []State{StateStarting, StateLibraryMissing, StateEngineUnreachable, StateHanging, StateFailed, StateNoDevices, StateOK}
}

// Up reports whether the host engine answers.
func (s State) Up() bool { return s == StateOK || s == StateNoDevices }

// Status is what the last Read found.
type Status struct {
	State State
	// Since is when State became what it is; zero before the first Read.
	Since time.Time
	// Message says what is wrong and what to do about it; empty when the host engine answers.
	Message string
	// Devices counts the GPUs that were readable.
	Devices int
	// Library is what was loaded, Driver the version of the NVIDIA driver that the host engine uses; empty until then.
	Library, Driver string
}
