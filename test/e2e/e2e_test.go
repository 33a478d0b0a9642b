//go:build e2e

// Package e2e walks the product through its main job on a real cluster: real kubelet, real containers, real API server; only
// the GPU's library is scripted. It needs KUBECONFIG, kubectl on the PATH, and root on the node: see `make e2e`.
package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clusterDir is where `make cluster-up` keeps its state.
const clusterDir = "/var/lib/foretide-cluster"

const (
	scenarioPath = clusterDir + "/gpu/scenario.ini"
	libraryPath  = clusterDir + "/gpu/libnvidia-ml.so.1"
	storePath    = clusterDir + "/pv/foretide"
	kubeletSock  = clusterDir + "/kubelet/pod-resources/kubelet.sock"
	repository   = "../.."
)

// Recorded load: series c5 of test/replay/servegen_small.csv, in which 1,000 requests/s stand for 1.3 busy GPUs.
const (
	traceFile   = repository + "/test/replay/servegen_small.csv"
	traceSeries = "c5"
	gpusPerUnit = 0.0013
)

func at(s string) time.Time {
	t, err := time.Parse(time.DateTime, s)
	if err != nil {
		panic(err)
	}
	return t
}

// Stretches of the recording: the depth of a night, the evening's rise and its peak, and the fall to the next night.
var (
	quiet     = at("2025-01-19 03:50:00")
	riseBegin = at("2025-01-19 18:20:00")
	risePeak  = at("2025-01-19 21:20:00")
	fallEnd   = at("2025-01-20 03:50:00")
	beforePM  = at("2025-01-20 18:40:00")
)

func TestMain(m *testing.M) {
	if err := install(); err != nil {
		fmt.Fprintln(os.Stderr, "install:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// say tells the walkthrough's story with the time since the test began.
func say(t *testing.T, format string, args ...any) {
	t.Helper()
	fmt.Printf("%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

func run(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String(), nil
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := run("", "kubectl", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func apply(t *testing.T, manifest string) {
	t.Helper()
	cmd := exec.Command("kubectl", "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(manifest)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("apply: %v\n%s\n%s", err, out, manifest)
	}
}

// cluster runs the test cluster's own command, such as stop kubelet.
func cluster(t *testing.T, args ...string) {
	t.Helper()
	if out, err := run(repository+"/test/cluster", "go", append([]string{"run", "."}, args...)...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// eventually polls until ok, and fails with the last state seen.
func eventually(t *testing.T, what string, within time.Duration, ok func() (bool, string)) time.Duration {
	t.Helper()
	begin := time.Now()
	state := ""
	for time.Since(begin) < within {
		var done bool
		if done, state = ok(); done {
			return time.Since(begin)
		}
		time.Sleep(250 * time.Millisecond)
	}
	diagnose()
	t.Fatalf("not within %v: %s; last seen: %s", within, what, state)
	return 0
}

// always polls for the whole time, and fails when ok ever does.
func always(t *testing.T, what string, during time.Duration, ok func() (bool, string)) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < during; time.Sleep(250 * time.Millisecond) {
		if done, state := ok(); !done {
			diagnose()
			t.Fatalf("after %v no longer: %s; seen: %s", time.Since(begin).Round(time.Second), what, state)
		}
	}
}

// diagnose prints what a person would look at.
func diagnose() {
	for _, args := range [][]string{
		{"get", "pods", "-A", "-o", "wide"},
		{"get", "ahpa", "-A", "-o", "yaml"},
		{"-n", "foretide-system", "logs", "-l", "app.kubernetes.io/name=foretide-aggregator", "--prefix", "--tail=40"},
		{"-n", "foretide-system", "logs", "daemonset/foretide-agent", "--tail=40"},
		{"get", "events", "-A", "--sort-by=.lastTimestamp"},
	} {
		out, err := run("", "kubectl", args...)
		if err != nil {
			out = err.Error()
		}
		fmt.Printf("--- kubectl %s\n%s\n", strings.Join(args, " "), tail(out, 6000))
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// agentMetrics reads /metrics of an agent through the API server's proxy.
func agentMetrics(t *testing.T, pod string) string {
	t.Helper()
	out, err := run("", "kubectl", "get", "--raw", "/api/v1/namespaces/foretide-system/pods/"+pod+":9400/proxy/metrics")
	if err != nil {
		return ""
	}
	return out
}

// sample returns the value of the first sample that begins with prefix.
func sample(exposition, prefix string) (float64, bool) {
	for line := range strings.Lines(exposition) {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			fields := strings.Fields(rest)
			var v float64
			if len(fields) > 0 {
				if _, err := fmt.Sscan(fields[len(fields)-1], &v); err == nil {
					return v, true
				}
			}
		}
	}
	return 0, false
}

func agentPod(t *testing.T) string {
	t.Helper()
	out, err := run("", "kubectl", "-n", "foretide-system", "get", "pods", "-l", "app.kubernetes.io/name=foretide-agent",
		"--field-selector=status.phase=Running", "-o", "jsonpath={.items[0].metadata.name}")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

func abs(path string) string {
	p, err := filepath.Abs(path)
	if err != nil {
		panic(err)
	}
	return p
}

var background = context.Background()
