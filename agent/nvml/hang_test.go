package nvml

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakenvml"
)

// impatient reads once with little time.
func (h *host) impatient(r *Reader) ([]telemetry.Sample, []string) {
	h.now = h.now.Add(second)
	ctx, cancel := context.WithTimeout(h.t.Context(), 100*time.Millisecond)
	defer cancel()
	return r.Read(ctx, h.now)
}

// until reads until the condition holds.
func (h *host) until(r *Reader, holds func([]telemetry.Sample, []string) bool) {
	h.t.Helper()
	for range 200 {
		time.Sleep(10 * time.Millisecond) // the library looks at its file now and then
		if holds(h.impatient(r)) {
			return
		}
	}
	samples, problems := h.impatient(r)
	h.t.Fatalf("never: %d samples, problems %q", len(samples), problems)
}

func TestDeviceWhoseDriverHangsIsNamedAndTheOthersGoOn(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(3)
		h.install()
		h.play(s)
		r := h.reader()
		h.after(0, r)
		s.Devices[1].Hangs = []string{"nvmlDeviceGetMemoryInfo_v2"}
		h.play(s)
		for i := range 5 {
			samples, problems := h.impatient(r)
			if len(samples) != 2 || samples[0].Device.Index != 0 || samples[1].Device.Index != 2 {
				t.Errorf("pass %d: %v; want devices 0 and 2", i, samples)
			}
			if len(problems) != 1 || !strings.Contains(problems[0], s.Devices[1].UUID) {
				t.Errorf("pass %d: problems %q; want the device that hangs", i, problems)
			}
			if got := r.Status(); got.State != StateOK || i > 0 && got.Hanging != 1 {
				t.Errorf("pass %d: status %+v; want ok, with one hanging", i, got)
			}
		}
		r.SetReleased(true)
		if _, problems := h.impatient(r); r.Status().State != StateHanging || !strings.Contains(problems[0], "hangs in the driver") {
			t.Errorf("released while a call hangs: %+v, %q", r.Status(), problems)
		}
		r.SetReleased(false)
		s.Devices[1].Hangs = nil
		h.play(s)
		h.until(r, func(samples []telemetry.Sample, problems []string) bool { return len(samples) == 3 && problems == nil })
		if got := r.Status(); got.Hanging != 0 {
			t.Errorf("status = %+v; want none hanging", got)
		}
	})
}

func TestAllDevicesHangingIsAStateToComeBackFrom(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(2)
		h.install()
		h.play(s)
		r := h.reader()
		h.after(0, r)
		for i := range s.Devices {
			s.Devices[i].Hangs = []string{fakenvml.AllCalls}
		}
		h.play(s)
		h.impatient(r)
		samples, problems := h.impatient(r)
		if got := r.Status(); len(samples) != 0 || len(problems) != 2 || got.State != StateFailed || got.Hanging != 2 {
			t.Errorf("%d samples, problems %q, status %+v", len(samples), problems, got)
		}
		for i := range s.Devices {
			s.Devices[i].Hangs = nil
		}
		h.play(s)
		h.until(r, func(samples []telemetry.Sample, _ []string) bool { return len(samples) == 2 })
	})
}

func TestReleasedDriverIsNotTouchedUntilItIsTakenAgain(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		h.install()
		h.play(fakenvml.Default(2))
		r := h.reader()
		h.after(0, r)
		h.after(second, r)
		r.SetReleased(true)
		if samples, problems := h.after(second, r); samples != nil || r.Status().State != StateReleased || !strings.Contains(problems[0], "given back") {
			t.Errorf("samples %v, problems %q, status %+v", samples, problems, r.Status())
		}
		// A driver that is not there any more is no news to who has given it back.
		if err := os.Remove(h.scenario()); err != nil {
			t.Fatal(err)
		}
		h.after(second, r)
		if got := r.Status(); got.State != StateReleased || got.LibraryReplaced {
			t.Errorf("status = %+v", got)
		}
		h.play(fakenvml.Default(2))
		r.SetReleased(false)
		if samples, problems := h.after(second, r); len(samples) != 2 || problems != nil {
			t.Errorf("taken again: %d samples, problems %q", len(samples), problems)
		}
	})
}

func TestUpgradedDriverAsksForANewProcess(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(1)
		build := func(version string) {
			if _, err := fakenvml.BuildVariant(h.dir, fakenvml.Variant{Version: version}); err != nil {
				t.Fatal(err)
			}
			s.DriverVersion = version
		}
		build("570.1")
		h.play(s)
		r := h.reader()
		if samples, problems := h.after(0, r); len(samples) != 1 || problems != nil {
			t.Fatalf("%d samples, problems %q", len(samples), problems)
		}
		r.SetReleased(true)
		h.after(second, r)
		build("580.2") // another file at the same path
		h.play(s)
		r.SetReleased(false)
		_, problems := h.after(second, r)
		if got := r.Status(); got.State != StateDriverMismatch || !got.LibraryReplaced || len(problems) != 1 {
			t.Errorf("status %+v, problems %q; want a mismatch, and another library", got, problems)
		}
	})
}

func TestMismatchWithoutAnotherLibraryDoesNotAskForANewProcess(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(1)
		if _, err := fakenvml.BuildVariant(h.dir, fakenvml.Variant{Version: "570.1"}); err != nil {
			t.Fatal(err)
		}
		s.DriverVersion = "580.2"
		h.play(s)
		r := h.reader()
		h.after(0, r)
		if got := r.Status(); got.State != StateDriverMismatch || got.LibraryReplaced {
			t.Errorf("status = %+v; want a mismatch that a new process would not mend", got)
		}
	})
}

func TestWaitForEventsThatHangsKeepsNVMLFromBeingGivenBackAndEndsNothing(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(1)
		s.Devices[0].Hangs = []string{"nvmlEventSetWait_v2"}
		h.install()
		h.play(s)
		r := h.reader()
		h.after(0, r)
		h.after(second, r)
		time.Sleep(50 * time.Millisecond) // the wait begins
		r.SetReleased(true)
		for range 3 { // asked again each tick
			if h.after(second, r); r.Status().State != StateHanging {
				t.Errorf("status = %+v; want hanging", r.Status())
			}
		}
		s.Devices[0].Hangs = nil
		h.play(s)
		h.until(r, func([]telemetry.Sample, []string) bool { return r.Status().State == StateReleased })
	})
}

func TestReadingThatComesTooLateCountsTheNextTime(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(2)
		s.Devices[1].Delays = map[string]int{"nvmlDeviceGetMemoryInfo_v2": 150} // longer than it has, each time
		h.install()
		h.play(s)
		r := h.reader()
		read := 0
		for range 6 {
			samples, _ := h.impatient(r)
			read += len(samples)
			time.Sleep(100 * time.Millisecond) // the rest of the interval
		}
		if read < 6+3 {
			t.Errorf("%d samples of six ticks; want all of device 0, and every other one of device 1", read)
		}
	})
}

func TestDownSinceStandsThroughChangingStates(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		r := h.reader()
		h.after(0, r)
		down := h.now
		s := fakenvml.Default(1)
		s.InitError = 9
		h.install()
		h.play(s)
		h.after(time.Minute, r)
		if got := r.Status(); got.State != StateDriverNotLoaded || !got.DownSince.Equal(down) {
			t.Errorf("status = %+v; want down since %v", got, down)
		}
		h.play(fakenvml.Default(1))
		h.after(time.Minute, r)
		if got := r.Status(); got.State != StateOK || !got.DownSince.IsZero() {
			t.Errorf("status = %+v; want up", got)
		}
	})
}

func TestXIDIsRememberedThroughTheLossThatFollows(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(2)
		h.install()
		h.play(s)
		r := h.reader()
		h.after(0, r)
		s.Devices[0].XIDs = []fakenvml.XID{{Sequence: 1, Code: 79}}
		h.play(s)
		h.until(r, func(samples []telemetry.Sample, _ []string) bool { return samples[0].Values[telemetry.XIDLast] == 79 })
		s.Devices[0].Errors = map[string]int{fakenvml.AllCalls: 15}
		h.play(s)
		_, problems := h.after(second, r)
		if len(problems) != 1 || !strings.Contains(problems[0], "last XID 79") {
			t.Errorf("problems = %q", problems)
		}
		h.after(2*reopenFirst, r) // NVML is initialized anew
		s.Devices[0].Errors = nil
		h.play(s)
		h.after(second, r)
		samples, _ := h.after(second, r)
		if samples[0].Values[telemetry.XIDErrors] != 1 {
			t.Errorf("after it came back: %v errors; want the one there was", samples[0].Values[telemetry.XIDErrors])
		}
	})
}

// The race detector is the judge: what a reading wrote after its time must be seen by who gives it back.
func TestReadingThatComesTooLateIsGivenBackWhole(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		s := fakenvml.Default(1)
		s.Devices[0].Delays = map[string]int{"nvmlDeviceGetMemoryInfo_v2": 150}
		h.install()
		h.play(s)
		r := h.reader()
		if samples, _ := h.impatient(r); len(samples) != 0 {
			t.Fatal("it came in time")
		}
		for r.gpus[0].lane.Busy() {
			time.Sleep(time.Millisecond)
		}
		r.Close()
		if r.initialized || r.gpus != nil {
			t.Error("NVML is not given back")
		}
	})
}
