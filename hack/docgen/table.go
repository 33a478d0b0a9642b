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
		if row.DCGM != name {
			continue
		}
		switch {
		case row.Unit == "ratio" && row.DCGMPerUnit == 100:
			return "%"
		case row.Unit == "bytes" && row.DCGMPerUnit == 1.0/(1<<20):
			return "MiB"
		}
		return fmt.Sprintf("%g per %s", row.DCGMPerUnit, row.Unit)
	}
	for _, u := range []struct{ suffix, unit string }{
		{"_timestamp_seconds", "seconds since 1970"}, {"_seconds", "seconds"}, {"_bytes", "bytes"}, {"_ratio", "ratio, 1 is 100 %"},
		{"_gpus", "GPUs"}, {"_replicas", "replicas"}, {"_pods", "pods"}, {"_batches", "batches"}, {"_devices", "devices"},
	} {
		if strings.HasSuffix(strings.TrimSuffix(name, "_total"), u.suffix) {
			return u.unit
		}
	}
	return ""
}
