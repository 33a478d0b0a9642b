package nvml

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/telemetry"
)

// processUse reads how busy each process kept the device. The driver averages over the time since the timestamp it is given, so that is
// moved on in idle times too, with the ring of samples, whose clock is the same; it is kept per device, whose clocks need not agree.
//
//	the driver says            | the ring went on | what it means
//	samples newer than before  | either           | those processes were busy
//	NOT_FOUND                  | yes, or no ring  | none was
//	NOT_FOUND                  | no               | it has not looked since: as before
func processUse() family {
	return family{calls: []call{{"nvmlDeviceGetProcessUtilization", readProcessUse}}}
}

func readProcessUse(t *target, s *telemetry.Sample, _ time.Time) nvml.Return {
	since := t.useSeen
	if first := uint64(firstLook / time.Microsecond); since == 0 && t.ring.newest > first {
		since = t.ring.newest - first
	}
	samples, ret := t.handle.GetProcessUtilization(since)
	switch {
	case ret == nvml.ERROR_NOT_FOUND && t.ring.newest != 0 && t.ring.newest <= t.useSeen:
	case ret == nvml.SUCCESS, ret == nvml.ERROR_NOT_FOUND:
		t.uses = usesOf(samples, since)
	case ret == nvml.ERROR_INSUFFICIENT_SIZE: // more processes came between its two calls; the next reading sees them
		return nvml.SUCCESS
	default:
		return ret
	}
	t.useSeen = max(t.useSeen, t.ring.newest)
	for _, p := range samples {
		t.useSeen = max(t.useSeen, p.TimeStamp)
	}
	if since == 0 && len(samples) > 0 {
		return nvml.SUCCESS // a mean over all that the driver remembers says nothing about now
	}
	for _, p := range t.uses {
		maps.Copy(processOf(s, p.PID), p.Values)
	}
	s.Divided = append(s.Divided, telemetry.UtilizationMean, telemetry.UtilizationMax, telemetry.MemoryBusy,
		telemetry.EncoderBusy, telemetry.DecoderBusy)
	return nvml.SUCCESS
}

func usesOf(samples []nvml.ProcessUtilizationSample, since uint64) []telemetry.Process {
	var uses []telemetry.Process
	for _, p := range samples {
		if p.Pid == 0 || p.TimeStamp <= since {
			continue
		}
		values := telemetry.Values{telemetry.MemoryBusy: ratio(uint64(p.MemUtil)), telemetry.EncoderBusy: ratio(uint64(p.EncUtil)),
			telemetry.DecoderBusy: ratio(uint64(p.DecUtil))}
		putUtilization(values, ratio(uint64(p.SmUtil)), ratio(uint64(p.SmUtil)))
		uses = append(uses, telemetry.Process{PID: int(p.Pid), Values: values})
	}
	return uses
}

// processMemory reads how much memory each process holds. Compute, graphics and MPS clients are listed apart, a process that
// does two of them in both.
func processMemory() family {
	return family{calls: []call{{"nvmlDeviceGetComputeRunningProcesses", func(t *target, s *telemetry.Sample, now time.Time) nvml.Return {
		processes, ret := t.handle.GetComputeRunningProcesses()
		if ret != nvml.SUCCESS {
			return ret
		}
		complete := true
		for _, other := range []struct {
			function string
			read     func() ([]nvml.ProcessInfo, nvml.Return)
		}{
			{"nvmlDeviceGetGraphicsRunningProcesses", t.handle.GetGraphicsRunningProcesses},
			{"nvmlDeviceGetMPSComputeRunningProcesses", t.handle.GetMPSComputeRunningProcesses},
		} {
			if !t.supports(other.function, now) {
				continue
			}
			var more []nvml.ProcessInfo
			ret := t.timed(other.function, func() (ret nvml.Return) { more, ret = other.read(); return ret })
			switch {
			case gone(ret):
				return ret
			case notSupported(ret):
				t.unsupported[other.function] = now.Add(askAgain)
			case ret != nvml.SUCCESS:
				complete = false
			}
			processes = append(processes, more...)
		}
		for _, p := range processes {
			values := processOf(s, int(p.Pid))
			if p.UsedGpuMemory == math.MaxUint64 {
				complete = false
				continue
			}
			values[telemetry.MemoryUsed] = max(values[telemetry.MemoryUsed], float64(p.UsedGpuMemory))
		}
		if complete {
			s.Divided = append(s.Divided, telemetry.MemoryUsed)
		}
		return nvml.SUCCESS
	}}}}
}

// processOf returns the values of a process of the sample, which is added when it is not there yet.
func processOf(s *telemetry.Sample, pid int) telemetry.Values {
	i, found := slices.BinarySearchFunc(s.Processes, pid, func(p telemetry.Process, pid int) int { return p.PID - pid })
	if !found {
		s.Processes = slices.Insert(s.Processes, i, telemetry.Process{PID: pid, Values: telemetry.Values{}})
	}
	return s.Processes[i].Values
}
