package swarm

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/foretide/foretide/pkg/telemetry"
)

// Series names the series each value of a frame with this layout belongs to, as text: {__name__="…", label="…"}. It is written from what
// the documentation says of the history (aggregator/storage/README.md), not with the code that makes it.
func Series(node string, l *telemetry.Layout) []string {
	var out []string
	for _, labels := range SeriesLabels(node, l) {
		out = append(out, Text(labels))
	}
	return out
}

// SeriesLabels is [Series] as labels.
func SeriesLabels(node string, l *telemetry.Layout) []map[string]string {
	out := make([]map[string]string, 0, l.Len())
	for _, c := range l.Columns {
		for _, slot := range c.Slots {
			labels := map[string]string{"node": node}
			switch c.Kind {
			case telemetry.ReadingColumn:
				d := l.Devices[slot]
				labels["__name__"], labels["uuid"], labels["gpu"], labels["model"] = c.Metric.Definition().Name, d.UUID, fmt.Sprint(d.Index), d.Model
			case telemetry.UnattributedColumn:
				labels["__name__"], labels["uuid"] = c.Metric.Definition().UnattributedName(), l.Devices[slot].UUID
			case telemetry.UsageColumn:
				u := l.Uses[slot]
				labels["__name__"], labels["uuid"] = c.Metric.Definition().UsageName(), u.DeviceUUID
				labels["namespace"], labels["pod"], labels["container"] = u.Owner.Namespace, u.Owner.Pod, u.Owner.Container
			case telemetry.WorkloadColumn:
				labels["__name__"], labels["namespace"], labels["pod"] = c.Name, l.Sources[slot].Namespace, l.Sources[slot].Pod
			}
			out = append(out, labels)
		}
	}
	return out
}

// Text writes labels in the order of their names.
func Text(labels map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, fmt.Sprintf("%s=%q", name, labels[name]))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
