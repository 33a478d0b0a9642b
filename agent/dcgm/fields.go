package dcgm

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/NVIDIA/go-dcgm/pkg/dcgm"

	"github.com/foretide/foretide/pkg/telemetry"
)

// role says which of the fields are read of an entity.
type role uint8

const (
	// roleGPU: a GPU that is not partitioned. Everything is read.
	roleGPU role = iota
	// rolePartitioned: a GPU whose MIG instances are read one by one: what is the board's, and not memory and load.
	rolePartitioned
	// roleInstance: a MIG instance. Asked for a field of the board, DCGM would give the whole GPU's value; so it is not asked.
	roleInstance
)

// instanceMetrics are those that DCGM knows of a MIG instance by itself (DCGM, dcgmlib/src/dcgm_fields.cpp, the entity level
// of each field).
var instanceMetrics = []telemetry.Metric{
	telemetry.MemoryUsed, telemetry.MemoryTotal, telemetry.MemoryFree, telemetry.MemoryReserved,
	telemetry.GraphicsActive, telemetry.SMActive, telemetry.SMOccupancy, telemetry.TensorActive, telemetry.DRAMActive,
}

// loadMetrics are the others that say what use is made of a GPU and not how its board does.
var loadMetrics = []telemetry.Metric{telemetry.UtilizationMean, telemetry.MemoryBusy, telemetry.EncoderBusy, telemetry.DecoderBusy}

// field is a DCGM field and the metric it becomes.
type field struct {
	id     dcgm.Short
	metric telemetry.Metric
	// perUnit is what one base unit of the metric is in the field's unit.
	perUnit float64
	// profiling fields come from the GPU's performance monitor; DCGM may be unable to watch them.
	profiling bool
}

// fieldTable is the catalogue as DCGM has it.
func fieldTable() []field {
	table := []field{{id: dcgm.DCGM_FI_DEV_ROW_REMAP_PENDING, metric: telemetry.RemapPending, perUnit: 1}} // dcgm-exporter has no name for it
	for _, d := range telemetry.Catalogue() {
		if id, ok := dcgm.GetFieldID(d.DCGM); ok {
			table = append(table, field{id, d.Metric, d.DCGMPerUnit, strings.HasPrefix(d.DCGM, "DCGM_FI_PROF_")})
		}
	}
	return table
}

func (f field) of(r role) bool {
	ofInstance := slices.Contains(instanceMetrics, f.metric)
	switch r {
	case roleInstance:
		return ofInstance
	case rolePartitioned:
		return !ofInstance && !slices.Contains(loadMetrics, f.metric)
	default:
		return true
	}
}

// ids returns the ids of the fields that are chosen.
func ids(table []field, chosen func(field) bool) []dcgm.Short {
	var found []dcgm.Short
	for _, f := range table {
		if chosen(f) {
			found = append(found, f.id)
		}
	}
	return found
}

// put adds what the values say, and returns the age of the oldest that is too old to be used; 0 when there is none.
func put(into telemetry.Values, table []field, values []dcgm.FieldValue_v1, now time.Time, tooOld time.Duration) (oldest time.Duration) {
	for i := range values {
		v := &values[i]
		at := slices.IndexFunc(table, func(f field) bool { return f.id == v.FieldID })
		if at < 0 {
			continue
		}
		f := table[at]
		event := f.metric == telemetry.XIDLast
		if event && v.Status == dcgm.DCGM_ST_NO_DATA {
			into[f.metric] = 0 // it is watched, and there was none
			continue
		}
		n, ok := number(v)
		if !ok {
			continue
		}
		// The engine's clock may be ahead of ours. An event stays what it is however long ago it was.
		if age := now.Sub(time.UnixMicro(v.TS)).Abs(); age > tooOld && !event {
			oldest = max(oldest, age)
			continue
		}
		n /= f.perUnit
		if f.metric.IsRatio() {
			n = min(n, 1) // drivers have been seen to say more than 100 %
		}
		into[f.metric] = n
	}
	// The engine's activity is the nearest thing where the driver does not say utilization: on MIG instances.
	if active, ok := into[telemetry.GraphicsActive]; ok {
		if _, said := into[telemetry.UtilizationMean]; !said {
			into[telemetry.UtilizationMean] = active
		}
	}
	if utilization, ok := into[telemetry.UtilizationMean]; ok {
		into[telemetry.UtilizationMax] = utilization
	}
	return oldest
}

// blankDouble is the least of DCGM's marks for "no value" among doubles (dcgm_structs.h, DCGM_FP64_BLANK); go-dcgm knows only
// those of whole numbers.
const blankDouble = 140737488355328.0

// number returns what a field holds; false where it holds none.
func number(v *dcgm.FieldValue_v1) (float64, bool) {
	if v.Status != dcgm.DCGM_ST_OK {
		return 0, false
	}
	var n float64
	switch v.FieldType {
	case dcgm.DCGM_FT_INT64:
		if dcgm.IsInt64Blank(v.Int64()) {
			return 0, false
		}
		n = float64(v.Int64())
	case dcgm.DCGM_FT_DOUBLE:
		if n = v.Float64(); n >= blankDouble {
			return 0, false
		}
	default:
		return 0, false
	}
	return n, n >= 0 && !math.IsNaN(n)
}

// text returns what a field holds; empty where it holds nothing.
func text(v *dcgm.FieldValue_v2) string {
	if v.Status != dcgm.DCGM_ST_OK || v.FieldType != dcgm.DCGM_FT_STRING {
		return ""
	}
	s := v.String()
	if strings.HasPrefix(s, "<<<") && strings.HasSuffix(s, ">>>") { // dcgm_structs.h, DCGM_STR_IS_BLANK
		return ""
	}
	return strings.ToValidUTF8(s, "?") // it goes on a wire that takes nothing else
}
