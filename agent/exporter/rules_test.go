package exporter

import (
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/foretide/foretide/pkg/telemetry"
)

// everything puts a batch with every metric of the catalogue wherever it can be.
func everything(n *node) {
	n.self = Self{NVMLStates: []string{"ok"}, LastTick: noon, Scraping: &Scraping{Scrapes: map[string]uint64{"ok": 1}}, Sending: &Sending{}}
	n.ObserveCall("nvmlDeviceGetSamples", time.Millisecond)
	b := batch()
	for _, row := range telemetry.Catalogue() {
		for _, r := range b.Readings {
			r.Values[row.Metric] = 1
			if r.Unattributed != nil && row.UnattributedName() != "" {
				r.Unattributed[row.Metric] = 0.5
			}
		}
		for _, u := range b.Usages {
			if row.UsageName() != "" {
				u.Values[row.Metric] = 0.5
			}
		}
	}
	n.Put(b)
}

func lint(t *testing.T, n *node) []string {
	t.Helper()
	problems, err := testutil.GatherAndLint(n.registry)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range problems {
		out = append(out, p.Metric+": "+p.Text)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestOwnNamesFollowTheRulesOfPrometheus(t *testing.T) {
	n := newNodeWith(t, Options{WithoutDCGM: true})
	everything(n)
	if got := lint(t, n); len(got) > 0 {
		t.Errorf("promlint: %s", strings.Join(got, "\n"))
	}
}

func TestOnlyWhatDCGMsNamesForceIsAgainstTheRules(t *testing.T) {
	n := newNode(t)
	everything(n)
	var want []string
	for _, row := range telemetry.Catalogue() {
		if row.DCGM != "" {
			want = append(want, row.DCGM+": label names should be written in 'snake_case' not 'camelCase'") // modelName
		}
	}
	slices.Sort(want)
	if d := cmp.Diff(want, lint(t, n)); d != "" {
		t.Errorf("promlint (-want +got):\n%s", d)
	}
}

func TestOpenMetricsCarriesUnits(t *testing.T) {
	n := newNode(t)
	everything(n)
	request := httptest.NewRequest("GET", "/metrics", nil)
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	recorder := httptest.NewRecorder()
	promhttp.HandlerFor(n.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(recorder, request)
	units, lines := map[string]string{}, map[string]bool{}
	for line := range strings.Lines(recorder.Body.String()) {
		line = strings.TrimSpace(line)
		lines[line] = true
		if fields := strings.Fields(line); len(fields) == 4 && fields[1] == "UNIT" {
			units[fields[2]] = fields[3]
		}
	}
	for _, row := range telemetry.Catalogue() {
		for _, name := range []string{row.Name, row.UsageName(), row.UnattributedName()} {
			family := strings.TrimSuffix(name, "_total")
			if name == "" {
				continue
			}
			// OpenMetrics: a family's name ends in its unit.
			if units[family] != row.Unit || !strings.HasSuffix(family, row.Unit) {
				t.Errorf("the unit of %s is %q, want %q", family, units[family], row.Unit)
			}
			if kind := "# TYPE " + family + " " + string(row.Kind); !lines[kind] {
				t.Errorf("there is no line %q", kind)
			}
		}
	}
	if !lines["# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION unknown"] {
		t.Error("DCGM's energy has a type")
	}
	if units["foretide_agent_nvml_call_duration_seconds"] != "seconds" || units["foretide_agent_spool_bytes"] != "bytes" {
		t.Errorf("the agent's own metrics lack units: %v", units)
	}
}

func TestTextThatIsNotUTF8DoesNotBreakTheExposition(t *testing.T) {
	n := newNode(t)
	b := batch()
	b.Readings[0].Device.Model, b.Usages[0].Owner.Container = "NVIDIA \xff", "\xfe"
	n.Put(b)
	if got := n.scrape(t); !strings.Contains(got, `model="NVIDIA ?"`) || !strings.Contains(got, `container="?"`) {
		t.Errorf("exposition:\n%s", got)
	}
}

func TestCallsAreCountedByFunctionFromManyGoroutines(t *testing.T) {
	n := newNode(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				n.ObserveCall("nvmlDeviceGetPowerUsage", time.Microsecond)
				n.ObserveCall("nvmlDeviceGetSamples", 20*time.Millisecond)
			}
		})
	}
	all.Wait()
	got := n.scrape(t)
	for _, line := range []string{
		`foretide_agent_nvml_call_duration_seconds_bucket{function="nvmlDeviceGetPowerUsage",le="1e-05"} 800`,
		`foretide_agent_nvml_call_duration_seconds_bucket{function="nvmlDeviceGetSamples",le="0.01"} 0`,
		`foretide_agent_nvml_call_duration_seconds_bucket{function="nvmlDeviceGetSamples",le="0.1"} 800`,
	} {
		if !strings.Contains(got, line) {
			t.Errorf("there is no line %s", line)
		}
	}
}
