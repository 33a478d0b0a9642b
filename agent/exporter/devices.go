package exporter

import (
	"math"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foretide/foretide/pkg/telemetry"
)

// devices turns a batch into metrics: per device, per usage, and per device under DCGM's names.
type devices struct {
	node    string
	metrics []metric
}

// metric is one row of the catalogue with its series.
type metric struct {
	telemetry.Definition
	device, pod *prometheus.Desc
	dcgm        *prometheus.Desc // nil where DCGM has no such metric, or its names are not wanted
}

func newDevices(node string, withDCGM bool) devices {
	d := devices{node: node}
	for _, row := range telemetry.Catalogue() {
		m := metric{
			Definition: row,
			device:     prometheus.NewDesc(row.Name, row.Help, []string{"gpu", "uuid", "model"}, nil),
			pod: prometheus.NewDesc(strings.Replace(row.Name, "foretide_device", "foretide_pod", 1),
				row.Help+" Of a device a container holds.", []string{"namespace", "pod", "container", "uuid"}, nil),
		}
		if withDCGM && row.DCGM != "" {
			// The labels of dcgm-exporter (internal/pkg/rendermetrics/render_metrics.go), which its dashboards rely on.
			m.dcgm = prometheus.NewDesc(row.DCGM, row.Help+" In DCGM's name, labels and unit.",
				[]string{"gpu", "UUID", "device", "modelName", "Hostname", "container", "namespace", "pod"}, nil)
		}
		d.metrics = append(d.metrics, m)
	}
	return d
}

func (d devices) describe(out chan<- *prometheus.Desc) {
	for _, m := range d.metrics {
		out <- m.device
		out <- m.pod
		if m.dcgm != nil {
			out <- m.dcgm
		}
	}
}

func (d devices) collect(b telemetry.Batch, out chan<- prometheus.Metric) {
	owners := map[string]telemetry.Owner{}
	for _, u := range b.Usages {
		owners[u.DeviceUUID] = u.Owner
		for _, m := range d.metrics {
			if v, measured := u.Values[m.Metric]; measured {
				out <- gauge(m.pod, v, u.Owner.Namespace, u.Owner.Pod, u.Owner.Container, u.DeviceUUID)
			}
		}
	}
	for _, r := range b.Readings {
		index := strconv.Itoa(r.Device.Index)
		// A device that nobody holds has empty labels, which to Prometheus is the same as none.
		o := owners[r.Device.UUID]
		for _, m := range d.metrics {
			v, measured := r.Values[m.Metric]
			if !measured {
				continue
			}
			out <- gauge(m.device, v, index, r.Device.UUID, r.Device.Model)
			if m.dcgm != nil {
				out <- gauge(m.dcgm, inUnitOf(m.Definition, v), index, r.Device.UUID, "nvidia"+index, r.Device.Model, d.node,
					o.Container, o.Namespace, o.Pod)
			}
		}
	}
}

// inUnitOf converts to DCGM's unit, to three decimals: 0.29 × 100 is 28.999999999999996.
func inUnitOf(row telemetry.Definition, v float64) float64 {
	return math.Round(v*row.DCGMPerUnit*1000) / 1000
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}
