package nvml

import (
	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/telemetry"
)

const (
	megahertz = 1e6
	milli     = 1e-3
)

// clocks reads both: a device that has one of them has an answer.
func clocks() family {
	return simple("nvmlDeviceGetClockInfo", func(d nvml.Device, values telemetry.Values) nvml.Return {
		sm, ret := d.GetClockInfo(nvml.CLOCK_SM)
		if ret == nvml.SUCCESS {
			values[telemetry.SMClock] = float64(sm) * megahertz
		} else if !notSupported(ret) {
			return ret
		}
		memory, other := d.GetClockInfo(nvml.CLOCK_MEM)
		if other == nvml.SUCCESS {
			values[telemetry.MemoryClock] = float64(memory) * megahertz
			return other
		}
		return ret
	})
}

func temperature() family {
	return simple("nvmlDeviceGetTemperature", func(d nvml.Device, values telemetry.Values) nvml.Return {
		degrees, ret := d.GetTemperature(nvml.TEMPERATURE_GPU)
		if ret == nvml.SUCCESS {
			values[telemetry.Temperature] = float64(degrees)
		}
		return ret
	})
}

// power is the draw of the moment on GA100 and before, the mean of a second on what came after (nvml.h, nvmlDeviceGetPowerUsage).
func power() family {
	return simple("nvmlDeviceGetPowerUsage", func(d nvml.Device, values telemetry.Values) nvml.Return {
		milliwatts, ret := d.GetPowerUsage()
		if ret == nvml.SUCCESS {
			values[telemetry.Power] = float64(milliwatts) * milli
		}
		return ret
	})
}

// clockEventReasons has an older name in drivers before R535.
func clockEventReasons() family {
	current := simple("nvmlDeviceGetCurrentClocksEventReasons", func(d nvml.Device, values telemetry.Values) nvml.Return {
		reasons, ret := d.GetCurrentClocksEventReasons()
		return putReasons(values, reasons, ret)
	})
	older := simple("nvmlDeviceGetCurrentClocksThrottleReasons", func(d nvml.Device, values telemetry.Values) nvml.Return {
		reasons, ret := d.GetCurrentClocksThrottleReasons() // the only name that old drivers have
		return putReasons(values, reasons, ret)
	})
	return family{calls: append(current.calls, older.calls...)}
}

func putReasons(values telemetry.Values, reasons uint64, ret nvml.Return) nvml.Return {
	if ret == nvml.SUCCESS {
		values[telemetry.ClockEventReasons] = float64(reasons)
	}
	return ret
}

func encoder() family {
	return simple("nvmlDeviceGetEncoderUtilization", func(d nvml.Device, values telemetry.Values) nvml.Return {
		busy, _, ret := d.GetEncoderUtilization()
		if ret == nvml.SUCCESS {
			values[telemetry.EncoderBusy] = ratio(uint64(busy))
		}
		return ret
	})
}

func decoder() family {
	return simple("nvmlDeviceGetDecoderUtilization", func(d nvml.Device, values telemetry.Values) nvml.Return {
		busy, _, ret := d.GetDecoderUtilization()
		if ret == nvml.SUCCESS {
			values[telemetry.DecoderBusy] = ratio(uint64(busy))
		}
		return ret
	})
}

// ratio converts from per cent. Drivers have been seen to say more than 100.
func ratio(percent uint64) float64 { return float64(min(percent, 100)) / 100 }
