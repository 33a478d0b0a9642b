//go:build engines

package engines

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/foretide/foretide/aggregator/app"
	"github.com/foretide/foretide/aggregator/storage"
)

// exposition is what dcgm-exporter and kube-state-metrics told for some hours: two pods of a Deployment, one of a StatefulSet,
// and a GPU that nobody holds, which Prometheus gives to the exporter's own pod. Every sample is a line with a time in the given
// unit of a second.
func exposition(begin time.Time, hours int, unit time.Duration) string {
	var out strings.Builder
	line := func(series string, value float64, at time.Time) {
		fmt.Fprintf(&out, "%s %v %v\n", series, value, at.UnixNano()/int64(unit))
	}
	each := func(kind string, series func(at func(string, float64))) {
		if unit == time.Second {
			fmt.Fprintf(&out, "# TYPE %s gauge\n", kind)
		}
		byTime := map[string][]float64{}
		var names []string
		series(func(name string, value float64) {
			if byTime[name] == nil {
				names = append(names, name)
			}
			byTime[name] = append(byTime[name], value)
		})
		for _, name := range names {
			for i, v := range byTime[name] {
				line(name, v, begin.Add(time.Duration(i)*30*time.Second))
			}
		}
	}
	steps := hours * 120
	const util = `DCGM_FI_DEV_GPU_UTIL{namespace="gpu-operator",pod="dcgm-exporter-1",`
	each("DCGM_FI_DEV_GPU_UTIL", func(at func(string, float64)) {
		for i := range steps {
			at(util+`gpu="0",exported_namespace="default",exported_pod="web-1"}`, float64(i%100))
			at(util+`gpu="1",exported_namespace="default",exported_pod="web-2"}`, 50)
			at(util+`gpu="2",exported_namespace="default",exported_pod="db-0"}`, 25)
			at(util+`gpu="3"}`, 99)
		}
	})
	constant := func(kind string, series ...string) {
		each(kind, func(at func(string, float64)) {
			for range steps {
				for _, s := range series {
					at(kind+s, 1)
				}
			}
		})
	}
	constant("kube_pod_owner",
		`{namespace="default",pod="web-1",owner_kind="ReplicaSet",owner_name="web-7d9f"}`,
		`{namespace="default",pod="web-2",owner_kind="ReplicaSet",owner_name="web-7d9f"}`,
		`{namespace="default",pod="db-0",owner_kind="StatefulSet",owner_name="db"}`,
		`{namespace="gpu-operator",pod="dcgm-exporter-1",owner_kind="DaemonSet",owner_name="dcgm-exporter"}`)
	constant("kube_replicaset_owner", `{namespace="default",replicaset="web-7d9f",owner_kind="Deployment",owner_name="web"}`)
	return out.String()
}

// fill puts an exposition into an engine that starts with it, or takes it afterwards.
func fill(t *testing.T, start func(port, dir string) process, begin time.Time, hours int) process {
	t.Helper()
	dir := t.TempDir()
	if strings.Contains(t.Name(), "prometheus") {
		file := filepath.Join(t.TempDir(), "metrics.txt")
		if err := os.WriteFile(file, []byte(exposition(begin, hours, time.Second)+"# EOF\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("promtool", "tsdb", "create-blocks-from", "openmetrics", file, dir).CombinedOutput(); err != nil {
			t.Fatalf("promtool: %v\n%s", err, out)
		}
		return start(freePort(t), dir)
	}
	p := start(freePort(t), dir)
	answer, err := http.Post(p.url+"/api/v1/import/prometheus", "text/plain", strings.NewReader(exposition(begin, hours, time.Millisecond)))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		t.Fatal(answer.Status)
	}
	return p
}

func TestTheHistoryOfDCGMAndKubeStateMetricsIsImported(t *testing.T) {
	onEach(t, func(t *testing.T, start func(port, dir string) process) {
		const hours = 30
		begin := time.Now().Add(-(hours + 1) * time.Hour).Truncate(time.Minute)
		p := fill(t, start, begin, hours)
		eventually(t, "the last sample is found", func() (bool, string) {
			_, n := samples(t, p.url, "kube_replicaset_owner", begin.Add(hours*time.Hour))
			return n >= 39, fmt.Sprint(n)
		})
		dir := t.TempDir()
		var out bytes.Buffer
		if err := app.ImportPrometheus(t.Context(), []string{"--storage.path=" + dir, "--prometheus.url=" + p.url, "--since=48h"}, &out); err != nil {
			t.Fatal(err)
		}
		t.Log(out.String())
		store, err := storage.Open(storage.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = store.Close() }()
		from := begin.Add(time.Minute)
		expect := func(kind, name string, wants ...func(i int) float64) {
			t.Helper()
			w := storage.Workload{Namespace: "default", Kind: kind, Name: name}
			got, err := store.Demand(t.Context(), w, from, begin.Add((hours*60-2)*time.Minute), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range got {
				if !slices.ContainsFunc(wants, func(want func(i int) float64) bool { return math.Abs(v-want(i)) < 1e-9 }) {
					t.Fatalf("%s %s in minute %d: %v busy GPUs, want %v", kind, name, i, v, wants[0](i))
				}
			}
		}
		// Minute i ends with this sample.
		at := func(i int) int { return 2 * (i + 2) }
		value := func(k int) float64 { return float64(k%100) / 100 }
		expect("Deployment", "web",
			func(i int) float64 { return 0.5 + (value(at(i))+value(at(i)-1))/2 },
			// Prometheus before 3.0 takes the sample at either edge of the minute.
			func(i int) float64 { return 0.5 + (value(at(i))+value(at(i)-1)+value(at(i)-2))/3 })
		expect("StatefulSet", "db", func(int) float64 { return 0.25 })
		if contents, err := storage.Inspect(t.Context(), dir, "foretide_workload_demand_gpus"); err != nil || contents[0].Series != 2 {
			t.Errorf("the history has %+v, %v; want two workloads and not the exporter", contents, err)
		}
	})
}
