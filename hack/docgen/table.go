package main

import (
	"fmt"
	"strings"

	"github.com/foretide/foretide/pkg/telemetry"
)

func table(metrics []metric) string {
	var out strings.Builder
	out.WriteString("\n| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n")
	for _, m := range metrics {
		labels := ""
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s |\n", m.name, m.kind, unit(m.name), labels, strings.ReplaceAll(m.help, "|", `\|`))
	}
	return out.String()
}

// unit reads the unit from the end of a name; DCGM's names have none, the catalogue knows theirs.
func unit(name string) string {
	for _, row := range telemetry.Catalogue() {
		if row.DCGM == name {
			return dcgmUnit(row)
		}
	}
	name = strings.TrimSuffix(name, "_total")
	for _, u := range []struct{ suffix, unit string }{
		{"_timestamp_seconds", "seconds since 1970"}, {"_bytes_per_second", "bytes/s"}, {"_ratio", "ratio, 1 is 100 %"}, {"_celsius", "°C"},
		{"_gpus", "GPUs"}, {"_replicas", "replicas"}, {"_pods", "pods"}, {"_batches", "batches"},
	} {
		if strings.HasSuffix(name, u.suffix) {
			return u.unit
		}
	}
	for _, u := range append(catalogueUnits(), "seconds", "devices") {
		if strings.HasSuffix(name, "_"+u) {
			return u
		}
	}
	return ""
}

func catalogueUnits() []string {
	var units []string
	for _, row := range telemetry.Catalogue() {
		if row.Unit != "" {
			units = append(units, row.Unit)
		}
	}
	return units
}

func dcgmUnit(row telemetry.Definition) string {
	for _, u := range []struct {
		ours    string
		perUnit float64
		theirs  string
	}{
		{"ratio", 100, "%"}, {"ratio", 1, "ratio, 1 is 100 %"}, {"bytes", 1.0 / (1 << 20), "MiB"}, {"hertz", 1e-6, "MHz"}, {"joules", 1000, "mJ"},
		{"bytes_per_second", 1, "bytes/s"}, {"celsius", 1, "°C"},
	} {
		if row.Unit == u.ours && row.DCGMPerUnit == u.perUnit {
			return u.theirs
		}
	}
	if row.Unit == "" || row.DCGMPerUnit == 1 {
		return row.Unit
	}
	return fmt.Sprintf("%g per %s", row.DCGMPerUnit, row.Unit)
}

// catalogue tells of each reading whose it is and where it comes from.
func catalogue() string {
	var out strings.Builder
	out.WriteString("\n| reading | a container's part | NVML | DCGM |\n|---|---|---|---|\n")
	for _, row := range telemetry.Catalogue() {
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", strings.TrimPrefix(row.Name, "foretide_device_"), part(row.Split), code(row.Source), code(row.DCGM))
	}
	return out.String()
}

func part(s telemetry.Split) string {
	switch s {
	case telemetry.SplitProcess:
		return "what its processes used; adds up"
	case telemetry.SplitTime:
		return "by how long its processes were busy; adds up, of a counter the increases do"
	case telemetry.SplitPeak:
		return "its own largest"
	case telemetry.SplitSole:
		return "all, if no other is on the device"
	case telemetry.SplitCapacity:
		return "all: it is what there is"
	}
	return "none"
}

// code marks each of the names of a list as such.
func code(names string) string {
	if names == "" {
		return ""
	}
	var out []string
	for name := range strings.SplitSeq(names, ", ") {
		call, note, noted := strings.Cut(name, " ")
		if noted {
			note = " " + note
		}
		out = append(out, "`"+call+"`"+note)
	}
	return strings.Join(out, ", ")
}
