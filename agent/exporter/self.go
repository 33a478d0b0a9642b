package exporter

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Self is how the agent is doing.
type Self struct {
	// NVMLUp is true when NVML answers, also when it knows of no device.
	NVMLUp bool
	// NVMLState is one of NVMLStates.
	NVMLState  string
	NVMLStates []string
	// Devices were readable at the last tick.
	Devices int
	// KubeletUp is true when the kubelet answered at the last tick.
	KubeletUp bool
	// Problems were found at the last tick.
	Problems int
	// LastTick is when the last tick began; zero before the first.
	LastTick time.Time
	// Sending is nil when there is no aggregator to send to.
	Sending *Sending
}

// Sending is how the way to the aggregator is doing.
type Sending struct {
	Connected                      bool
	SpoolBatches, SpoolBytes       int
	Dropped, Refused, Acknowledged uint64
}

// selfCollector asks at each scrape.
type selfCollector struct {
	self func() Self

	build, nvmlUp, nvmlState, devices, kubeletUp, problems, lastTick *prometheus.Desc
	connected, batches, bytes, dropped, refused, acknowledged        *prometheus.Desc
	version                                                          string
}

func newSelfCollector(version string, self func() Self) *selfCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("foretide_agent_"+name, help, labels, nil)
	}
	return &selfCollector{
		self: self, version: version,
		build:        desc("build_info", "Always 1; the labels say what runs.", "version", "go_version"),
		nvmlUp:       desc("nvml_up", "Whether NVML answers (1), even if it knows of no device."),
		nvmlState:    desc("nvml_state", "1 for the state the agent is in with NVML, 0 for the others.", "state"),
		devices:      desc("devices", "Devices that could be read at the last tick."),
		kubeletUp:    desc("kubelet_up", "Whether the kubelet said at the last tick who holds which device (1)."),
		problems:     desc("problems", "Things found wrong at the last tick; the log names them."),
		lastTick:     desc("last_tick_timestamp_seconds", "When the last tick began, in Unix time."),
		connected:    desc("stream_connected", "Whether the aggregator answers on a stream that is up (1)."),
		batches:      desc("spool_batches", "Batches waiting for the aggregator's acknowledgement."),
		bytes:        desc("spool_bytes", "Size of those batches."),
		dropped:      desc("batches_dropped_total", "Batches dropped before they were acknowledged because the spool was full."),
		refused:      desc("batches_refused_total", "Batches the aggregator refused for good."),
		acknowledged: desc("batches_acknowledged_total", "Batches the aggregator has made durable."),
	}
}

// Describe implements prometheus.Collector.
func (c *selfCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.build, c.nvmlUp, c.nvmlState, c.devices, c.kubeletUp, c.problems, c.lastTick,
		c.connected, c.batches, c.bytes, c.dropped, c.refused, c.acknowledged} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *selfCollector) Collect(out chan<- prometheus.Metric) {
	s := c.self()
	out <- gauge(c.build, 1, c.version, runtime.Version())
	out <- gauge(c.nvmlUp, oneIf(s.NVMLUp))
	for _, state := range s.NVMLStates {
		out <- gauge(c.nvmlState, oneIf(state == s.NVMLState), state)
	}
	out <- gauge(c.devices, float64(s.Devices))
	out <- gauge(c.kubeletUp, oneIf(s.KubeletUp))
	out <- gauge(c.problems, float64(s.Problems))
	if !s.LastTick.IsZero() {
		out <- gauge(c.lastTick, float64(s.LastTick.UnixMilli())/1000)
	}
	if s.Sending == nil {
		return
	}
	out <- gauge(c.connected, oneIf(s.Sending.Connected))
	out <- gauge(c.batches, float64(s.Sending.SpoolBatches))
	out <- gauge(c.bytes, float64(s.Sending.SpoolBytes))
	out <- counter(c.dropped, s.Sending.Dropped)
	out <- counter(c.refused, s.Sending.Refused)
	out <- counter(c.acknowledged, s.Sending.Acknowledged)
}

func counter(d *prometheus.Desc, v uint64) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
