//go:build conformance

package conformance

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/node"
)

// expositions are the cases of the agent's /metrics.
func expositions() []kase {
	const area = "exporter"
	return []kase{
		{area, "the six queries and two variables of Grafana's dashboard 12239 have answers", scripted, dashboard},
		{area, "every DCGM series has dcgm-exporter's labels, with both spellings of the host's name", scripted, dcgmLabels},
		{area, "the pods' series and nobody's make up the device's, under our names and DCGM's", scripted, seriesSumUp},
		{area, "as OpenMetrics every metric has its # UNIT", scripted, openMetrics},
		{area, "promlint finds nothing where DCGM's names are left out", scripted, linted},
		{area, "TLS and a password from --web.config-file; the probes stay in the clear", scripted, guarded},
		{area, "a wrong --web.config-file is refused at start, with the reason", scripted, wrongWebConfig},
	}
}

// busyNode is a node with a GPU that two pods and nobody share, one held alone, and one divided by MIG, all of them busy and read.
func busyNode(t *testing.T, flags ...string) *world {
	w := crowd(t)
	w.load(3)
	w.start(flags...)
	w.batch("everybody's part", func(b telemetry.Batch) bool {
		_, measured := reading(b, w.Scenario.Devices[2].MIGInstances[0].UUID)
		u, _ := usage(b, "mig-0", w.Scenario.Devices[2].MIGInstances[0].UUID)
		return measured && u.Values[telemetry.Power] > 0 && used(b, "bert-1", w.Scenario.Devices[0].UUID) > 0
	})
	w.eventually("the same in /metrics", func() bool {
		_, there := value(w.metrics(), "foretide_pod_power_watts", "pod", "mig-0")
		return there
	})
	return w
}

// line is one series.
type line struct {
	labels map[string]string
	value  float64
}

func lines(families map[string]*dto.MetricFamily, name string) []line {
	var out []line
	for _, m := range families[name].GetMetric() {
		l := line{map[string]string{}, m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()}
		for _, pair := range m.GetLabel() {
			l.labels[pair.GetName()] = pair.GetValue()
		}
		out = append(out, l)
	}
	return out
}

// by sums lines up by one label.
func by(all []line, label string) map[string]float64 {
	out := map[string]float64{}
	for _, l := range all {
		out[l.labels[label]] += l.value
	}
	return out
}

func dashboard(t *testing.T) {
	s := profile(t, "h100", 2)
	for i := range s.Devices {
		d := &s.Devices[i]
		d.UtilizationGPUPercent, d.MemoryUsedBytes, d.TemperatureCelsius, d.PowerMilliwatts, d.SMClockMHz = 30+i, uint64(i+1)<<30, 40+i, 300_000+1000*i, 1900+i
		d.GPM[5] = float64(20 + i)
	}
	w := newWorld(t, s)
	w.hold(holder("bert-0", "model", "nvidia.com/gpu", s.Devices[0].UUID))
	w.start()
	w.shows(0.2, "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "gpu", "0", "pod", "bert-0")
	w.shows(30, "DCGM_FI_DEV_GPU_UTIL", "gpu", "0", "pod", "bert-0")
	families := w.metrics()
	// The variables: $gpu is label_values(DCGM_FI_DEV_GPU_TEMP, gpu); $instance is a label that Prometheus adds, so no series may have one.
	var gpus []string
	for _, l := range lines(families, "DCGM_FI_DEV_GPU_TEMP") {
		if _, has := l.labels["instance"]; has {
			t.Error("a series has the label instance")
		}
		gpus = append(gpus, l.labels["gpu"])
	}
	slices.Sort(gpus)
	if d := cmp.Diff([]string{"0", "1"}, gpus); d != "" {
		t.Errorf("$gpu (-want +got):\n%s", d)
	}
	for name, want := range map[string]map[string]float64{ // by gpu; two panels more are a mean and a sum of the first two
		"DCGM_FI_DEV_GPU_TEMP":            {"0": 40, "1": 41},
		"DCGM_FI_DEV_POWER_USAGE":         {"0": 300, "1": 301},
		"DCGM_FI_DEV_SM_CLOCK":            {"0": 1900, "1": 1901},
		"DCGM_FI_DEV_GPU_UTIL":            {"0": 30, "1": 31},
		"DCGM_FI_DEV_FB_USED":             {"0": 1024, "1": 2048},
		"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": {"0": 0.2, "1": 0.21},
	} {
		if d := cmp.Diff(want, by(lines(families, name), "gpu"), nearly); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func dcgmLabels(t *testing.T) {
	families := busyNode(t).metrics()
	want := []string{"GPU_I_ID", "GPU_I_PROFILE", "Hostname", "UUID", "container", "device", "gpu", "hostname", "modelName", "namespace", "pci_bus_id", "pod"}
	seen := 0
	for name := range families {
		if !strings.HasPrefix(name, "DCGM_") {
			continue
		}
		for _, l := range lines(families, name) {
			seen++
			if d := cmp.Diff(want, slices.Sorted(maps.Keys(l.labels))); d != "" {
				t.Fatalf("%s (-want +got):\n%s", name, d)
			}
			if l.labels["Hostname"] != "node-1" || l.labels["hostname"] != "node-1" || !strings.HasPrefix(l.labels["UUID"], "GPU-") || l.labels["modelName"] != "NVIDIA H100 80GB HBM3" {
				t.Errorf("%s%v", name, l.labels)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d series", seen)
	}
}

func seriesSumUp(t *testing.T) {
	w := busyNode(t)
	families := w.metrics()
	inMIG := map[string]string{}
	for _, l := range lines(families, "foretide_device_memory_bytes") {
		inMIG[l.labels["uuid"]] = l.labels["parent"]
	}
	for _, row := range telemetry.Catalogue() {
		if !row.Split.Sums() || row.Kind == telemetry.Counter {
			continue
		}
		sum := by(lines(families, row.UnattributedName()), "uuid")
		for _, l := range lines(families, row.UsageName()) {
			uuid := l.labels["uuid"]
			if parent := inMIG[uuid]; parent != "" && row.Split == telemetry.SplitTime {
				uuid = parent
			}
			sum[uuid] += l.value
		}
		device := by(lines(families, row.Name), "uuid")
		if len(device) == 0 {
			t.Errorf("no %s", row.Name)
		}
		for uuid, whole := range device {
			if math.Abs(sum[uuid]-whole) > 1e-6*max(1, whole) {
				t.Errorf("%s of %s is %v; its parts make up %v", row.Name, uuid, whole, sum[uuid])
			}
		}
		if row.DCGM == "" {
			continue
		}
		shown := map[string]float64{}
		for _, l := range lines(families, row.DCGM) {
			shown[l.labels["UUID"]] += l.value / row.DCGMPerUnit
		}
		for _, i := range []int{0, 1} { // lines of MIG instances have the GPU's UUID
			uuid := w.Scenario.Devices[i].UUID
			if whole, measured := device[uuid]; measured && math.Abs(shown[uuid]-whole) > 1e-3*max(1, whole) {
				t.Errorf("%s of %s makes up %v; the device has %v", row.DCGM, uuid, shown[uuid], whole)
			}
		}
	}
}

func openMetrics(t *testing.T) {
	w := busyNode(t)
	status, body, err := w.Get(t.Context(), "/metrics", "application/openmetrics-text; version=1.0.0")
	if err != nil || status != 200 || !strings.HasSuffix(body, "# EOF\n") {
		t.Fatalf("%d %v: it ends in %q", status, err, body[max(0, len(body)-20):])
	}
	units := map[string]string{}
	for text := range strings.Lines(body) {
		if f := strings.Fields(text); len(f) == 4 && f[1] == "UNIT" {
			units[f[2]] = f[3]
		}
	}
	for _, row := range telemetry.Catalogue() {
		for _, name := range []string{row.Name, row.UsageName(), row.UnattributedName()} {
			family := strings.TrimSuffix(name, "_total")
			if name == "" || !strings.Contains(body, "\n"+name+"{") {
				continue
			}
			if units[family] != row.Unit || !strings.HasSuffix(family, row.Unit) {
				t.Errorf("the unit of %s is %q; want %q", family, units[family], row.Unit)
			}
		}
	}
	if units["foretide_agent_nvml_call_duration_seconds"] != "seconds" || units["foretide_pod_energy_joules"] != "joules" {
		t.Errorf("units: %v", units)
	}
}

func linted(t *testing.T) {
	w := busyNode(t, "--web.dcgm-names=false")
	_, body, err := w.Get(t.Context(), "/metrics", "text/plain")
	if err != nil || strings.Contains(body, "DCGM_") {
		t.Fatalf("%v; DCGM's names: %v", err, strings.Contains(body, "DCGM_"))
	}
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", err, problems)
	}
}

// password is "correct horse" as bcrypt has it.
const password = "$2a$10$BVFBsaZ5suQ10vGFHgd1le1Ivk8kP4V1a7VygU0suzapAPUZ9D6Oa"

func guarded(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	certificate, authority, err := node.Certify()
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	w.write("web.crt", authority)
	w.write("web.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	w.write("web.yml", []byte("tls_server_config: {cert_file: web.crt, key_file: web.key}\nbasic_auth_users: {prometheus: "+password+"}\n"))
	w.start("--web.config-file=" + w.Path("web.yml"))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	ask := func(scheme, user, word string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://"+w.MetricsAddress()+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			request.SetBasicAuth(user, word)
		}
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	for _, c := range []struct {
		scheme, user, word string
		status             int
	}{
		{"https", "prometheus", "correct horse", 200}, {"https", "prometheus", "wrong", 401}, {"https", "", "", 401}, {"http", "", "", 400},
	} {
		status, body := ask(c.scheme, c.user, c.word)
		if status != c.status || strings.Contains(body, "foretide_") != (c.status == 200) {
			t.Errorf("%s as %q with %q: %d; want %d", c.scheme, c.user, c.word, status, c.status)
		}
	}
	w.says("/healthz", 200, "ok: ")
	w.says("/readyz", 200, "ok: ")
}

func wrongWebConfig(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	w.write("web.yml", []byte("tls_server_config: {cert_file: nowhere.crt, key_file: nowhere.key}\n"))
	for file, reason := range map[string]string{w.Path("none.yml"): "no such file", w.Path("web.yml"): "nowhere.crt"} {
		out, err := exec.CommandContext(t.Context(), "../../bin/agent", "--node-name=node-1", "--web.config-file="+file).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), "--web.config-file") || !strings.Contains(string(out), reason) {
			t.Errorf("%s: %v %s; want exit code 2 and %q", file, err, fmt.Sprintf("%.300s", out), reason)
		}
	}
}
