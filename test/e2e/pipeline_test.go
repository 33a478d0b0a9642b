//go:build e2e && bench

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/foretide/foretide/test/fakenvml"
)

// The pipeline people use today, each part with its default interval:
//
//	GPUs ─30 s─► page (as dcgm-exporter) ─15 s─► Prometheus ◄─ prometheus-adapter ◄─15 s─ HorizontalPodAutoscaler ─► replicas
const (
	collectEvery = 30 * time.Second // dcgm-exporter, --collect-interval
	scrapeEvery  = 15 * time.Second
	// nodeAddress is one that the API server may send requests for an aggregated API to: loopback is not.
	nodeAddress = "10.250.0.1"
	adapterPort = 16443
)

const prometheusConfig = `
global: {scrape_interval: %s}
scrape_configs:
- job_name: gpus
  honor_labels: true
  static_configs: [{targets: ["%s"]}]
`

const adapterConfig = `
rules:
- seriesQuery: 'DCGM_FI_DEV_GPU_UTIL{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^DCGM_FI_DEV_GPU_UTIL$", as: gpu_utilization}
  metricsQuery: 'avg(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
`

const adapterObjects = `
apiVersion: v1
kind: Service
metadata: {name: prometheus-adapter, namespace: default}
spec: {ports: [{port: 443, targetPort: %[2]d}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: prometheus-adapter, namespace: default, labels: {kubernetes.io/service-name: prometheus-adapter}}
addressType: IPv4
ports: [{name: "", port: %[2]d, protocol: TCP}]
endpoints: [{addresses: ["%[1]s"], conditions: {ready: true}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.custom.metrics.k8s.io}
spec:
  group: custom.metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: prometheus-adapter, namespace: default}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta2.custom.metrics.k8s.io}
spec:
  group: custom.metrics.k8s.io
  version: v1beta2
  groupPriorityMinimum: 100
  versionPriority: 200
  insecureSkipTLSVerify: true
  service: {name: prometheus-adapter, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: custom-metrics-reader}
rules: [{apiGroups: [custom.metrics.k8s.io], resources: ["*"], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: custom-metrics-reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: custom-metrics-reader}
subjects:
- {kind: ServiceAccount, namespace: kube-system, name: horizontal-pod-autoscaler}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: "system:kube-controller-manager"}
`

const hpaObject = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: %[1]s, namespace: default}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %[1]s}
  minReplicas: 1
  maxReplicas: 4
  metrics:
  - type: Pods
    pods: {metric: {name: gpu_utilization}, target: {type: AverageValue, averageValue: "20"}}
  behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
`

// startPipeline runs all of it for a Deployment until the test ends, and returns once the autoscaler has a number.
func startPipeline(t *testing.T, app string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	prometheus := freeAddress(t)
	config := write("prometheus.yml", fmt.Sprintf(prometheusConfig, scrapeEvery, servePage(t, app)))
	start(t, dir, "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "tsdb"), "--web.listen-address="+prometheus)
	kubeconfig := os.Getenv("KUBECONFIG")
	start(t, dir, os.Getenv("PROMETHEUS_ADAPTER"), "--prometheus-url=http://"+prometheus, "--config="+write("adapter.yml", adapterConfig),
		"--metrics-relist-interval=1m", "--cert-dir="+dir, "--bind-address="+nodeAddress, fmt.Sprint("--secure-port=", adapterPort),
		"--lister-kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig)
	apply(t, fmt.Sprintf(adapterObjects, nodeAddress, adapterPort))
	apply(t, fmt.Sprintf(hpaObject, app))
	t.Cleanup(func() {
		kubectl(t, "delete", "hpa/"+app, "apiservice/v1beta1.custom.metrics.k8s.io", "apiservice/v1beta2.custom.metrics.k8s.io", "--ignore-not-found")
		kubectl(t, "delete", "service/prometheus-adapter", "endpointslice/prometheus-adapter", "clusterrole/custom-metrics-reader",
			"clusterrolebinding/custom-metrics-reader", "--ignore-not-found")
	})
	eventually(t, "the HorizontalPodAutoscaler has a number", 4*time.Minute, func() (bool, string) {
		out, err := run("", "kubectl", "get", "hpa", app, "-o", "jsonpath={.status.currentMetrics[0].pods.current.averageValue} {.status.conditions[*].message}")
		if err != nil {
			return false, err.Error()
		}
		return out != "" && out[0] != ' ', out + "\n" + logs(dir)
	})
	say(t, "Prometheus, prometheus-adapter and the HorizontalPodAutoscaler work together on %s.", app)
}

// servePage is the page of GPUs: the utilization that each pod's device has at the moment of a collection, until the next.
func servePage(t *testing.T, app string) (address string) {
	t.Helper()
	var page atomic.Pointer[string]
	collect := func() {
		held, err := playing().driver.DevicesByPod(background)
		if err != nil {
			return
		}
		scenario, err := fakenvml.Read(scenarioPath)
		if err != nil {
			return
		}
		var text strings.Builder
		fmt.Fprintln(&text, "# TYPE DCGM_FI_DEV_GPU_UTIL gauge")
		for name, devices := range held {
			namespace, pod, _ := strings.Cut(name, "/")
			for _, device := range scenario.Devices {
				if strings.HasPrefix(pod, app+"-") && slices.Contains(devices, device.UUID) {
					fmt.Fprintf(&text, "DCGM_FI_DEV_GPU_UTIL{UUID=%q,namespace=%q,pod=%q} %d\n", device.UUID, namespace, pod, device.UtilizationGPUPercent)
				}
			}
		}
		said := text.String()
		page.Store(&said)
	}
	collect()
	ticker := time.NewTicker(collectEvery)
	t.Cleanup(ticker.Stop)
	go func() {
		for range ticker.C {
			collect()
		}
	}()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		if text := page.Load(); text != nil {
			fmt.Fprint(w, *text)
		}
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

// start runs a program until the test ends; what it says is in a file of dir.
func start(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	if program == "" {
		t.Fatal("$PROMETHEUS_ADAPTER is empty: it must be the path of the adapter (make bench-reaction sets it)")
	}
	out, err := os.Create(filepath.Join(dir, filepath.Base(program)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when the test is killed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = out.Close()
	})
}

// logs are the ends of what the programs said.
func logs(dir string) string {
	var all strings.Builder
	files, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		fmt.Fprintf(&all, "--- %s\n%s\n", filepath.Base(file), tail(string(text), 1500))
	}
	return all.String()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
