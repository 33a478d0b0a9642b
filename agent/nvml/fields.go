package nvml

import (
	"math"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/telemetry"
)

// field is one NVML_FI_ value: what it is called here, and what one of its units is in ours.
type field struct {
	id     uint32
	metric telemetry.Metric
	unit   float64
	// rate says that the field counts what the metric states per second.
	rate bool
}

const kibibyte = 1 << 10

// allLinks asks for the sum over a device's NVLinks (nvml.h, NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX).
const allLinks = math.MaxUint32

var fieldsRead = []field{
	{nvml.FI_DEV_MEMORY_TEMP, telemetry.MemoryTemperature, 1, false},
	{nvml.FI_DEV_TOTAL_ENERGY_CONSUMPTION, telemetry.Energy, milli, false},
	{nvml.FI_DEV_ECC_SBE_VOL_TOTAL, telemetry.ECCVolatileCorrectable, 1, false},
	{nvml.FI_DEV_ECC_DBE_VOL_TOTAL, telemetry.ECCVolatileUncorrectable, 1, false},
	{nvml.FI_DEV_ECC_SBE_AGG_TOTAL, telemetry.ECCAggregateCorrectable, 1, false},
	{nvml.FI_DEV_ECC_DBE_AGG_TOTAL, telemetry.ECCAggregateUncorrectable, 1, false},
	{nvml.FI_DEV_PCIE_REPLAY_COUNTER, telemetry.PCIeReplays, 1, false},
	{nvml.FI_DEV_PCIE_COUNT_TX_BYTES, telemetry.PCIeTransmit, 1, true},
	{nvml.FI_DEV_PCIE_COUNT_RX_BYTES, telemetry.PCIeReceive, 1, true},
	{nvml.FI_DEV_NVLINK_THROUGHPUT_DATA_TX, telemetry.NVLinkTransmit, kibibyte, true},
	{nvml.FI_DEV_NVLINK_THROUGHPUT_DATA_RX, telemetry.NVLinkReceive, kibibyte, true},
	{nvml.FI_DEV_REMAPPED_COR, telemetry.RemappedCorrectable, 1, false},
	{nvml.FI_DEV_REMAPPED_UNC, telemetry.RemappedUncorrectable, 1, false},
	{nvml.FI_DEV_REMAPPED_PENDING, telemetry.RemapPending, 1, false},
	{nvml.FI_DEV_REMAPPED_FAILURE, telemetry.RemapFailed, 1, false},
}

// fields reads all of them in one call. A field that the device does not support is left out of the next ones.
func fields() family {
	return family{calls: []call{{"nvmlDeviceGetFieldValues", readFields}}}
}

func readFields(t *target, s *telemetry.Sample, now time.Time) nvml.Return {
	asked := make([]field, 0, len(fieldsRead))
	values := make([]nvml.FieldValue, 0, len(fieldsRead))
	for _, f := range fieldsRead {
		if now.Before(t.noField[f.id]) {
			continue
		}
		scope := uint32(0)
		if f.id == nvml.FI_DEV_NVLINK_THROUGHPUT_DATA_TX || f.id == nvml.FI_DEV_NVLINK_THROUGHPUT_DATA_RX {
			scope = allLinks
		}
		asked = append(asked, f)
		values = append(values, nvml.FieldValue{FieldId: f.id, ScopeId: scope})
	}
	if len(values) == 0 {
		return nvml.SUCCESS
	}
	if ret := t.handle.GetFieldValues(values); ret != nvml.SUCCESS {
		return ret
	}
	for i, f := range asked {
		switch ret := nvml.Return(values[i].NvmlReturn); {
		case gone(ret):
			return ret
		case ret == nvml.SUCCESS:
			t.putField(s.Values, f, values[i], now)
		case notSupported(ret) || ret == nvml.ERROR_INVALID_ARGUMENT: // the latter from drivers older than the field
			t.noField[f.id] = now.Add(askAgain)
		}
	}
	return nvml.SUCCESS
}

func (t *target) putField(into telemetry.Values, f field, value nvml.FieldValue, now time.Time) {
	valueType := nvml.ValueType(value.ValueType)
	v := decode(valueType, value.Value)
	if v < 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	if !f.rate {
		into[f.metric] = v * f.unit
		return
	}
	// A counter of 32 bits wraps at 4.3 GB, which a bus passes in a fraction of a second: its rate cannot be told.
	if valueType == nvml.VALUE_TYPE_UNSIGNED_INT {
		return
	}
	at := now
	if value.Timestamp > 0 { // when the driver read it, microseconds
		at = time.UnixMicro(value.Timestamp)
	}
	if perSecond, ok := t.rate(f.id, v, at); ok {
		into[f.metric] = perSecond * f.unit
	}
}

// count is a counter as it was last.
type count struct {
	value float64
	at    time.Time
}

// rate returns how fast a counter grew since the last time. One that is smaller than before began anew, and how fast is not known.
func (t *target) rate(id uint32, value float64, at time.Time) (perSecond float64, ok bool) {
	before, known := t.counts[id]
	t.counts[id] = count{value, at}
	seconds, grown := at.Sub(before.at).Seconds(), value-before.value
	if !known || seconds <= 0 || grown < 0 {
		return 0, false
	}
	return grown / seconds, true
}
