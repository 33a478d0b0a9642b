package simulate

import (
	"math"
	"slices"
)

// Bridge draws a line over what is missing: who flies must meet some load. It says how much that was.
func Bridge(values []float64) (out []float64, bridged int) {
	out = slices.Clone(values)
	last := -1 // the newest that is known
	for i, v := range values {
		if math.IsNaN(v) {
			bridged++
			continue
		}
		for k := last + 1; k < i; k++ {
			out[k] = v
			if last >= 0 {
				out[k] = values[last] + float64(k-last)/float64(i-last)*(v-values[last])
			}
		}
		last = i
	}
	for k := last + 1; k < len(out); k++ {
		out[k] = 0
		if last >= 0 {
			out[k] = values[last]
		}
	}
	return out, bridged
}
