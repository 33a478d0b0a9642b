package fakenvml

import (
	"fmt"
	"maps"
	"slices"
)

// profile is what is known of a model. All of it is idle, with clocks up (performance state 0).
type profile struct {
	name, computeCapability string
	brand                   int
	memoryMiB               uint64 // as nvidia-smi shows it
	powerLimitWatts         int
	idleWatts               int // what nvidia-smi has been seen to show, within a few watts
	smClockMHz              int // the highest
	memoryClockMHz          int
	fields                  []int
	gpm                     []int
	mig                     map[string]migProfile
	refused                 []string
}

// Brands of nvml.h: what data centre GPUs say since R450, and GeForce.
const (
	brandNVIDIA  = 14
	brandGeForce = 5
)

// The fields of nvml.h, by what it takes to have them.
var (
	everyGPU = []int{
		83,       // energy: Volta and newer (nvmlDeviceGetTotalEnergyConsumption)
		94,       // PCIe replays
		186, 190, // power of the moment, its limit
	}
	withECC         = []int{3, 4, 5, 6}
	withHBM         = []int{82}                 // memory temperature
	withRowRemapper = []int{142, 143, 144, 145} // data centre GPUs of Ampere and newer (nvmlDeviceGetRemappedRows)
	withNVLink      = []int{138, 139, 140, 141}
	withMeanPower   = []int{185} // Ampere and newer, but not GA100 (NVML_FI_DEV_POWER_AVERAGE)
	// Which GPUs count PCIe bytes is not documented; it is taken to be those with a performance monitor.
	withPCIeBytes = []int{197, 198}
)

// hopperGPM are some of the metrics of the performance monitor, which Hopper and newer have (nvmlGpmMetricsGet): graphics, SM,
// occupancy, tensor, DRAM; PCIe and NVLink both ways.
var hopperGPM = []int{1, 2, 3, 5, 10, 20, 21, 60, 61}

// What a GPU without MIG refuses.
var noMIG = []string{"nvmlDeviceGetMigMode"}

// Names, memory and power limits are what nvidia-smi prints for the card (seen in public reports, such as TensorRT-LLM issue
// 10278 for B200 and nvidia-docker issue 1628 for T4); clocks and compute capabilities are of NVIDIA's data sheets and of the
// CUDA programming guide.
var profiles = map[string]profile{
	"a100": {
		name: "NVIDIA A100-SXM4-80GB", computeCapability: "8.0", brand: brandNVIDIA, memoryMiB: 81920,
		powerLimitWatts: 400, idleWatts: 60, smClockMHz: 1410, memoryClockMHz: 1593,
		fields: slices.Concat(everyGPU, withECC, withHBM, withRowRemapper, withNVLink), mig: migOf("10", "20", "20", "40", "40", "80"),
	},
	"h100": {
		name: "NVIDIA H100 80GB HBM3", computeCapability: "9.0", brand: brandNVIDIA, memoryMiB: 81559,
		powerLimitWatts: 700, idleWatts: 70, smClockMHz: 1980, memoryClockMHz: 2619,
		fields: slices.Concat(everyGPU, withECC, withHBM, withRowRemapper, withNVLink, withMeanPower, withPCIeBytes),
		gpm:    hopperGPM, mig: migOf("10", "20", "20", "40", "40", "80"),
	},
	"h200": {
		name: "NVIDIA H200", computeCapability: "9.0", brand: brandNVIDIA, memoryMiB: 143771,
		powerLimitWatts: 700, idleWatts: 76, smClockMHz: 1980, memoryClockMHz: 3201,
		fields: slices.Concat(everyGPU, withECC, withHBM, withRowRemapper, withNVLink, withMeanPower, withPCIeBytes),
		gpm:    hopperGPM, mig: migOf("18", "35", "35", "71", "71", "141"),
	},
	"b200": {
		name: "NVIDIA B200", computeCapability: "10.0", brand: brandNVIDIA, memoryMiB: 183359,
		powerLimitWatts: 1000, idleWatts: 190, smClockMHz: 1965, memoryClockMHz: 3996,
		fields: slices.Concat(everyGPU, withECC, withHBM, withRowRemapper, withNVLink, withMeanPower, withPCIeBytes),
		gpm:    hopperGPM, mig: migOf("23", "45", "45", "90", "90", "180"),
	},
	"t4": {
		name: "Tesla T4", computeCapability: "7.5", brand: brandNVIDIA, memoryMiB: 15360,
		powerLimitWatts: 70, idleWatts: 26, smClockMHz: 1590, memoryClockMHz: 5001,
		fields: slices.Concat(everyGPU, withECC), refused: noMIG,
	},
	"l4": {
		name: "NVIDIA L4", computeCapability: "8.9", brand: brandNVIDIA, memoryMiB: 23034,
		powerLimitWatts: 72, idleWatts: 28, smClockMHz: 2040, memoryClockMHz: 6251,
		fields: slices.Concat(everyGPU, withECC, withRowRemapper, withMeanPower), refused: noMIG,
	},
	"rtx4090": { // a consumer's GPU: no ECC, no row remapper, no NVLink, no MIG, no performance monitor
		name: "NVIDIA GeForce RTX 4090", computeCapability: "8.9", brand: brandGeForce, memoryMiB: 24564,
		powerLimitWatts: 450, idleWatts: 50, smClockMHz: 2520, memoryClockMHz: 10501,
		fields: slices.Concat(everyGPU, withMeanPower), refused: noMIG,
	},
}

// Profiles lists the models that Profile knows.
func Profiles() []string { return slices.Sorted(maps.Keys(profiles)) }

// Profile returns a scenario of n idle devices of a model, with everything that the model's driver tells.
func Profile(model string, n int) (Scenario, error) {
	p, ok := profiles[model]
	if !ok {
		return Scenario{}, fmt.Errorf("model %q is not one of %q", model, Profiles())
	}
	s := Scenario{DriverVersion: defaultDriver}
	for i := range n {
		s.Devices = append(s.Devices, p.device(i))
	}
	return s, nil
}

const (
	mebibyte = 1 << 20
	// ringPeriodMicroseconds is the shortest period of nvmlUtilization_t, 1/6 s.
	ringPeriodMicroseconds = 166_667
	// reservedBytes is about what a driver keeps for itself.
	reservedBytes = 512 * mebibyte
	idleCelsius   = 34
)

func (p profile) device(i int) Device {
	d := Device{
		UUID: uuidOf(i), Name: p.name, Minor: i, ComputeCapability: p.computeCapability, Brand: p.brand,
		MemoryTotalBytes: p.memoryMiB * mebibyte, MemoryReservedBytes: reservedBytes,
		SMClockMHz: p.smClockMHz, MemoryClockMHz: p.memoryClockMHz, TemperatureCelsius: idleCelsius,
		PowerMilliwatts: p.idleWatts * 1000, PowerLimitMilliwatts: p.powerLimitWatts * 1000,
		ClockEventReasons: 1, // idle
		Fields:            map[int]uint64{}, EnergyFromPower: true, SamplePeriodMicroseconds: ringPeriodMicroseconds,
		GPM: zeros(p.gpm),
	}
	for _, id := range p.fields {
		d.Fields[id] = 0
	}
	for id, value := range map[int]int{82: idleCelsius + 6, 185: d.PowerMilliwatts, 186: d.PowerMilliwatts, 190: d.PowerLimitMilliwatts} {
		if _, has := d.Fields[id]; has {
			d.Fields[id] = uint64(value)
		}
	}
	for _, function := range p.refused {
		if d.Errors == nil {
			d.Errors = map[string]int{}
		}
		d.Errors[function] = notSupported
	}
	return d
}

const notSupported = 3

// zeros is nil where there are no metrics.
func zeros(metrics []int) map[int]float64 {
	if metrics == nil {
		return nil
	}
	values := map[int]float64{}
	for _, id := range metrics {
		values[id] = 0
	}
	return values
}
