package dcgm

import (
	"context"
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/test/fakedcgm"
)

func busy(n int) fakedcgm.Scenario {
	s := fakedcgm.Default(n)
	for _, e := range s.Entities {
		e.Fields[gpuUtil] = fakedcgm.Int(50)
	}
	return s
}

// expect fails unless the reader is in the state, says so in the one problem, and has that many samples.
func (h *host) expect(r *Reader, after time.Duration, state State, samples int, problem string) {
	h.t.Helper()
	got, problems := h.after(after, r)
	if len(got) != samples || r.Status().State != state {
		h.t.Errorf("%d samples in state %s, problems %q; want %d in state %s", len(got), r.Status().State, problems, samples, state)
	}
	switch {
	case problem == "" && len(problems) > 0:
		h.t.Errorf("problems = %q; want none", problems)
	case problem != "" && (len(problems) != 1 || !strings.Contains(problems[0], problem)):
		h.t.Errorf("problems = %q; want one with %q", problems, problem)
	}
}

func TestMissingLibraryIsAStateThatSaysWhereWasLooked(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		r := h.reader()
		h.expect(r, 0, StateLibraryMissing, 0, "dcgm: DCGM library not found: looked for "+h.library()+"; install DCGM 4")
		h.install()
		h.play(busy(1))
		h.expect(r, retryFirst, StateOK, 1, "")
	})
}

func TestLibraryThatLacksAnyFunctionEndsNoProcess(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		for _, missing := range required() {
			source := ""
			for _, f := range required() {
				if f != missing {
					source += "int " + f + "(void) { return 0; }\n"
				}
			}
			path := filepath.Join(h.dir, "lib-without-"+missing+".so")
			h.installC(path, source)
			r := New(Options{Address: address, LibraryPath: path})
			h.expect(r, 0, StateFailed, 0, "it has no function "+missing)
		}
	})
}

func TestLibraryThatGoDCGMWouldNotFindIsRefused(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		source := ""
		for _, f := range required() {
			source += "int " + f + "(void) { return 0; }\n"
		}
		h.installC(h.library(), source, "-Wl,-soname,libdcgm.so.3")
		h.expect(h.reader(), 0, StateFailed, 0, "its soname is not libdcgm.so.4")
	})
}

func TestFunctionsLookedUpAreThoseThatAreCalled(t *testing.T) {
	// Every test calls through the fake library, which ends the process at a function it has not. So it is enough that it has
	// none that is not looked up, and that none is looked up in vain.
	file, err := elf.Open(os.Getenv(built))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	symbols, err := file.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	var exported []string
	for _, s := range symbols {
		if s.Section != elf.SHN_UNDEF && elf.ST_TYPE(s.Info) == elf.STT_FUNC {
			exported = append(exported, s.Name)
		}
	}
	if d := cmp.Diff(slices.Sorted(slices.Values(required())), slices.Sorted(slices.Values(exported))); d != "" {
		t.Errorf("(-looked up +exported)\n%s", d)
	}
}

func TestAddressThatIsNoneIsRefusedWithTheFormsThereAre(t *testing.T) {
	for _, address := range []string{"", "localhost", ":5555", "localhost:", "unix://run/dcgm.sock", "vsock://2:5555"} {
		t.Run(address, func(t *testing.T) {
			r := New(Options{Address: address, LibraryPath: "/nowhere/libdcgm.so.4"})
			_, problems := r.Read(t.Context(), time.Now())
			if r.Status().State != StateFailed || len(problems) != 1 || !strings.Contains(problems[0], "unix:///") {
				t.Errorf("state %s, problems %q", r.Status().State, problems)
			}
		})
	}
}

func TestEngineIsReachedByPortAndBySocket(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		h.install()
		for _, address := range []string{"gpu-node:5555", "[::1]:5555", "unix:///run/nvidia/dcgm.sock"} {
			s := busy(1)
			s.Address = address
			h.play(s)
			r := New(Options{Address: address, LibraryPath: h.library()})
			h.expect(r, 0, StateOK, 1, "")
			r.Close()
		}
	})
}

func TestEngineThatRefusesIsTriedAgainAfterALongerWait(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		h.install()
		s := busy(1)
		s.ConnectError = -21
		h.play(s)
		r := h.reader()
		h.expect(r, 0, StateEngineUnreachable, 0, "dcgm: no host engine at 127.0.0.1:5555: error connecting to nv-hostengine: Host engine connection invalid/disconnected; is nv-hostengine running")
		since := r.Status().Since
		h.expect(r, retryFirst, StateEngineUnreachable, 0, "no host engine")
		s.ConnectError = 0
		h.play(s)
		h.expect(r, retryFirst, StateEngineUnreachable, 0, "no host engine") // the wait has doubled
		if got := r.Status().Since; !got.Equal(since) {
			t.Errorf("since %v; want %v, when the state began", got, since)
		}
		h.expect(r, retryFirst, StateOK, 1, "")
	})
}

func TestEngineThatIsLostIsFoundAgain(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		h.install()
		s := busy(2)
		h.play(s)
		r := h.reader()
		h.expect(r, 0, StateOK, 2, "")
		s.ConnectError = -21
		h.play(s)
		h.expect(r, time.Second, StateEngineUnreachable, 0, "dcgm: the host engine at 127.0.0.1:5555 does not answer any more")
		s.ConnectError = 0
		h.play(s)
		h.expect(r, retryFirst, StateOK, 2, "")
		s.Run++ // restarted between two readings
		h.play(s)
		h.expect(r, time.Second, StateEngineUnreachable, 0, "does not answer any more")
		h.expect(r, retryFirst, StateOK, 2, "")
	})
}

func TestEngineThatIsLostWhileDevicesAreLookedForIsFoundAgain(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		h.install()
		s := busy(1)
		h.play(s)
		r := h.reader()
		h.expect(r, 0, StateOK, 1, "")
		s.Run++
		h.play(s)
		h.expect(r, surveyEvery, StateEngineUnreachable, 0, "does not answer any more")
		h.expect(r, retryFirst, StateOK, 1, "")
	})
}

func TestCallThatHangsHoldsNobodyBeyondItsContext(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		h.install()
		for _, function := range []string{"dcgmConnect_v2", "dcgmGetEntityGroupEntities", "dcgmEntityGetLatestValues"} {
			s := busy(1)
			s.Hang = function
			h.play(s)
			r := h.reader()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if got, problems := r.Read(ctx, h.now); got != nil || len(problems) != 1 || r.Status().State != StateHanging {
				t.Errorf("%s: %d samples in state %s, problems %q", function, len(got), r.Status().State, problems)
			}
			h.expect(r, time.Minute, StateHanging, 0, "dcgm: the host engine at 127.0.0.1:5555 has not answered since "+r.lane.Began().UTC().Format(time.TimeOnly))
			s.Hang = ""
			h.play(s)
			if _, ended := r.lane.Wait(t.Context(), nil); !ended {
				t.Fatal("the call never returned")
			}
			h.expect(r, time.Second, StateOK, 1, "")
			r.Close()
		}
	})
}

func TestCloseDoesNotWaitForACallThatHangs(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		h.install()
		s := busy(1)
		s.Hang = "dcgmConnect_v2"
		h.play(s)
		r := h.reader()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r.Read(ctx, h.now)
		began := time.Now()
		r.Close()
		if took := time.Since(began); took >= closeWithin {
			t.Errorf("Close took %v", took)
		}
	})
}

func TestGPUThatDoesNotAnswerCostsNoOtherItsSample(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		const gpuIsLost = -18
		h.install()
		s := busy(2)
		h.play(s)
		r := h.reader()
		h.expect(r, 0, StateOK, 2, "")
		s.Entities[0].Error = gpuIsLost
		h.play(s)
		h.expect(r, time.Second, StateOK, 1, "device 0 (GPU-f0e7de00-0000-4000-8000-000000000000): dcgmReturn_t -18")
		h.expect(r, time.Second, StateOK, 1, "dcgm: GPU 0 of the host engine: dcgmReturn_t -18")
		s.Entities[1].Error = gpuIsLost
		h.play(s)
		got, problems := h.after(surveyEvery, r)
		if len(got) != 0 || len(problems) != 2 || r.Status().State != StateFailed {
			t.Errorf("%d samples in state %s, problems %q", len(got), r.Status().State, problems)
		}
		h.play(busy(2))
		h.expect(r, surveyEvery, StateOK, 2, "")
	})
}

func TestEngineWithoutGPUsIsAStateOfItsOwn(t *testing.T) {
	inOwnProcess(t, func(t *testing.T, h *host) {
		h.install()
		h.play(fakedcgm.Scenario{})
		h.expect(h.reader(), 0, StateNoDevices, 0, "")
	})
}

func TestEveryStateIsListedOnce(t *testing.T) {
	seen := map[State]bool{}
	for _, s := range States() {
		if seen[s] {
			t.Errorf("%s is listed twice", s)
		}
		seen[s] = true
	}
	if r := New(Options{}); !seen[r.Status().State] {
		t.Errorf("the first state, %s, is not listed", r.Status().State)
	}
}
