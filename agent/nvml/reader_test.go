package nvml

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakenvml"
)

const second = time.Second

// pick returns those of the metrics that were measured.
func pick(values telemetry.Values, metrics ...telemetry.Metric) telemetry.Values {
	out := telemetry.Values{}
	for _, m := range metrics {
		if v, ok := values[m]; ok {
			out[m] = v
		}
	}
	return out
}

func has(s telemetry.Sample, m telemetry.Metric) bool {
	_, ok := s.Values[m]
	return ok
}

func TestEveryDeviceIsReadInBaseUnits(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(2)
		s.Devices[1].UtilizationGPUPercent = 37
		s.Devices[1].MemoryUsedBytes, s.Devices[1].MemoryReservedBytes = 1<<30, 1<<29
		h.install()
		h.play(s)
		r := h.reader()
		got, problems := h.after(0, r)
		total := float64(s.Devices[0].MemoryTotalBytes)
		for i, want := range []telemetry.Values{
			{telemetry.UtilizationMean: 0, telemetry.UtilizationMax: 0, telemetry.MemoryUsed: 0, telemetry.MemoryFree: total, telemetry.MemoryReserved: 0, telemetry.MemoryTotal: total},
			{telemetry.UtilizationMean: 0.37, telemetry.UtilizationMax: 0.37, telemetry.MemoryUsed: 1 << 30, telemetry.MemoryFree: total - 3<<29,
				telemetry.MemoryReserved: 1 << 29, telemetry.MemoryTotal: total},
		} {
			device := telemetry.Device{UUID: s.Devices[i].UUID, Index: i, Minor: i, Model: s.Devices[i].Name, PCIBusID: got[i].Device.PCIBusID}
			if d := cmp.Diff(device, got[i].Device); d != "" || problems != nil || device.PCIBusID == "" {
				t.Errorf("(-want +got)\n%s problems %q", d, problems)
			}
			if d := cmp.Diff(want, pick(got[i].Values, telemetry.UtilizationMean, telemetry.UtilizationMax, telemetry.MemoryUsed, telemetry.MemoryFree,
				telemetry.MemoryReserved, telemetry.MemoryTotal)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		}
		if d := cmp.Diff(Status{State: StateOK, Since: h.now, Devices: 2, Library: h.library(), Driver: s.DriverVersion}, r.Status()); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		r.Close()
		if again, problems := h.after(second, r); len(again) != 2 {
			t.Errorf("after Close: %d readings, problems %q; want it to open again", len(again), problems)
		}
	})
}

func TestScenarioThatChangesIsSeenAtTheNextRead(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(1)
		h.install()
		h.play(s)
		r := h.reader()
		for _, percent := range []int{0, 5, 100, 63} {
			s.Devices[0].UtilizationGPUPercent = percent
			h.play(s)
			got, _ := h.after(second, r)
			if u := got[0].Values[telemetry.UtilizationMean]; u != float64(percent)/100 {
				t.Errorf("utilization = %v; want %v %%", u, percent)
			}
		}
	})
}

func TestUtilizationAboveAllIsCutToOne(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(1)
		s.Devices[0].UtilizationGPUPercent = 173
		h.install()
		h.play(s)
		if got, _ := h.after(0, h.reader()); got[0].Values[telemetry.UtilizationMean] != 1 {
			t.Errorf("utilization = %v; want 1", got[0].Values[telemetry.UtilizationMean])
		}
	})
}

func TestMissingLibraryIsAStateAndIsFoundWhenItComes(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		r := h.reader()
		readings, problems := h.after(0, r)
		if readings != nil || len(problems) != 1 || !strings.Contains(problems[0], "library not found") ||
			!strings.Contains(problems[0], h.library()) || !strings.HasSuffix(problems[0], "; in Kubernetes set runtimeClassName: nvidia on the agent, or mount the driver") {
			t.Errorf("readings %v, problems %q; want one that says where was looked and what to do", readings, problems)
		}
		if s := r.Status(); s.State != StateLibraryMissing || s.State.Up() {
			t.Errorf("state = %v", s.State)
		}
		h.install()
		h.play(fakenvml.Default(3))
		if readings, problems = h.after(retryFirst-1, r); readings != nil || len(problems) != 1 {
			t.Errorf("tried again too soon, or forgot to say why there is nothing: %v, %q", readings, problems)
		}
		if readings, problems = h.after(1, r); len(readings) != 3 || problems != nil {
			t.Errorf("after it came: %d readings, problems %q; want 3, none", len(readings), problems)
		}
	})
}

func TestLibraryThatIsNotNVMLIsAState(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		h.installC("int nvmlInit_v2(void) { return 0; }")
		r := h.reader()
		_, problems := h.after(0, r)
		if s := r.Status(); s.State != StateFailed || !strings.Contains(problems[0], "nvmlShutdown") {
			t.Errorf("state %v, problems %q; want one that names the missing function", s.State, problems)
		}
	})
}

func TestFunctionsThatAnOldDriverLacksAreLeftOut(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		h.installC(`#include <string.h>
			int nvmlInit(void) { return 0; }
			int nvmlShutdown(void) { return 0; }
			const char *nvmlErrorString(int r) { return r ? "bad" : "good"; }
			int nvmlDeviceGetCount(unsigned *n) { *n = 1; return 0; }
			int nvmlDeviceGetHandleByIndex(unsigned i, void **h) { *h = (void *)1; return i; }
			int nvmlDeviceGetUUID(void *h, char *s, unsigned n) { strncpy(s, "GPU-old", n); return h == 0; }
			int nvmlDeviceGetMemoryInfo(void *h, unsigned long long *m) { m[0] = 8; m[1] = 5; m[2] = 3; return h == 0; }`)
		readings, problems := h.after(0, h.reader())
		want := []telemetry.Sample{{Reading: telemetry.Reading{Device: telemetry.Device{UUID: "GPU-old"},
			Values: telemetry.Values{telemetry.MemoryUsed: 3, telemetry.MemoryFree: 5, telemetry.MemoryTotal: 8}}}}
		if d := cmp.Diff(want, readings); d != "" || problems != nil {
			t.Errorf("(-want +got)\n%s problems %q", d, problems)
		}
	})
}

func TestDriverThatIsNotLoadedIsAStateWithGrowingPauses(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(1)
		s.InitError = 9
		h.install()
		h.play(s)
		r := h.reader()
		for range 20 {
			h.after(60*second, r)
		}
		if got := r.Status(); got.State != StateDriverNotLoaded || !strings.Contains(got.Message, "not loaded") {
			t.Errorf("status = %+v", got)
		}
		h.play(fakenvml.Default(1))
		if readings, _ := h.after(retryLast-1, r); readings != nil {
			t.Error("tried again before the longest pause was over")
		}
		if readings, problems := h.after(1, r); len(readings) != 1 {
			t.Errorf("after the driver came: %d readings, problems %q", len(readings), problems)
		}
	})
}

func TestOtherVersionOfTheDriverAsksForARestart(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(1)
		s.InitError = 18
		h.install()
		h.play(s)
		r := h.reader()
		if _, problems := h.after(0, r); r.Status().State != StateDriverMismatch || !strings.Contains(problems[0], "restart") {
			t.Errorf("state %v, problems %q", r.Status().State, problems)
		}
	})
}

func TestNoDevicesIsAStateInWhichNVMLIsUp(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		h.install()
		h.play(fakenvml.Default(0))
		r := h.reader()
		readings, problems := h.after(0, r)
		if s := r.Status(); s.State != StateNoDevices || !s.State.Up() || len(readings) != 0 || problems != nil {
			t.Errorf("state %v, readings %v, problems %q", s.State, readings, problems)
		}
	})
}

func TestLostDeviceIsAbsentAndNamedAndTheOthersGoOn(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(3)
		h.install()
		h.play(s)
		r := h.reader()
		h.after(0, r)
		s.Devices[1].Errors = map[string]int{fakenvml.AllCalls: 15}
		h.play(s)
		readings, problems := h.after(second, r)
		if len(readings) != 2 || readings[0].Device.Index != 0 || readings[1].Device.Index != 2 {
			t.Errorf("readings = %v; want devices 0 and 2", readings)
		}
		if len(problems) != 1 || !strings.Contains(problems[0], s.Devices[1].UUID) || !strings.Contains(problems[0], "lost") {
			t.Errorf("problems = %q; want the device and why", problems)
		}
		if got := r.Status(); got.State != StateOK || got.Devices != 2 {
			t.Errorf("status = %+v; want ok with 2 devices", got)
		}
		h.after(reopenFirst, r) // NVML is given up here, and initialized anew at the next read
		if readings, _ = h.after(second, r); len(readings) != 2 {
			t.Errorf("after initializing anew: %d readings; want 2", len(readings))
		}
		s.Devices[1].Errors = nil
		h.play(s)
		if readings, problems = h.after(second, r); len(readings) != 3 || problems != nil {
			t.Errorf("after it came back: %d readings, problems %q; want 3, none", len(readings), problems)
		}
	})
}

func TestDeviceLostBetweenTwoCallsIsAbsent(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(2)
		s.Devices[0].Errors = map[string]int{"nvmlDeviceGetMemoryInfo_v2": 15}
		h.install()
		h.play(s)
		readings, problems := h.after(0, h.reader())
		if len(readings) != 1 || readings[0].Device.Index != 1 || len(problems) != 1 {
			t.Errorf("readings %v, problems %q; want device 1 only, one problem", readings, problems)
		}
	})
}

func TestWhatADeviceDoesNotSupportIsAbsentAndNotAskedAgainForAWhile(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(2)
		s.Devices[0].Errors = map[string]int{"nvmlDeviceGetUtilizationRates": 3}
		h.install()
		h.play(s)
		r := h.reader()
		want := []string{"device 0: utilization is not supported on this device"}
		for range 2 {
			readings, problems := h.after(second, r)
			if has(readings[0], telemetry.UtilizationMean) || !has(readings[0], telemetry.MemoryUsed) || !slices.Equal(problems, want) {
				t.Errorf("values %v, problems %q; want memory but no utilization, and %q", readings[0].Values, problems, want)
			}
			if !has(readings[1], telemetry.UtilizationMean) {
				t.Error("the other device lost its utilization too")
			}
			// From now on any call would be an answer.
			s.Devices[0].Errors = nil
			h.play(s)
		}
		if readings, problems := h.after(askAgain-second-1, r); has(readings[0], telemetry.UtilizationMean) || len(problems) != 1 {
			t.Errorf("asked again too soon: values %v, problems %q", readings[0].Values, problems)
		}
		if readings, problems := h.after(1, r); !has(readings[0], telemetry.UtilizationMean) || problems != nil {
			t.Errorf("after MIG mode was switched off: values %v, problems %q; want utilization and no problem", readings[0].Values, problems)
		}
	})
}

func TestMemoryFallsBackToTheOldCall(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(1)
		s.Devices[0].MemoryUsedBytes, s.Devices[0].MemoryReservedBytes = 100, 11
		s.Devices[0].Errors = map[string]int{"nvmlDeviceGetMemoryInfo_v2": 25}
		h.install()
		h.play(s)
		readings, problems := h.after(0, h.reader())
		if got := readings[0].Values[telemetry.MemoryUsed]; got != 111 || problems != nil {
			t.Errorf("used = %v, problems %q; want 111, which counts what is reserved", got, problems)
		}
	})
}

func TestOtherErrorsCostOneFamilyAndAreNamed(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(1)
		s.Devices[0].Errors = map[string]int{"nvmlDeviceGetUtilizationRates": 10}
		h.install()
		h.play(s)
		readings, problems := h.after(0, h.reader())
		if len(readings) != 1 || has(readings[0], telemetry.UtilizationMean) || !has(readings[0], telemetry.MemoryUsed) {
			t.Errorf("readings = %v; want memory, but no utilization", readings)
		}
		if len(problems) != 1 || !strings.Contains(problems[0], "nvmlDeviceGetUtilizationRates: Timeout") {
			t.Errorf("problems = %q", problems)
		}
	})
}

func TestDriverThatGoesAwayIsAStateToComeBackFrom(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		h.install()
		h.play(fakenvml.Default(2))
		r := h.reader()
		h.after(0, r)
		if err := os.Remove(filepath.Join(h.dir, fakenvml.ScenarioName)); err != nil {
			t.Fatal(err)
		}
		if readings, problems := h.after(second, r); readings != nil || len(problems) != 1 || r.Status().State != StateFailed {
			t.Errorf("readings %v, problems %q, state %v", readings, problems, r.Status().State)
		}
		h.after(10*second, r)
		if s := r.Status(); s.State != StateDriverNotLoaded || s.Devices != 0 {
			t.Errorf("status = %+v; want driver not loaded", s)
		}
		h.play(fakenvml.Default(2))
		if readings, problems := h.after(retryLast, r); len(readings) != 2 || problems != nil {
			t.Errorf("after it came back: %d readings, problems %q", len(readings), problems)
		}
	})
}

func TestNVMLIsNotUpWhenNoDeviceAnswers(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(2)
		h.install()
		h.play(s)
		r := h.reader()
		h.after(0, r)
		for i := range s.Devices {
			s.Devices[i].Errors = map[string]int{fakenvml.AllCalls: 15}
		}
		h.play(s)
		since := h.now.Add(second)
		for range 100 {
			h.after(second, r) // NVML is initialized anew in between
		}
		got := r.Status()
		if got.State != StateFailed || got.State.Up() || got.Devices != 0 || !got.Since.Equal(since) ||
			!strings.HasPrefix(got.Message, "no device answers: device 0 (") && !strings.HasPrefix(got.Message, "no device answers: device 0: ") {
			t.Errorf("status = %+v; want failed since %v, with the first device's error", got, since)
		}
		s.Devices[1].Errors = nil
		h.play(s)
		h.after(second, r)
		if got := r.Status(); got.State != StateOK || got.Message != "" || got.Devices != 1 || !got.Since.Equal(h.now) {
			t.Errorf("status = %+v; want ok from now on", got)
		}
	})
}

func TestStateStandsSinceItChanged(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		r := h.reader()
		if s := r.Status(); !s.Since.IsZero() {
			t.Errorf("status before the first read = %+v", s)
		}
		h.after(0, r)
		missing := h.now
		h.after(time.Hour, r)
		if s := r.Status(); !s.Since.Equal(missing) {
			t.Errorf("library missing since %v; want %v", s.Since, missing)
		}
		h.install()
		h.play(fakenvml.Default(1))
		h.after(time.Hour, r)
		if s := r.Status(); s.State != StateOK || !s.Since.Equal(h.now) {
			t.Errorf("status = %+v; want ok since now", s)
		}
	})
}

func TestStatesAreListedOnce(t *testing.T) {
	seen := map[State]bool{}
	for _, s := range States() {
		if seen[s] {
			t.Errorf("%s twice", s)
		}
		seen[s] = true
	}
}
