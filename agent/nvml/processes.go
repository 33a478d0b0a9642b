package nvml

import (
	"math"
	"slices"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/telemetry"
)

// processUse reads how busy each process kept the device. NOT_FOUND says that none did. The driver averages over the time since
// the timestamp it is given, so that is moved on in idle times too; it is kept per device, whose clocks need not agree.
func processUse() family {
	return family{calls: []call{{"nvmlDeviceGetProcessUtilization", func(t *target, s *telemetry.Sample, _ time.Time) nvml.Return {
		since := t.useSeen
		samples, ret := t.handle.GetProcessUtilization(since)
		if ret != nvml.SUCCESS && ret != nvml.ERROR_NOT_FOUND {
			if ret == nvml.ERROR_INSUFFICIENT_SIZE { // more processes came between its two calls; the next reading sees them
				return nvml.SUCCESS
			}
			return ret
		}
		t.useSeen = max(t.useSeen, t.ring.newest)
		for _, p := range samples {
			t.useSeen = max(t.useSeen, p.TimeStamp)
		}
		if since == 0 && len(samples) > 0 {
			return nvml.SUCCESS // a mean over all that the driver remembers says nothing about now
		}
		for _, p := range samples {
			if p.Pid == 0 || p.TimeStamp <= since {
				continue
			}
			values := processOf(s, int(p.Pid))
			use := ratio(uint64(p.SmUtil))
			putUtilization(values, use, use)
			values[telemetry.MemoryBusy] = ratio(uint64(p.MemUtil))
			values[telemetry.EncoderBusy] = ratio(uint64(p.EncUtil))
			values[telemetry.DecoderBusy] = ratio(uint64(p.DecUtil))
		}
		s.Divided = append(s.Divided, telemetry.UtilizationMean, telemetry.UtilizationMax, telemetry.MemoryBusy,
			telemetry.EncoderBusy, telemetry.DecoderBusy)
		return nvml.SUCCESS
	}}}}
}

// processMemory reads how much memory each process holds. Compute, graphics and MPS clients are listed apart, a process that
// does two of them in both.
func processMemory() family {
	return family{calls: []call{{"nvmlDeviceGetComputeRunningProcesses", func(t *target, s *telemetry.Sample, now time.Time) nvml.Return {
		processes, ret := t.handle.GetComputeRunningProcesses()
		if ret != nvml.SUCCESS {
			return ret
		}
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
			more, ret := other.read()
			switch {
			case gone(ret):
				return ret
			case notSupported(ret):
				t.unsupported[other.function] = now.Add(askAgain)
			}
			processes = append(processes, more...)
		}
		complete := true
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
