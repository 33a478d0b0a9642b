package telemetry

// Metric is a row of the [Catalogue]. Its number is the wire number: never reuse or renumber one.
type Metric uint32

// The metrics, in the order of the catalogue, which says what each means.
const (
	UtilizationMean Metric = iota + 1
	UtilizationMax
	MemoryUsed
	MemoryTotal
	MemoryFree
	MemoryReserved
	MemoryBusy
	EncoderBusy
	DecoderBusy
	SMClock
	MemoryClock
	Temperature
	MemoryTemperature
	Power
	Energy
	PCIeTransmit
	PCIeReceive
	PCIeReplays
	NVLinkTransmit
	NVLinkReceive
	ECCVolatileCorrectable
	ECCVolatileUncorrectable
	ECCAggregateCorrectable
	ECCAggregateUncorrectable
	RemappedCorrectable
	RemappedUncorrectable
	RemapPending
	RemapFailed
	XIDErrors
	XIDLast
	ClockEventReasons
	GraphicsActive
	SMActive
	SMOccupancy
	TensorActive
	DRAMActive
)

// Kind says how a metric's values combine over time.
type Kind string

const (
	// Gauge values stand for a moment or a window.
	Gauge Kind = "gauge"
	// Counter values only grow, and begin again at zero when the driver or the agent is restarted.
	Counter Kind = "counter"
)

// Fold says how the samples of a window become its one value.
type Fold uint8

const (
	// FoldLast takes the newest sample: levels, and counters.
	FoldLast Fold = iota
	// FoldMean takes the mean: what is meant as a share or a rate over time.
	FoldMean
	// FoldMax takes the largest.
	FoldMax
)

// Split says what of a device's value its owners get.
type Split uint8

const (
	// SplitNone means: the value is the device's alone, such as a temperature. Usages do not carry it.
	SplitNone Split = iota
	// SplitProcess means: each owner gets what its own processes used; what is left is unattributed. The sum is the reading.
	SplitProcess
	// SplitTime means: each owner gets the part that its share of [UtilizationMean] is of the whole time; the sum is the
	// reading, and of a counter the sum of the increases is the reading's.
	SplitTime
	// SplitPeak means: each owner gets its own largest sample, never more than the device's. Peaks have no sum.
	SplitPeak
	// SplitSole means: only an owner that is alone on the device gets the value. It cannot be divided.
	SplitSole
	// SplitCapacity means: each owner gets the device's value, which says what there is and not what was used.
	SplitCapacity
)

// Definition describes one metric.
type Definition struct {
	Metric Metric
	// Name is the Prometheus name of the device's value, with its base unit as its suffix (before _total of a counter).
	// See [Definition.UsageName] and [Definition.UnattributedName] for the other two.
	Name string
	// Unit is empty where there is none: flags and codes.
	Unit  string
	Kind  Kind
	Fold  Fold
	Split Split
	Help  string
	// DCGM is the name NVIDIA's dcgm-exporter gives the same reading, empty where there is none; DCGMPerUnit is what one
	// base unit is in DCGM's unit (1 ratio = 100 %, 1 byte = 1/2^20 MiB).
	DCGM        string
	DCGMPerUnit float64
	// Source is the NVML call or field it is read from, best first.
	Source string
}

// UsageName is the Prometheus name of what one owner used; empty where usages do not carry the metric.
func (d Definition) UsageName() string { return d.named("foretide_pod", d.Split != SplitNone) }

// UnattributedName is the Prometheus name of what no owner used of a device; empty where that has no meaning.
func (d Definition) UnattributedName() string {
	return d.named("foretide_unattributed", d.Split.Sums())
}

func (d Definition) named(prefix string, has bool) string {
	if !has {
		return ""
	}
	return prefix + d.Name[len("foretide_device"):]
}

// Sums reports whether the values of all owners and what is unattributed add up to the reading.
func (s Split) Sums() bool { return s == SplitProcess || s == SplitTime }

// Known reports whether the catalogue has the metric. A newer peer may send ones it has not; they are ignored.
func (m Metric) Known() bool { return m >= 1 && int(m) <= len(catalogue) }

// Definition returns the metric's row; the metric must be known.
func (m Metric) Definition() Definition { return catalogue[m-1] }

// IsRatio reports whether the metric is a share, between 0 and 1.
func (m Metric) IsRatio() bool { return m.Known() && catalogue[m-1].Unit == "ratio" }
