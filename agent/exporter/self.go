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
	// Devices were readable at the last tick; HangingDevices are GPUs whose driver has not answered since an earlier one.
	Devices, HangingDevices int
	// KubeletUp is true when the kubelet answered at the last tick.
	KubeletUp bool
	// PodsAPIUp is true when the kubelet tells of its pods more than which devices they hold.
	PodsAPIUp bool
	// Problems were found at the last tick.
	Problems int
	// LastTick is when the last tick began; zero before the first.
	LastTick time.Time
	// Scraping is nil when inference servers are not asked.
	Scraping *Scraping
	// Sending is nil when there is no aggregator to send to.
	Sending *Sending
}

// Scraping is how asking the inference servers is doing.
type Scraping struct {
	// Targets are the pods that are asked.
	Targets int
	// Scrapes counts them by result: ok, or why one failed. Every result there can be belongs in it, also at 0.
	Scrapes map[string]uint64
}

// Sending is how the way to the aggregator is doing.
type Sending struct {
	// Connected are the aggregators that answer, of all that this node sends to.
	Connected, Aggregators int
	// The spool has what some aggregator has not answered; SpoolAge is how old the oldest of it is.
	SpoolBatches, SpoolBytes, SpoolDiskBytes int
	SpoolAge                                 time.Duration
	Dropped, Refused, Acknowledged, Deferred uint64
}

// selfCollector asks at each scrape.
type selfCollector struct {
	self func() Self

	build, nvmlUp, nvmlState, devices, hanging, kubeletUp, podsUp, problems, lastTick *prometheus.Desc
	targets, scrapes                                                                  *prometheus.Desc
	connected, aggregators, batches, bytes, diskBytes, age                            *prometheus.Desc
	dropped, refused, acknowledged, deferred                                          *prometheus.Desc
	version                                                                           string
}

func newSelfCollector(version string, self func() Self) *selfCollector {
	desc := func(name, unit, help string, labelNames ...string) *prometheus.Desc {
		return newDesc("foretide_agent_"+name, help, unit, labelNames...)
	}
	return &selfCollector{
		self: self, version: version,
		build:        desc("build_info", "", "Always 1; the labels say what runs.", "version", "go_version"),
		nvmlUp:       desc("nvml_up", "", "Whether NVML, or with --devices.source=dcgm the host engine, answers (1), even if it knows of no device."),
		nvmlState:    desc("nvml_state", "", "1 for the state the agent is in with NVML, or with the DCGM host engine, 0 for the others.", "state"),
		devices:      desc("devices", "devices", "Devices that could be read at the last tick."),
		hanging:      desc("hanging_devices", "devices", "GPUs whose driver has not answered since an earlier tick; the others go on."),
		kubeletUp:    desc("kubelet_up", "", "Whether the kubelet said at the last tick who holds which device (1)."),
		podsUp:       desc("pods_api_up", "", "Whether the kubelet serves its Pods API, which tells UID, controller and readiness of pods (1)."),
		problems:     desc("problems", "", "Things found wrong at the last tick; the log names them."),
		lastTick:     desc("last_tick_timestamp_seconds", "seconds", "When the last tick began, in Unix time."),
		targets:      desc("scrape_targets", "", "Pods on this node whose inference server is asked for its metrics."),
		scrapes:      desc("scrapes_total", "", "Times an inference server was asked for its metrics, by result: ok, or why it failed.", "result"),
		connected:    desc("streams_connected", "", "Aggregators that answer on a stream that is up."),
		aggregators:  desc("aggregators", "", "Aggregators that this node's batches go to: every replica, or --aggregator.copies of them."),
		batches:      desc("spool_batches", "batches", "Batches that some aggregator has not acknowledged."),
		bytes:        desc("spool_bytes", "bytes", "Size of those batches."),
		diskBytes:    desc("spool_disk_bytes", "bytes", "Size of the spool's files."),
		age:          desc("spool_oldest_seconds", "seconds", "How old the oldest batch is that some aggregator has not acknowledged; 0 when there is none."),
		dropped:      desc("batches_dropped_total", "", "Batches dropped before every aggregator had acknowledged them, because the spool was full, they became too old, or their file could not be read."),
		refused:      desc("batches_refused_total", "", "Batches an aggregator refused for good."),
		acknowledged: desc("batches_acknowledged_total", "", "Batches that an aggregator has made durable."),
		deferred:     desc("batches_deferred_total", "", "Times an aggregator could not store a batch yet; it is sent again."),
	}
}

// Describe implements prometheus.Collector.
func (c *selfCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.build, c.nvmlUp, c.nvmlState, c.devices, c.hanging, c.kubeletUp, c.podsUp, c.problems,
		c.lastTick, c.targets, c.scrapes, c.connected, c.aggregators, c.batches, c.bytes, c.diskBytes, c.age,
		c.dropped, c.refused, c.acknowledged, c.deferred} {
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
	out <- gauge(c.hanging, float64(s.HangingDevices))
	out <- gauge(c.kubeletUp, oneIf(s.KubeletUp))
	out <- gauge(c.podsUp, oneIf(s.PodsAPIUp))
	out <- gauge(c.problems, float64(s.Problems))
	if !s.LastTick.IsZero() {
		out <- gauge(c.lastTick, float64(s.LastTick.UnixMilli())/1000)
	}
	if s.Scraping != nil {
		out <- gauge(c.targets, float64(s.Scraping.Targets))
		for result, n := range s.Scraping.Scrapes {
			out <- counter(c.scrapes, n, result)
		}
	}
	if s.Sending == nil {
		return
	}
	out <- gauge(c.connected, float64(s.Sending.Connected))
	out <- gauge(c.aggregators, float64(s.Sending.Aggregators))
	out <- gauge(c.batches, float64(s.Sending.SpoolBatches))
	out <- gauge(c.bytes, float64(s.Sending.SpoolBytes))
	out <- gauge(c.diskBytes, float64(s.Sending.SpoolDiskBytes))
	out <- gauge(c.age, s.Sending.SpoolAge.Seconds())
	out <- counter(c.deferred, s.Sending.Deferred)
	out <- counter(c.dropped, s.Sending.Dropped)
	out <- counter(c.refused, s.Sending.Refused)
	out <- counter(c.acknowledged, s.Sending.Acknowledged)
}

func gauge(d *prometheus.Desc, v float64, labelValues ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labelValues...)
}

func counter(d *prometheus.Desc, v uint64, labelValues ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labelValues...)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
