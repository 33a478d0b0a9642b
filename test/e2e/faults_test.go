//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// loaded puts a workload under steady load in auto and waits until three pods serve it.
func loaded(t *testing.T, name string) {
	t.Helper()
	apply(t, deployment(name))
	kubectl(t, "rollout", "status", "deployment/"+name, "--timeout=120s")
	drive(t, name, func(time.Time) float64 { return 0.58 })
	apply(t, ahpa(name, name, "auto", 15, 60))
	t.Cleanup(func() {
		kubectl(t, "delete", "ahpa/"+name, "deployment/"+name, "--ignore-not-found", "--wait")
	})
	seen(t, name, "three pods serve the load", 90*time.Second, func(p policy) bool {
		return p.Status.CurrentReplicas == 3 && p.current() > 0 && p.current() < 25
	})
}

func holds(t *testing.T, name string, during time.Duration) {
	t.Helper()
	always(t, "replicas of "+name+" stay at 3", during, func() (bool, string) {
		n := replicas(name)
		return n == 3, fmt.Sprint(n)
	})
}

func TestLibraryAndScenarioRemovedHoldsAndSaysSo(t *testing.T) {
	loaded(t, "no-library")
	agent := agentPod(t)
	for _, path := range []string{scenarioPath, libraryPath} {
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
	}
	restore := func() {
		for _, path := range []string{libraryPath, scenarioPath} {
			if _, err := os.Stat(path + ".away"); err == nil {
				if err := os.Rename(path+".away", path); err != nil {
					t.Error(err)
				}
			}
		}
	}
	t.Cleanup(restore)
	say(t, "The driver library and its devices are gone under the running agent.")
	p, _ := seen(t, "no-library", "DataFresh is False", 90*time.Second, func(p policy) bool {
		status, _, _ := p.condition("DataFresh")
		return status == "False"
	})
	_, reason, message := p.condition("DataFresh")
	say(t, "DataFresh=False %s: %s", reason, message)
	holds(t, "no-library", 20*time.Second)

	kubectl(t, "-n", "foretide-system", "delete", "pod", agent, "--wait")
	eventually(t, "a new agent without a library runs and says so", 60*time.Second, func() (bool, string) {
		pod := agentPod(t)
		up, ok := sample(agentMetrics(t, pod), "foretide_agent_nvml_up")
		return ok && up == 0 && pod != agent, fmt.Sprint(pod, up, ok)
	})
	log := kubectl(t, "-n", "foretide-system", "logs", agentPod(t))
	if !strings.Contains(strings.ToLower(log), "librar") {
		t.Errorf("agent's log does not name the library:\n%s", log)
	}
	holds(t, "no-library", 15*time.Second)

	restore()
	seen(t, "no-library", "fresh again once the library is back", 90*time.Second, func(p policy) bool {
		status, _, _ := p.condition("DataFresh")
		return status == "True" && p.Status.CurrentReplicas == 3
	})
}

func TestKubeletStoppedHoldsAndSaysSo(t *testing.T) {
	loaded(t, "no-kubelet")
	agent := agentPod(t)
	say(t, "The kubelet is stopped.")
	cluster(t, "stop", "--dir", clusterDir, "kubelet")
	t.Cleanup(func() { cluster(t, "start", "--dir", clusterDir, "kubelet") })
	p, _ := seen(t, "no-kubelet", "DataFresh is False", 90*time.Second, func(p policy) bool {
		status, _, _ := p.condition("DataFresh")
		return status == "False"
	})
	_, reason, message := p.condition("DataFresh")
	say(t, "DataFresh=False %s: %s", reason, message)
	if up, ok := sample(agentMetrics(t, agent), "foretide_agent_kubelet_up"); !ok || up != 0 {
		t.Errorf("foretide_agent_kubelet_up = %v, %v; want 0", up, ok)
	}
	holds(t, "no-kubelet", 60*time.Second)
	cluster(t, "start", "--dir", clusterDir, "kubelet")
	seen(t, "no-kubelet", "fresh again once the kubelet is back", 120*time.Second, func(p policy) bool {
		status, _, _ := p.condition("DataFresh")
		return status == "True" && p.Status.CurrentReplicas == 3
	})
}
