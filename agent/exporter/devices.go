package exporter

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foretide/foretide/pkg/telemetry"
)

// devices turns a batch into metrics under the catalogue's names: what each device did, what each owner used of it, and what
// nobody did.
type devices struct {
	metrics                      []metric
	attribution, pod, attributed *prometheus.Desc
}

// metric is one row of the catalogue with its series.
type metric struct {
	telemetry.Definition
	kind prometheus.ValueType
	// usage and unattributed are nil where the metric has no such series.
	device, usage, unattributed *prometheus.Desc
}

func newDevices() devices {
	d := devices{
		attribution: newDesc("foretide_pod_attribution_info", "Always 1; the label attribution says how a container's part of a device was derived.", "",
			"namespace", "pod", "container", "uuid", "attribution"),
		pod: newDesc("foretide_pod_info", "Always 1; the labels say what the kubelet knows of a pod that has a device.", "",
			"namespace", "pod", "uid", "controller_kind", "controller_name"),
		attributed: newDesc("foretide_agent_attribution_owners", "Parts of devices that containers have, by how they were derived; absent while it is not known who holds what.", "",
			"attribution"),
	}
	for _, row := range telemetry.Catalogue() {
		m := metric{Definition: row, kind: prometheus.GaugeValue,
			device: newDesc(row.Name, row.Help, row.Unit, "gpu", "uuid", "model", "parent", "gpu_instance", "profile")}
		if row.Kind == telemetry.Counter {
			m.kind = prometheus.CounterValue
		}
		if name := row.UsageName(); name != "" {
			m.usage = newDesc(name, row.Help+" "+partOf(row.Split), row.Unit, "namespace", "pod", "container", "uuid")
		}
		if name := row.UnattributedName(); name != "" {
			m.unattributed = newDesc(name, row.Help+" The part of no container.", row.Unit, "gpu", "uuid")
		}
		d.metrics = append(d.metrics, m)
	}
	return d
}

// partOf says what of a device's value a container has.
func partOf(s telemetry.Split) string {
	switch s {
	case telemetry.SplitPeak:
		return "As far as one container's processes did it."
	case telemetry.SplitSole:
		return "Of a device that one container has alone."
	case telemetry.SplitCapacity:
		return "Of a device that a container holds or uses."
	}
	return "The part of one container."
}

func (d devices) describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{d.attribution, d.pod, d.attributed} {
		out <- desc
	}
	for _, m := range d.metrics {
		for _, desc := range []*prometheus.Desc{m.device, m.usage, m.unattributed} {
			if desc != nil {
				out <- desc
			}
		}
	}
}

func (d devices) collect(b telemetry.Batch, out chan<- prometheus.Metric) {
	for _, r := range b.Readings {
		d.collectReading(r, out)
	}
	for _, u := range b.Usages {
		o := u.Owner
		owner := labels("namespace", o.Namespace, "pod", o.Pod, "container", o.Container, "uuid", u.DeviceUUID)
		for _, m := range d.metrics {
			if v, known := u.Values[m.Metric]; known && m.usage != nil {
				out <- &sample{m.usage, m.kind, owner, v}
			}
		}
		out <- &sample{d.attribution, prometheus.GaugeValue, labels("namespace", o.Namespace, "pod", o.Pod, "container", o.Container,
			"uuid", u.DeviceUUID, "attribution", string(u.Attribution)), 1}
	}
	for _, p := range b.Pods {
		out <- &sample{d.pod, prometheus.GaugeValue, labels("namespace", p.Namespace, "pod", p.Name, "uid", p.UID,
			"controller_kind", p.ControllerKind, "controller_name", p.ControllerName), 1}
	}
	if b.OwnersKnown {
		d.collectAttributed(b.Usages, out)
	}
}

func (d devices) collectReading(r telemetry.Reading, out chan<- prometheus.Metric) {
	gpu := strconv.Itoa(r.Device.Index)
	// Of a GPU that is no MIG instance the last three are empty, which to Prometheus is the same as none.
	instance := ""
	if r.Device.IsMIG() {
		instance = strconv.Itoa(r.Device.MIG.GPUInstance)
	}
	device := labels("gpu", gpu, "uuid", r.Device.UUID, "model", r.Device.Model,
		"parent", r.Device.MIG.ParentUUID, "gpu_instance", instance, "profile", r.Device.MIG.Profile)
	nobody := labels("gpu", gpu, "uuid", r.Device.UUID)
	for _, m := range d.metrics {
		if v, measured := r.Values[m.Metric]; measured {
			out <- &sample{m.device, m.kind, device, v}
		}
		if v, known := r.Unattributed[m.Metric]; known && m.unattributed != nil {
			out <- &sample{m.unattributed, m.kind, nobody, v}
		}
	}
}

func (d devices) collectAttributed(usages []telemetry.Usage, out chan<- prometheus.Metric) {
	n := map[telemetry.Attribution]int{}
	for _, u := range usages {
		n[u.Attribution]++
	}
	for _, a := range telemetry.Attributions() {
		out <- &sample{d.attributed, prometheus.GaugeValue, labels("attribution", string(a)), float64(n[a])}
	}
}
