package telemetry

// Metric is a row of the [Catalogue]. Its number is the wire number: never reuse or renumber one.
type Metric uint32

// The metrics. Utilization is a ratio of the window's time in which at least one kernel ran (0 to 1).
const (
	UtilizationMean Metric = 1
	UtilizationMax  Metric = 2
	MemoryUsed      Metric = 3
	MemoryTotal     Metric = 4
)

// Kind says how a metric's values combine over time.
type Kind string

// Gauge values stand for a moment or a window.
const Gauge Kind = "gauge"

// Definition describes one metric.
type Definition struct {
	Metric Metric
	// Name is the Prometheus name of the device's value, base unit as its suffix. The usage of a pod has the same name with
	// "foretide_device" replaced by "foretide_pod".
	Name string
	Unit string
	Kind Kind
	Help string
	// DCGM is the name NVIDIA's dcgm-exporter gives the same reading, empty where there is none; DCGMPerUnit is what one
	// base unit is in DCGM's unit (1 ratio = 100 %, 1 byte = 1/2^20 MiB).
	DCGM        string
	DCGMPerUnit float64
	// Source is the NVML call it is read from.
	Source string
}

const mebibyte = 1 << 20

// Catalogue returns every metric, in wire order.
func Catalogue() []Definition {
	return []Definition{
		{
			UtilizationMean, "foretide_device_utilization_ratio", "ratio", Gauge,
			"Share of the window in which at least one kernel ran on the device, mean of the samples.",
			"DCGM_FI_DEV_GPU_UTIL", 100, "nvmlDeviceGetUtilizationRates",
		},
		{
			UtilizationMax, "foretide_device_utilization_max_ratio", "ratio", Gauge,
			"Largest sample of the share of time in which at least one kernel ran on the device within the window.",
			"", 0, "nvmlDeviceGetUtilizationRates",
		},
		{
			MemoryUsed, "foretide_device_memory_used_bytes", "bytes", Gauge,
			"Device memory allocated by processes, without what the driver reserves for itself, last sample of the window.",
			"DCGM_FI_DEV_FB_USED", 1.0 / mebibyte, "nvmlDeviceGetMemoryInfo_v2",
		},
		{
			MemoryTotal, "foretide_device_memory_bytes", "bytes", Gauge,
			"Device memory installed.",
			"", 0, "nvmlDeviceGetMemoryInfo_v2",
		},
	}
}

// Known reports whether the catalogue has the metric. A newer peer may send ones it has not; they are ignored.
func (m Metric) Known() bool {
	return m >= UtilizationMean && m <= MemoryTotal
}
