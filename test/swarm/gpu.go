package swarm

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/foretide/foretide/pkg/telemetry"
)

// ofDevice and ofPod are the 20 values of a GPU that are sent unless all are asked for.
var (
	ofDevice = set(telemetry.UtilizationMean, telemetry.UtilizationMax, telemetry.MemoryUsed, telemetry.MemoryTotal, telemetry.MemoryBusy,
		telemetry.SMClock, telemetry.Temperature, telemetry.Power, telemetry.Energy, telemetry.PCIeTransmit, telemetry.PCIeReceive, telemetry.XIDErrors)
	ofPod = set(telemetry.UtilizationMean, telemetry.UtilizationMax, telemetry.MemoryUsed, telemetry.MemoryTotal, telemetry.MemoryBusy,
		telemetry.Power, telemetry.Energy, telemetry.PCIeTransmit)
)

func set(metrics ...telemetry.Metric) map[telemetry.Metric]bool {
	out := map[telemetry.Metric]bool{}
	for _, m := range metrics {
		out[m] = true
	}
	return out
}

// The GPU is an H100's size.
const (
	memoryTotal = 80 << 30
	memoryPage  = 2 << 20 // what the driver gives at a time
	idleWatts   = 72.0
	busyWatts   = 610.0
	// samplesPerSecond is how often the driver samples utilization, in whole percent; a window has the mean.
	samplesPerSecond = 6
	// idlePods is the part of pods that never do anything.
	idlePods = 0.2
)

// gpu is one device and the pod that has it.
type gpu struct {
	device telemetry.Device
	pod    telemetry.Pod // no name: free

	level, low, high                   float64 // the share of time the pod is busy goes up and down between the two
	mean, peak, memoryBusy             float64
	memory                             float64
	clock, temperature, watts          float64
	joules, podJoules, freeJoules      float64 // since the driver was loaded, of the pod, and while there was none
	transmit, receive, link, occupancy float64
}

func newGPU(r *rand.Rand, uuid string, index int) gpu {
	return gpu{
		device: telemetry.Device{UUID: uuid, Index: index, Minor: index, Model: "NVIDIA H100 80GB HBM3", PCIBusID: fmt.Sprintf("00000000:%02X:00.0", 0x18+index*0x10)},
		joules: math.Floor(r.Float64() * 1e9), temperature: 35 + math.Floor(r.Float64()*5), clock: 1980e6,
	}
}

// begin is a pod's first moment.
func (g *gpu) begin(r *rand.Rand) {
	g.podJoules = 0
	g.low, g.high = 0, 0
	if r.Float64() > idlePods {
		g.low = r.Float64() * 0.3
		g.high = g.low + r.Float64()*(1-g.low)
	}
	g.level = g.low
	g.memory = memoryPage * math.Floor((0.1+0.8*r.Float64())*memoryTotal/memoryPage)
}

func (g *gpu) end() {
	g.pod = telemetry.Pod{}
	g.low, g.high, g.level, g.memory = 0, 0, 0, 0
}

// advance lets a window of some seconds pass.
func (g *gpu) advance(r *rand.Rand, seconds float64) {
	g.level = min(g.high, max(g.low, g.level+r.NormFloat64()*0.01*math.Sqrt(seconds)))
	samples := max(1, math.Round(samplesPerSecond*seconds))
	g.mean, g.peak, g.memoryBusy = 0, 0, 0
	if g.high > 0 {
		spread := 0.12 * min(1, g.level*4)
		percent := 100 * (g.level + r.NormFloat64()*spread/math.Sqrt(samples))
		g.mean = clamp(math.Round(percent*samples) / samples / 100)
		g.peak = max(g.mean, clamp(math.Round(100*(g.level+spread*(1.5+r.Float64())))/100))
		g.memoryBusy = clamp(math.Round(g.mean*(0.5+0.05*r.NormFloat64())*100*samples) / samples / 100)
	}
	if g.high > 0 && r.Float64() < 0.02*seconds {
		g.memory = min(0.98*memoryTotal, max(memoryPage, g.memory+memoryPage*math.Round(r.NormFloat64()*200)))
	}
	g.watts = idleWatts + (busyWatts-idleWatts)*g.mean + r.NormFloat64()*2
	g.joules += g.watts * seconds
	if g.pod.Name == "" {
		g.freeJoules += g.watts * seconds
	} else {
		g.podJoules += g.watts * seconds
	}
	g.temperature = math.Round(0.9*g.temperature + 0.1*(34+40*g.mean) + 0.3*r.NormFloat64())
	if g.clock = 1980e6; g.watts > 550 {
		g.clock = 1980e6 - 15e6*math.Floor(r.Float64()*8)
	}
	g.transmit = max(0, 2.5e9*g.mean*(1+0.2*r.NormFloat64()))
	g.receive = max(0, 3.5e9*g.mean*(1+0.2*r.NormFloat64()))
	g.link = max(0, 40e9*g.mean*(1+0.2*r.NormFloat64()))
	g.occupancy = clamp(g.mean * (0.4 + 0.02*r.NormFloat64()))
}

func clamp(ratio float64) float64 { return min(1, max(0, ratio)) }

// reading is the device's value.
func (g *gpu) reading(m telemetry.Metric) float64 {
	switch m {
	case telemetry.UtilizationMean:
		return g.mean
	case telemetry.UtilizationMax:
		return g.peak
	case telemetry.MemoryUsed:
		return g.memory
	case telemetry.MemoryTotal:
		return memoryTotal
	case telemetry.MemoryFree:
		return memoryTotal - g.memory
	case telemetry.MemoryBusy:
		return g.memoryBusy
	case telemetry.SMClock:
		return g.clock
	case telemetry.MemoryClock:
		return 2619e6
	case telemetry.Temperature:
		return g.temperature
	case telemetry.MemoryTemperature:
		return g.temperature + 8
	case telemetry.Power:
		return g.watts
	case telemetry.Energy:
		return g.joules
	case telemetry.PCIeTransmit:
		return g.transmit
	case telemetry.PCIeReceive:
		return g.receive
	case telemetry.NVLinkTransmit, telemetry.NVLinkReceive:
		return g.link
	case telemetry.GraphicsActive, telemetry.SMActive:
		return g.mean
	case telemetry.SMOccupancy:
		return g.occupancy
	case telemetry.TensorActive, telemetry.DRAMActive:
		return clamp(1.1 * g.occupancy)
	}
	return 0 // what counts errors and events: there were none
}

// usage is what the pod has of it: it is alone on the device.
func (g *gpu) usage(m telemetry.Metric) float64 {
	if m == telemetry.Energy {
		return g.podJoules
	}
	return g.reading(m)
}

// unattributed is what nobody has: everything while no pod is there.
func (g *gpu) unattributed(m telemetry.Metric) float64 {
	switch {
	case m == telemetry.Energy:
		return g.freeJoules
	case g.pod.Name == "":
		return g.reading(m)
	}
	return 0
}
