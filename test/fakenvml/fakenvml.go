// Package fakenvml writes and reads the scenario file of the scripted libnvidia-ml.so.1 beside it (lib/), and builds that
// library. The shipped agent loads it as it loads NVIDIA's own; what it then reads is what the scenario says.
//
//	Scenario → scenario.ini → libnvidia-ml.so.1 → agent
//
// The library reads the file again as soon as it has changed, so a scenario is played by writing one after the other.
package fakenvml

import (
	"fmt"
	"math"
)

// Scenario is everything the library will say.
type Scenario struct {
	DriverVersion string
	// InitError is the nvmlReturn_t of nvmlInit; 0 is success, 9 is DRIVER_NOT_LOADED.
	InitError int
	// NowMicroseconds is the library's clock, Unix µs: it stamps samples and process utilization and runs the energy meters.
	// 0 is the real clock. How far apart samples of the performance monitor are, and how long calls take, is real time always.
	NowMicroseconds int64
	// Devices in NVML's enumeration order; at most MaxDevices.
	Devices []Device
}

// How much the library has room for: devices, and MIG instances of a device.
const (
	MaxDevices   = 64
	MaxInstances = 8
)

// RingSize is how many utilization samples the driver keeps.
const RingSize = 120

// AllCalls stands for every call on the device, in [Device.Errors], [Device.Hangs] and [Device.Delays].
const AllCalls = "*"

// NotAvailable is what NVML says of memory it does not know the size of.
const NotAvailable uint64 = math.MaxUint64

// Device is one GPU. Clocks, temperature, power and power limit of 0 are ones the device does not tell (NOT_SUPPORTED); load of
// 0 is idle.
type Device struct {
	UUID, Name string
	// Minor is the number in /dev/nvidia<Minor>.
	Minor int
	// PCIBusID such as 00000000:1B:00.0; empty is one derived from the index.
	PCIBusID string
	// ComputeCapability is CUDA's, such as 9.0; the architecture follows from it. Empty is one the device does not tell.
	ComputeCapability string
	// Brand is the nvmlBrandType_t.
	Brand int
	// MemoryUsedBytes is what processes hold; MemoryReservedBytes comes on top and is the driver's own.
	MemoryTotalBytes, MemoryReservedBytes, MemoryUsedBytes uint64
	// UtilizationGPUPercent and the other shares are those of the whole GPU; more than 100 is allowed, as real drivers have been
	// seen to say. A GPU in MIG mode does not tell them.
	UtilizationGPUPercent, UtilizationMemoryPercent, EncoderPercent, DecoderPercent int
	SMClockMHz, MemoryClockMHz, TemperatureCelsius                                  int
	PowerMilliwatts, PowerLimitMilliwatts                                           int
	// ClockEventReasons is a bitmask of nvmlClocksEventReason….
	ClockEventReasons uint64
	// Fields are what nvmlDeviceGetFieldValues says, by NVML_FI_ id; what is not there is NOT_SUPPORTED. Fields 138 to 141
	// (NVLink throughput) answer for the sum of all links alone. Those of 32 bits, which 197 and 198 (PCIe bytes) are, wrap.
	Fields map[int]uint64
	// EnergyFromPower adds to field 83 the power over the library's clock since the library was loaded.
	EnergyFromPower bool
	// SamplePeriodMicroseconds is how far apart the driver's utilization samples are: one is taken at each multiple of it since
	// 1970. With 0 nvmlDeviceGetSamples is NOT_SUPPORTED, and process utilization has samples 1/6 s apart.
	//
	// A sample keeps the load of its time: a scenario counts from its NowMicroseconds, or else from when it was written, until
	// the next. The first one counts for the time before it, too. One that was replaced before any call saw it never was.
	SamplePeriodMicroseconds int
	// Bursts are short loads, past or to come.
	Bursts    []Burst
	Processes []Process
	// MIGMode says that the GPU is divided into MIGInstances, each in the slot of its index. One without a UUID is an empty slot.
	MIGMode      bool
	MIGInstances []MIGInstance
	// GPM are the performance monitor's values by NVML_GPM_METRIC_ id; nil is a device that has no monitor.
	GPM map[int]float64
	// XIDs are delivered once per event set, those above the highest sequence that was there when the set was registered.
	XIDs []XID
	// Errors maps a function's full name, such as nvmlDeviceGetMemoryInfo_v2, or AllCalls, to the nvmlReturn_t it gives for this
	// device and its MIG instances; 15 is GPU_IS_LOST.
	Errors map[string]int
	// Hangs are functions that do not return while they are listed. nvmlEventSetWait_v2, which is about no one device, does so
	// where it is listed by its name.
	Hangs []string
	// Delays are the milliseconds that functions take.
	Delays map[string]int
}

// Process is one process that uses a device.
type Process struct {
	PID int
	// UsedBytes may be NotAvailable.
	UsedBytes uint64
	// SMPercent and the others are its shares of the device's time.
	SMPercent, MemoryPercent, EncoderPercent, DecoderPercent int
	Kind                                                     ProcessKind
	// GPUInstance and ComputeInstance are where it runs; nil is nowhere on a GPU, and the instance itself on a MIG instance.
	GPUInstance, ComputeInstance *int
}

// ProcessKind says in which of NVML's three lists a process is.
type ProcessKind string

// The kinds of processes. Compute is what an empty one means.
const (
	Compute  ProcessKind = "compute"
	Graphics ProcessKind = "graphics"
	MPS      ProcessKind = "mps"
)

// Burst is a load of the GPU that counts where it is above the scenario's.
type Burst struct {
	StartMicroseconds, LengthMicroseconds int64
	Percent                               int
}

// XID is one error that the driver reports as an event.
type XID struct {
	Sequence uint64
	Code     int
}

// MIGInstance is one compute instance of a GPU in MIG mode, with what its GPU instance has.
type MIGInstance struct {
	UUID                         string
	GPUInstance, ComputeInstance int
	// Profile such as 1g.10gb.
	Profile                                                string
	PlacementStart, PlacementSize                          int
	MemoryTotalBytes, MemoryReservedBytes, MemoryUsedBytes uint64
	GPM                                                    map[int]float64
	Processes                                              []Process
	// Errors are those of this instance alone.
	Errors map[string]int
}

// Default returns a scenario of n idle H100 devices of which nothing but name, memory and utilization is told. [Profile] has more.
func Default(n int) Scenario {
	s := Scenario{DriverVersion: defaultDriver}
	for i := range n {
		s.Devices = append(s.Devices, Device{
			UUID: uuidOf(i), Name: "NVIDIA H100 80GB HBM3", Minor: i,
			// What NVML reports for this model.
			MemoryTotalBytes: 85_520_809_984,
		})
	}
	return s
}

const defaultDriver = "570.124.06"

func uuidOf(device int) string { return fmt.Sprintf("GPU-f0e7de00-0000-4000-8000-%012d", device) }
