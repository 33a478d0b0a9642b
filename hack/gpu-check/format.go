package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// unknown is printed for what was not measured.
const unknown = "–"

// quantity writes a value of the catalogue in the unit people read it in.
func quantity(v float64, unit string) string {
	switch {
	case math.IsNaN(v):
		return unknown
	case unit == "ratio":
		return fmt.Sprintf("%.1f %%", 100*v)
	case unit == "bytes":
		return fmt.Sprintf("%.0f MiB", v/(1<<20))
	case unit == "bytes_per_second":
		return fmt.Sprintf("%.1f MB/s", v/1e6)
	case unit == "hertz":
		return fmt.Sprintf("%.0f MHz", v/1e6)
	case unit == "celsius":
		return fmt.Sprintf("%.0f °C", v)
	case unit == "watts":
		return fmt.Sprintf("%.1f W", v)
	case unit == "joules":
		return fmt.Sprintf("%.1f J", v)
	}
	return strings.TrimSpace(strconv.FormatFloat(v, 'f', -1, 64) + " " + unit)
}

// points writes a difference of two ratios in percentage points.
func points(v float64) string {
	if math.IsNaN(v) {
		return unknown
	}
	return fmt.Sprintf("%+.1f pp", 100*v)
}

// table aligns the cells of the rows written to it.
func table(out io.Writer, flags uint) *tabwriter.Writer {
	return tabwriter.NewWriter(out, 0, 8, 2, ' ', flags)
}

// row writes the cells of one. In a table that is aligned to the right the last cell is of no column.
func row(out io.Writer, cells ...string) {
	fmt.Fprintln(out, strings.Join(cells, "\t"))
}

func list(out io.Writer, heading string, items []string) {
	if len(items) == 0 {
		fmt.Fprintf(out, "\n%s: none\n", heading)
		return
	}
	fmt.Fprintf(out, "\n%s:\n", heading)
	for _, item := range items {
		fmt.Fprintf(out, "  %s\n", item)
	}
}
