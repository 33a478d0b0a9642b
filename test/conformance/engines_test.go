//go:build conformance

package conformance

import (
	"maps"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakedcgm"
)

// engines are the cases of reading from a DCGM host engine instead of NVML.
func engines() []kase {
	const area = "DCGM"
	return []kase{
		{area, "readings of a host engine arrive, its profiling metrics among them, and are the holder's", scripted, engineReadings},
		{area, "MIG instances are read from the host engine, and are their holders'", scripted, engineInstances},
		{area, "of a GPU that pods share the host engine does not say who was busy: unknown, not zero", scripted, engineShared},
		{area, "a missing libdcgm is a state that says so", scripted, engineLibraryMissing},
		{area, "a host engine that is not there is a state that says so, and is used once it is", scripted, engineUnreachable},
	}
}

// Fields of DCGM (dcgm_fields.h).
const (
	utilizationField, powerField, temperatureField, usedField        = 203, 155, 150, 252
	engineActiveField, smActiveField, tensorActiveField, energyField = 1001, 1002, 1004, 156
)

// connectionNotValid is DCGM_ST_CONNECTION_NOT_VALID.
const connectionNotValid = -21

// withEngine is a node whose agent asks a host engine; the library is there unless the test takes it away.
func withEngine(t *testing.T, s fakedcgm.Scenario) *world {
	t.Helper()
	w := newWorld(t, profile(t, "a100", 1)) // NVML is there too, and is not asked
	library, err := fakedcgm.BuildLibrary(w.Path("dcgm"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(library, w.Path(fakedcgm.LibraryName)); err != nil {
		t.Fatal(err)
	}
	w.engine(s)
	return w
}

func (w *world) engine(s fakedcgm.Scenario) {
	w.t.Helper()
	if err := s.Write(w.Path(fakedcgm.ScenarioName)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) startOnEngine() {
	w.t.Helper()
	w.start("--devices.source=dcgm", "--dcgm.library-path="+w.Path(fakedcgm.LibraryName))
}

// busyEngine is a host engine with two GPUs, the second of which is busy.
func busyEngine() (s fakedcgm.Scenario, uuid string) {
	s = fakedcgm.Default(2)
	maps.Copy(s.Entities[0].Fields, map[int]fakedcgm.Value{utilizationField: fakedcgm.Int(0)})
	maps.Copy(s.Entities[1].Fields, map[int]fakedcgm.Value{utilizationField: fakedcgm.Int(37), powerField: fakedcgm.Double(300), temperatureField: fakedcgm.Int(61),
		usedField: fakedcgm.Int(1024), smActiveField: fakedcgm.Double(0.25), tensorActiveField: fakedcgm.Double(0.125), energyField: fakedcgm.Int(7_000_500)})
	return s, "GPU-f0e7de00-0000-4000-8000-000000000001"
}

func engineReadings(t *testing.T) {
	s, uuid := busyEngine()
	w := withEngine(t, s)
	w.hold(holder("bert-0", "model", "nvidia.com/gpu", uuid))
	w.startOnEngine()
	w.settles("the GPU's values", func(b telemetry.Batch) string {
		r, _ := reading(b, uuid)
		return cmp.Diff(telemetry.Values{telemetry.UtilizationMean: 0.37, telemetry.UtilizationMax: 0.37, telemetry.Power: 300, telemetry.Temperature: 61,
			telemetry.MemoryUsed: 1 << 30, telemetry.MemoryTotal: 81559 << 20, telemetry.SMActive: 0.25, telemetry.TensorActive: 0.125,
			telemetry.Energy: 7000.5, telemetry.XIDLast: 0}, r.Values, nearly)
	})
	b := w.parts(uuid, map[string]float64{"bert-0": 0.37})
	if u := b.Usages[0]; u.Attribution != telemetry.AttributionExclusive || u.Values[telemetry.SMActive] != 0.25 || u.Values[telemetry.Power] != 300 {
		t.Errorf("%+v", u)
	}
	w.state("ok")
	w.shows(37, "DCGM_FI_DEV_GPU_UTIL", "UUID", uuid, "pod", "bert-0")
}

func engineInstances(t *testing.T) {
	s := fakedcgm.Default(1)
	i := s.AddMIG(0, "1g.10gb", 9984)
	maps.Copy(i.Fields, map[int]fakedcgm.Value{engineActiveField: fakedcgm.Double(0.6), usedField: fakedcgm.Int(2048)})
	w := withEngine(t, s)
	const uuid = "MIG-f0e7de00-0000-4000-8000-000000000000"
	w.hold(holder("bert-0", "model", "nvidia.com/mig-1g.10gb", uuid))
	w.startOnEngine()
	b := w.parts(uuid, map[string]float64{"bert-0": 0.6})
	if u := b.Usages[0]; u.Attribution != telemetry.AttributionMIG || u.Values[telemetry.MemoryUsed] != 2<<30 {
		t.Errorf("%+v", u)
	}
}

func engineShared(t *testing.T) {
	s, uuid := busyEngine()
	w := withEngine(t, s)
	w.shared("nvidia.com/gpu", uuid, "bert-0", "bert-1")
	w.startOnEngine()
	b := w.batch("two owners", func(b telemetry.Batch) bool { return len(b.Usages) == 2 && near(utilization(b, uuid), 0.37) })
	for _, u := range b.Usages {
		if v, said := u.Values[telemetry.UtilizationMean]; said || u.Attribution != telemetry.AttributionUnknown {
			t.Errorf("%s: utilization %v, %s", u.Owner.Pod, v, u.Attribution)
		}
	}
	if !tells(b, "does not say which of them was busy") {
		t.Errorf("problems: %q", b.Problems)
	}
}

func engineLibraryMissing(t *testing.T) {
	s, _ := busyEngine()
	w := withEngine(t, s)
	w.remove(fakedcgm.LibraryName)
	w.startOnEngine()
	w.state("library_missing")
	b := w.batch("what is missing", func(b telemetry.Batch) bool { return tells(b, "dcgm: ") && tells(b, fakedcgm.LibraryName) })
	if len(b.Readings) > 0 {
		t.Errorf("readings: %v; NVML was asked instead", b.Readings)
	}
	w.says("/healthz", 200, "library_missing")
}

func engineUnreachable(t *testing.T) {
	s, uuid := busyEngine()
	s.ConnectError = connectionNotValid
	w := withEngine(t, s)
	w.startOnEngine()
	w.state("engine_unreachable")
	w.batch("where it was looked for", func(b telemetry.Batch) bool { return tells(b, "localhost:5555") && len(b.Readings) == 0 })
	s.ConnectError = 0
	w.engine(s)
	w.reads(uuid)
	w.state("ok")
}
