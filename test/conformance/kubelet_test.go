//go:build conformance

package conformance

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/foretide/foretide/test/fakenvml"
)

// onTheKubelet are the cases on a real kubelet: real pods, real cgroups, device plugin and DRA driver, the agent's DaemonSet. They look at
// one scene, which the first of them sets up.
func onTheKubelet() []kase {
	row := func(name string, check func(t *testing.T, s *clusterScene)) kase {
		return kase{"attribution", name, kubelet, func(t *testing.T) { check(t, theScene(t)) }}
	}
	return []kase{
		row("exclusive GPU of nvidia.com/gpu", func(t *testing.T, s *clusterScene) { s.expect(t, "whole", s.uuid(0), 0.40, "exclusive") }),
		row("MIG instance of nvidia.com/gpu, single strategy", func(t *testing.T, s *clusterScene) { s.expect(t, "single", s.part(3), 0.60, "mig") }),
		row("MIG instance of nvidia.com/mig-1g.10gb, mixed strategy", func(t *testing.T, s *clusterScene) { s.expect(t, "mixed", s.part(4), 0.70, "mig") }),
		row("pods that share a GPU of nvidia.com/gpu.shared have what their processes used", func(t *testing.T, s *clusterScene) {
			s.expect(t, "shared-a", s.uuid(2), 0.30, "process")
			s.expect(t, "shared-b", s.uuid(2), 0.10, "process")
		}),
		row("pod that shares a GPU and does nothing is there with 0", func(t *testing.T, s *clusterScene) { s.expect(t, "shared-idle", s.uuid(2), 0, "process") }),
		row("process of no pod on a shared GPU is unattributed", func(t *testing.T, s *clusterScene) {
			s.eventually(t, "0.10 of GPU 2 unattributed", func(m families) bool {
				v, ok := value(m, "foretide_unattributed_utilization_ratio", "uuid", s.uuid(2))
				return ok && near(v, 0.10)
			})
		}),
		row("GPU claimed through DRA", func(t *testing.T, s *clusterScene) { s.expect(t, "claim", s.uuid(6), 0.55, "exclusive") }),
		row("static MIG instance claimed through DRA", func(t *testing.T, s *clusterScene) { s.expect(t, "claim-mig", s.part(5), 0.65, "mig") }),
		row("dynamic MIG instance claimed through DRA", func(t *testing.T, s *clusterScene) { s.expect(t, "claim-dynamic", s.part(7), 0.75, "mig") }),
		row("HAMi's annotation stands over the kubelet's device", func(t *testing.T, s *clusterScene) { s.expect(t, "hami", s.uuid(1), 0.20, "exclusive") }),
		row("pod's UID and controller from the Pods API", func(t *testing.T, s *clusterScene) {
			s.eventually(t, "the Deployment's pod with its ReplicaSet", func(m families) bool {
				for _, pod := range m["foretide_pod_info"].GetMetric() {
					labels := map[string]string{}
					for _, l := range pod.GetLabel() {
						labels[l.GetName()] = l.GetValue()
					}
					if strings.HasPrefix(labels["pod"], "shared-idle-") && labels["controller_kind"] == "ReplicaSet" && labels["uid"] != "" {
						return true
					}
				}
				return false
			})
		}),
	}
}

type families = map[string]*dto.MetricFamily

const clusterDir = "/var/lib/foretide-cluster"

// clusterScene is the cluster with a pod for each way to be given a GPU, and known load on each.
type clusterScene struct {
	scenario fakenvml.Scenario
	err      error
}

var theOnlyScene struct {
	once sync.Once
	clusterScene
}

func theScene(t *testing.T) *clusterScene {
	t.Helper()
	s := &theOnlyScene
	s.once.Do(func() { s.err = s.setUp() })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return &s.clusterScene
}

func (s *clusterScene) uuid(gpu int) string { return s.scenario.Devices[gpu].UUID }

// part is the first MIG instance of a GPU.
func (s *clusterScene) part(gpu int) string { return s.scenario.Devices[gpu].MIGInstances[0].UUID }

// offers is what device plugin and DRA driver hand out: GPUs 0 and 1 whole, 2 to four at a time, an instance of 3, those of 4, and 5 to 7
// through DRA.
const offers = `nvidia.com/gpu=whole 0
nvidia.com/gpu=mig 3.0
nvidia.com/gpu.shared=whole 2 replicas=4
nvidia.com/mig-1g.10gb=mig 4.0
gpu.nvidia.com=dra 6
gpu.nvidia.com=dra-mig 5.0
gpu.nvidia.com=dra-dynamic-mig 7.0
`

func (s *clusterScene) setUp() error {
	var err error
	if s.scenario, err = fakenvml.Profile("h100", 8); err != nil {
		return err
	}
	for _, gpu := range []int{3, 4, 5, 7} {
		if s.scenario.Devices[gpu], err = fakenvml.WithMIG(s.scenario.Devices[gpu], "1g.10gb", "1g.10gb"); err != nil {
			return err
		}
	}
	if err := s.play(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(clusterDir, "gpu", "offer.ini"), []byte(offers), 0o644); err != nil {
		return err
	}
	if _, err := kubectl("", "apply", "-k", "../../deploy/overlays/test-cluster"); err != nil {
		return err
	}
	if _, err := kubectl("", "-n", "foretide-system", "rollout", "status", "daemonset/foretide-agent", "--timeout=180s"); err != nil {
		return err
	}
	if _, err := kubectl(s.manifests(), "apply", "-f", "-"); err != nil {
		return err
	}
	if _, err := kubectl("", "-n", "conformance", "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s"); err != nil {
		state, _ := kubectl("", "-n", "conformance", "describe", "pods")
		return fmt.Errorf("%w\n%s", err, state)
	}
	return s.load()
}

func (s *clusterScene) play() error {
	return s.scenario.Write(filepath.Join(clusterDir, "gpu", fakenvml.ScenarioName))
}

// load puts known load on each device, by the processes of the pods where they share one.
func (s *clusterScene) load() error {
	for gpu, percent := range map[int]int{0: 40, 1: 20, 2: 50, 6: 55} {
		s.scenario.Devices[gpu].UtilizationGPUPercent = percent
	}
	for gpu, percent := range map[int]float64{3: 60, 4: 70, 5: 65, 7: 75} {
		s.scenario.Devices[gpu].MIGInstances[0].GPM = map[int]float64{1: percent, 2: percent}
	}
	for pod, share := range map[string]int{"shared-a": 30, "shared-b": 10} {
		pid, err := processOf(pod)
		if err != nil {
			return err
		}
		s.scenario.Devices[2].Processes = append(s.scenario.Devices[2].Processes, fakenvml.Process{PID: pid, SMPercent: share, UsedBytes: 1 << 30})
	}
	// This test is a process of no pod.
	s.scenario.Devices[2].Processes = append(s.scenario.Devices[2].Processes, fakenvml.Process{PID: os.Getpid(), SMPercent: 10, UsedBytes: 1 << 20})
	return s.play()
}

// processOf finds the process of a pod's container by its cgroup.
func processOf(pod string) (int, error) {
	uid, err := kubectl("", "-n", "conformance", "get", "pod", pod, "-o", "jsonpath={.metadata.uid}")
	if err != nil {
		return 0, err
	}
	id, err := kubectl("", "-n", "conformance", "get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].containerID}")
	if err != nil {
		return 0, err
	}
	_, id, _ = strings.Cut(id, "://")
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil && bytes.Contains(text, []byte(id)) {
			return strconv.Atoi(filepath.Base(filepath.Dir(f)))
		}
	}
	return 0, fmt.Errorf("pod %s (%s) has no process of container %s", pod, uid, id)
}

func (s *clusterScene) manifests() string {
	var b strings.Builder
	fmt.Fprintln(&b, "{apiVersion: v1, kind: Namespace, metadata: {name: conformance}}")
	container := func(resources string) string {
		return fmt.Sprintf("[{name: main, image: 'localhost/foretide/idle:1', imagePullPolicy: Never, resources: %s}]", resources)
	}
	pod := func(name, annotations, resources, claims string) {
		fmt.Fprintf(&b, "---\n{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: conformance, annotations: %s}, spec: {terminationGracePeriodSeconds: 0, containers: %s, resourceClaims: %s}}\n",
			name, cmp.Or(annotations, "{}"), container(resources), cmp.Or(claims, "[]"))
	}
	limit := func(resource string) string { return fmt.Sprintf("{limits: {%s: 1}}", resource) }
	pod("whole", "", limit("nvidia.com/gpu"), "")
	pod("single", "", limit("nvidia.com/gpu"), "")
	pod("mixed", "", limit("nvidia.com/mig-1g.10gb"), "")
	pod("shared-a", "", limit("nvidia.com/gpu.shared"), "")
	pod("shared-b", "", limit("nvidia.com/gpu.shared"), "")
	pod("hami", fmt.Sprintf("{hami.io/vgpu-devices-allocated: '%s,NVIDIA,3000,30:;'}", s.uuid(1)), limit("nvidia.com/gpu.shared"), "")
	fmt.Fprintf(&b, "---\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: shared-idle, namespace: conformance}, spec: {selector: {matchLabels: {app: idle}}, "+
		"template: {metadata: {labels: {app: idle}}, spec: {terminationGracePeriodSeconds: 0, containers: %s}}}}\n", container(limit("nvidia.com/gpu.shared")))
	claim := func(name, class, parent string) {
		selector := ""
		if parent != "" {
			selector = fmt.Sprintf(", selectors: [{cel: {expression: \"device.attributes['gpu.nvidia.com'].parentUUID == '%s'\"}}]", parent)
		}
		fmt.Fprintf(&b, "---\n{apiVersion: resource.k8s.io/v1, kind: ResourceClaimTemplate, metadata: {name: %s, namespace: conformance}, "+
			"spec: {spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: %s%s}}]}}}}\n", name, class, selector)
		pod(name, "", "{claims: [{name: gpu}]}", fmt.Sprintf("[{name: gpu, resourceClaimTemplateName: %s}]", name))
	}
	claim("claim", "gpu.nvidia.com", "")
	claim("claim-mig", "mig.nvidia.com", s.uuid(5))
	claim("claim-dynamic", "mig.nvidia.com", s.uuid(7))
	return b.String()
}

// expect waits until the pod, or one of that Deployment, has the utilization on the device, attributed in that way.
func (s *clusterScene) expect(t *testing.T, pod, uuid string, utilization float64, how string) {
	t.Helper()
	s.eventually(t, fmt.Sprintf("%s with %.2f of %s, %s", pod, utilization, uuid, how), func(m families) bool {
		if pod == "whole" || pod == "single" { // which of the two has the GPU is the kubelet's choice
			pod = cmp.Or(podOn(m, uuid), pod)
		}
		if pod == "shared-idle" {
			pod = cmp.Or(podNamed(m, "shared-idle-"), pod)
		}
		v, ok := value(m, "foretide_pod_utilization_ratio", "namespace", "conformance", "pod", pod, "uuid", uuid)
		_, said := value(m, "foretide_pod_attribution_info", "namespace", "conformance", "pod", pod, "uuid", uuid, "attribution", how)
		return ok && said && near(v, utilization)
	})
}

func podOn(m families, uuid string) string {
	return find(m, func(labels map[string]string) bool { return labels["uuid"] == uuid })
}

func podNamed(m families, prefix string) string {
	return find(m, func(labels map[string]string) bool { return strings.HasPrefix(labels["pod"], prefix) })
}

func find(m families, matches func(map[string]string) bool) string {
	for _, series := range m["foretide_pod_utilization_ratio"].GetMetric() {
		labels := map[string]string{}
		for _, l := range series.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if matches(labels) {
			return labels["pod"]
		}
	}
	return ""
}

// eventually asks the agent's /metrics through the API server until the condition holds.
func (s *clusterScene) eventually(t *testing.T, what string, holds func(families) bool) {
	t.Helper()
	body := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		agent, err := kubectl("", "-n", "foretide-system", "get", "pod", "-l", "app.kubernetes.io/name=foretide-agent", "-o", "jsonpath={.items[0].metadata.name}")
		if err != nil {
			continue
		}
		if body, err = kubectl("", "get", "--raw", "/api/v1/namespaces/foretide-system/pods/"+agent+":9400/proxy/metrics"); err != nil {
			continue
		}
		parser := expfmt.NewTextParser(model.LegacyValidation)
		if m, err := parser.TextToMetricFamilies(strings.NewReader(body)); err == nil && holds(m) {
			return
		}
	}
	var about []string
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "foretide_pod_utilization_ratio") || strings.HasPrefix(line, "foretide_pod_attribution") || strings.HasPrefix(line, "foretide_unattributed_utilization") {
			about = append(about, line)
		}
	}
	log, _ := kubectl("", "-n", "foretide-system", "logs", "-l", "app.kubernetes.io/name=foretide-agent", "--tail=30")
	t.Fatalf("never: %s\n%s\n%s", what, strings.Join(about, ""), log)
}

func kubectl(stdin string, args ...string) (string, error) {
	cmd := exec.Command("kubectl", args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, errOut.String())
	}
	return out.String(), nil
}
