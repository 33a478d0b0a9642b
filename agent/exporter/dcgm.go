package exporter

import (
	"math"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foretide/foretide/pkg/telemetry"
)

// dcgm turns a batch into metrics with the names, labels and units of NVIDIA's dcgm-exporter, on which dashboards and alerts
// rely. The labels are those of its internal/pkg/rendermetrics/render_metrics.go, with Hostname as it was up to 4.8.2 and
// hostname as it is since.
//
// It differs where dcgm-exporter gives the value of a shared GPU to each of its pods: here each owner has a line with its part,
// and one line without a pod has what is left, so that the sum over a GPU's lines is the GPU's value. What cannot be divided
// is on one line without a pod.
type dcgm struct {
	node    string
	metrics []dcgmMetric
}

type dcgmMetric struct {
	telemetry.Definition
	kind prometheus.ValueType
	desc *prometheus.Desc
}

func newDCGM(node string) *dcgm {
	d := &dcgm{node: node}
	for _, row := range telemetry.Catalogue() {
		if row.DCGM == "" {
			continue
		}
		m := dcgmMetric{Definition: row, kind: prometheus.GaugeValue,
			desc: newDesc(row.DCGM, row.Help+" In DCGM's name, labels and unit.", "", "gpu", "UUID", "pci_bus_id", "device", "modelName",
				"GPU_I_PROFILE", "GPU_I_ID", "Hostname", "hostname", "container", "namespace", "pod")}
		if row.Kind == telemetry.Counter {
			// OpenMetrics would want a counter's name to end in _total, which these do not.
			m.kind = prometheus.UntypedValue
		}
		d.metrics = append(d.metrics, m)
	}
	return d
}

func (d *dcgm) describe(out chan<- *prometheus.Desc) {
	for _, m := range d.metrics {
		out <- m.desc
	}
}

// place is what tells the lines of one metric apart: DCGM knows no compute instances.
type place struct {
	gpu      string // UUID
	instance int
	owner    telemetry.Owner
}

func (d *dcgm) collect(b telemetry.Batch, out chan<- prometheus.Metric) {
	usages := map[string][]telemetry.Usage{}
	for _, u := range b.Usages {
		usages[u.DeviceUUID] = append(usages[u.DeviceUUID], u)
	}
	taken := map[place]bool{}
	for _, r := range b.Readings {
		lines := d.linesOf(r.Device, usages[r.Device.UUID], taken)
		for _, m := range d.metrics {
			if v, measured := r.Values[m.Metric]; measured {
				m.collect(v, r.Unattributed, lines, out)
			}
		}
	}
}

// lines are those of one device. The labels of one that may not be shown are nil.
type lines struct {
	device labelSet // without a pod
	owners []labelSet
	usages []telemetry.Usage
}

func (d *dcgm) linesOf(device telemetry.Device, usages []telemetry.Usage, taken map[place]bool) lines {
	l := lines{device: d.labels(device, telemetry.Owner{}, taken), usages: usages}
	for _, u := range usages {
		l.owners = append(l.owners, d.labels(device, u.Owner, taken))
	}
	return l
}

// labels of a MIG instance are those of its GPU, with the number of the GPU instance. A second compute instance in that one
// would have the same, which is an error in an exposition: the first one speaks.
func (d *dcgm) labels(device telemetry.Device, owner telemetry.Owner, taken map[place]bool) labelSet {
	uuid, instance := device.UUID, ""
	if device.IsMIG() {
		uuid, instance = device.MIG.ParentUUID, strconv.Itoa(device.MIG.GPUInstance)
		here := place{uuid, device.MIG.GPUInstance, owner}
		if taken[here] {
			return nil
		}
		taken[here] = true
	}
	return labels("gpu", strconv.Itoa(device.Index), "UUID", uuid, "pci_bus_id", device.PCIBusID, "device", "nvidia"+strconv.Itoa(device.Minor),
		"modelName", device.Model, "GPU_I_PROFILE", device.MIG.Profile, "GPU_I_ID", instance, "Hostname", d.node, "hostname", d.node,
		"container", owner.Container, "namespace", owner.Namespace, "pod", owner.Pod)
}

func (m dcgmMetric) collect(whole float64, unattributed telemetry.Values, l lines, out chan<- prometheus.Metric) {
	show := func(on labelSet, v float64) {
		if on != nil {
			out <- &sample{m.desc, m.kind, on, v}
		}
	}
	rest, divided := unattributed[m.Metric]
	rest = m.inUnit(rest)
	// A counter is the device's since the driver was loaded. An owner's began later, so that they have no sum.
	divided = divided && m.Split.Sums() && m.Kind == telemetry.Gauge
	switch {
	case l.hasOnlyHolder() && !(divided && rest > 0):
		show(l.owners[0], m.inUnit(whole))
	case len(l.usages) == 0 || !divided:
		show(l.device, m.inUnit(whole))
	default:
		for i, u := range l.usages {
			if v, known := u.Values[m.Metric]; known {
				show(l.owners[i], m.inUnit(v))
			}
		}
		if rest > 0 {
			show(l.device, rest)
		}
	}
}

// hasOnlyHolder tells one who holds the device alone from one whose processes merely use it.
func (l lines) hasOnlyHolder() bool {
	return len(l.usages) == 1 && (l.usages[0].Attribution == telemetry.AttributionExclusive || l.usages[0].Attribution == telemetry.AttributionMIG)
}

// inUnit converts to DCGM's unit, to three decimals: 0.29 × 100 is 28.999999999999996.
func (m dcgmMetric) inUnit(v float64) float64 { return math.Round(v*m.DCGMPerUnit*1000) / 1000 }
