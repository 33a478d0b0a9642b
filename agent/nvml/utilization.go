package nvml

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/telemetry"
)

// firstLook is how much of the driver's ring of samples the first reading takes: it holds far more than one interval.
const firstLook = time.Second

// utilization reads the share of time in which a kernel ran. The driver keeps a ring of samples, so a burst between two
// readings is not missed; where there is no ring, its latest period (1/6 s to 1 s depending on the product: nvml.h,
// nvmlUtilization_t) stands for the whole interval. A GPU in MIG mode supports neither.
func utilization() family {
	return family{unsupported: "utilization is not supported on this device", calls: []call{
		{"nvmlDeviceGetSamples", readRing},
		{"nvmlDeviceGetUtilizationRates", func(t *target, s *telemetry.Sample, _ time.Time) nvml.Return {
			rates, ret := t.handle.GetUtilizationRates()
			if ret == nvml.SUCCESS {
				putUtilization(s.Values, ratio(uint64(rates.Gpu)), ratio(uint64(rates.Gpu)))
				s.Values[telemetry.MemoryBusy] = ratio(uint64(rates.Memory))
			}
			return ret
		}},
	}}
}

func putUtilization(values telemetry.Values, mean, largest float64) {
	values[telemetry.UtilizationMean], values[telemetry.UtilizationMax] = mean, largest
}

// readRing answers ERROR_NOT_FOUND when the driver has no newer sample than the last time.
func readRing(t *target, s *telemetry.Sample, _ time.Time) nvml.Return {
	mean, largest, ret := t.ring.read(t.handle, nvml.GPU_UTILIZATION_SAMPLES)
	if ret != nvml.SUCCESS {
		return ret
	}
	putUtilization(s.Values, mean, largest)
	// Nothing else hangs on the memory's ring: without it the metric is absent.
	if mean, _, ret := t.memoryRing.read(t.handle, nvml.MEMORY_UTILIZATION_SAMPLES); ret == nvml.SUCCESS {
		s.Values[telemetry.MemoryBusy] = mean
	}
	return nvml.SUCCESS
}

// ring follows one of a device's rings of samples.
type ring struct {
	// newest is the time of the newest sample seen, in the driver's clock: microseconds, of an epoch nvml.h does not tell.
	newest uint64
}

// read returns mean and largest of the samples that came since the last time, as ratios.
func (r *ring) read(d nvml.Device, kind nvml.SamplingType) (mean, largest float64, ret nvml.Return) {
	valueType, samples, ret := d.GetSamples(kind, r.newest)
	if ret != nvml.SUCCESS {
		return 0, 0, ret
	}
	since, newest := r.newest, r.newest
	for _, s := range samples {
		newest = max(newest, s.TimeStamp)
	}
	if first := uint64(firstLook / time.Microsecond); since == 0 && newest > first {
		since = newest - first
	}
	r.newest = newest
	count := 0
	for _, s := range samples {
		if s.TimeStamp <= since { // what was not filled in has no time
			continue
		}
		v := min(max(decode(valueType, s.SampleValue)/100, 0), 1)
		mean += v
		largest = max(largest, v)
		count++
	}
	if count == 0 {
		return 0, 0, nvml.ERROR_NOT_FOUND
	}
	return mean / float64(count), largest, nvml.SUCCESS
}

// decode reads a nvmlValue_t, a union of eight bytes.
func decode(valueType nvml.ValueType, value [8]byte) float64 {
	whole := binary.NativeEndian.Uint64(value[:])
	half := binary.NativeEndian.Uint32(value[:])
	switch valueType {
	case nvml.VALUE_TYPE_DOUBLE:
		return math.Float64frombits(whole)
	case nvml.VALUE_TYPE_UNSIGNED_INT:
		return float64(half)
	case nvml.VALUE_TYPE_SIGNED_INT:
		return float64(int32(half))
	case nvml.VALUE_TYPE_SIGNED_LONG_LONG:
		return float64(int64(whole))
	case nvml.VALUE_TYPE_UNSIGNED_SHORT:
		return float64(binary.NativeEndian.Uint16(value[:]))
	default: // unsigned long and unsigned long long
		return float64(whole)
	}
}
