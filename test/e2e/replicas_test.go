//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// twoReplicas is the installation with deploy/components/replicas.
const twoReplicas = "testdata/replicas"

// TestTheOtherReplicaGoesOnFromTheSameHistory goes from one aggregator to two, has the one that decides die without a word while the
// forecast holds more replicas than the load asks for, and has it come back.
func TestTheOtherReplicaGoesOnFromTheSameHistory(t *testing.T) {
	apply(t, deployment("tide"))
	t.Cleanup(func() { kubectl(t, "delete", "ahpa/tide", "deployment/tide", "--ignore-not-found", "--wait") })
	kubectl(t, "rollout", "status", "deployment/tide", "--timeout=120s")
	var tenths atomic.Int64
	tenths.Store(5)
	drive(t, "tide", func(time.Time) float64 { return float64(tenths.Load()) / 10 })
	reader := asReader(t, trusting(t))
	replicate(t, reader)
	since := time.Now()

	apply(t, ahpa("tide", "tide", "auto", 15, 3600))
	p, _ := seen(t, "tide", "more replicas than the load asks for, by the forecast", 120*time.Second, func(p policy) bool {
		s := p.Status
		return s.ProactiveReplicas != nil && s.ReactiveReplicas != nil && *s.ProactiveReplicas > *s.ReactiveReplicas &&
			s.CurrentReplicas == *s.ProactiveReplicas && s.DesiredReplicas == s.CurrentReplicas && p.current() > 0 && p.current() < 20
	})
	before := p.Status.CurrentReplicas
	first := leader(t)
	second := map[string]string{"foretide-aggregator-0": "foretide-aggregator-1", "foretide-aggregator-1": "foretide-aggregator-0"}[first]
	say(t, "%s decides on %d replicas. %s", first, before, p.Status.Decision.Message)
	alike(t, reader, append(fortnight(), telemetry(since)...), first, second)
	if desired, _, decides := decides(t, reader, second); decides {
		t.Fatalf("%s does not hold the Lease and decides on %v replicas", second, desired)
	}

	replicasSet, replicasSaid := watch(t, "deployment/tide", "{.spec.replicas}"), watch(t, "ahpa/tide", "{.status.desiredReplicas}")
	kill(t, first)
	took := eventually(t, second+" decides the same", 120*time.Second, func() (bool, string) {
		desired, proactive, ok := decides(t, reader, second)
		return ok && desired == proactive && desired >= float64(before), fmt.Sprintf("%v, by the forecast %v, %v", desired, proactive, ok)
	})
	say(t, "%s was killed; %s decides the same %.0f s later.", first, second, took.Seconds())
	always(t, "no fewer replicas, for longer than the stabilization window", 20*time.Second, func() (bool, string) {
		n := replicas("tide")
		return n >= int(before), fmt.Sprint(n)
	})
	tenths.Store(18)
	_, took = seen(t, "tide", "eight pods serve what the load has become", 90*time.Second, func(p policy) bool {
		return p.Status.CurrentReplicas == 8 && p.Status.DesiredReplicas == 8 && p.current() > 0 && p.current() < 25
	})
	say(t, "The load went from 0.5 to 1.8 GPUs; eight pods serve it after %.0f s.", took.Seconds())

	kubectl(t, "apply", "-k", twoReplicas)
	kubectl(t, "-n", "foretide-system", "rollout", "status", "statefulset/foretide-aggregator", "--timeout=180s")
	took = alike(t, reader, telemetry(since), first, second)
	say(t, "%s is back, and has what it missed %.0f s after it was ready.", first, took.Seconds())
	always(t, second+" alone decides, on eight replicas", 15*time.Second, func() (bool, string) {
		_, _, both := decides(t, reader, first)
		n, holder := replicas("tide"), leader(t)
		return n == 8 && holder == second && !both, fmt.Sprintf("%d replicas, the Lease is with %s, %s decides: %v", n, holder, first, both)
	})
	neverDown(t, "spec.replicas of the target", replicasSet())
	neverDown(t, "status.desiredReplicas of the policy", replicasSaid())
}

// replicate installs two aggregators beside the one there is, and removes that one when they have read its history. The one is back
// when the test ends.
func replicate(t *testing.T, reader http.RoundTripper) {
	t.Helper()
	t.Cleanup(func() { single(t) })
	for _, dir := range volumesOfReplicas() {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o777); err != nil { // a hostPath volume does not follow fsGroup
			t.Fatal(err)
		}
	}
	kubectl(t, "apply", "-k", twoReplicas)
	kubectl(t, "-n", "foretide-system", "rollout", "status", "statefulset/foretide-aggregator", "--timeout=180s")
	took := alike(t, reader, fortnight(), aggregatorPods(t)...)
	say(t, "Two more aggregators have the fortnight of the first, %.0f s after they were ready.", took.Seconds())
	kubectl(t, "-n", "foretide-system", "delete", "deployment/foretide-aggregator", "--wait")
	took = eventually(t, "a replica holds the Lease", 90*time.Second, func() (bool, string) {
		name := leader(t)
		return name == "foretide-aggregator-0" || name == "foretide-aggregator-1", name
	})
	say(t, "The first was removed; %s holds the Lease %.0f s later.", leader(t), took.Seconds())
	for _, pod := range []string{"foretide-aggregator-0", "foretide-aggregator-1"} {
		eventually(t, pod+" hears of the node", 60*time.Second, func() (bool, string) {
			_, metrics := get(t, reader, webOf(t, pod)+"/metrics")
			at, ok := sample(metrics, `foretide_node_last_batch_timestamp_seconds{node="foretide-node"}`)
			return ok, fmt.Sprint(at)
		})
	}
	eventually(t, "one of the two may be evicted", 30*time.Second, func() (bool, string) {
		allowed := kubectl(t, "-n", "foretide-system", "get", "poddisruptionbudget/foretide-aggregator", "-o", "jsonpath={.status.disruptionsAllowed}")
		return allowed == "1", allowed
	})
}

// single brings back the installation with one aggregator, on the history it had.
func single(t *testing.T) {
	for _, args := range [][]string{
		{"-n", "foretide-system", "delete", "statefulset,poddisruptionbudget", "foretide-aggregator", "--ignore-not-found"},
		{"-n", "foretide-system", "delete", "pods", "-l", "app.kubernetes.io/name=foretide-aggregator", "--wait"},
		{"-n", "foretide-system", "delete", "pvc", "data-foretide-aggregator-0", "data-foretide-aggregator-1", "--ignore-not-found", "--wait"},
		{"delete", "-f", twoReplicas + "/volumes.yaml", "--ignore-not-found", "--wait"},
		{"apply", "-k", repository + "/deploy/overlays/test-cluster"},
		{"-n", "foretide-system", "rollout", "status", "deployment/foretide-aggregator", "--timeout=180s"},
	} {
		if err := kube(args...); err != nil {
			t.Error(err)
		}
	}
	for _, dir := range volumesOfReplicas() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
}

// volumesOfReplicas are the folders that testdata/replicas/volumes.yaml names.
func volumesOfReplicas() []string {
	return []string{clusterDir + "/pv/replica-0", clusterDir + "/pv/replica-1"}
}

// leader is the pod that holds the Lease; empty when none does.
func leader(t *testing.T) string {
	t.Helper()
	pod, _, _ := strings.Cut(kubectl(t, "-n", "foretide-system", "get", "lease/foretide-aggregator", "-o", "jsonpath={.spec.holderIdentity}"), "_")
	return pod
}

// decides tells what an aggregator decides for the policy tide; ok is false when it decides nothing.
func decides(t *testing.T, reader http.RoundTripper, pod string) (desired, proactive float64, ok bool) {
	t.Helper()
	_, metrics := get(t, reader, webOf(t, pod)+"/metrics")
	proactive, _ = sample(metrics, `foretide_policy_proactive_replicas{namespace="default",policy="tide"}`)
	desired, ok = sample(metrics, `foretide_policy_desired_replicas{namespace="default",policy="tide"}`)
	return desired, proactive, ok
}

// kill ends a replica as a node that loses its power would: it stops in the middle, so that it says no goodbye, and stays away until
// the StatefulSet, of which the other is kept, is applied again.
func kill(t *testing.T, pod string) {
	t.Helper()
	process := processOf(t, pod)
	kubectl(t, "-n", "foretide-system", "delete", "statefulset/foretide-aggregator", "--cascade=orphan")
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "-n", "foretide-system", "delete", "pod", pod, "--grace-period=0", "--force")
}

// processOf is the aggregator in a pod.
func processOf(t *testing.T, pod string) *os.Process {
	t.Helper()
	out, err := run("", "pgrep", "-f", "^/aggregator serve")
	if err != nil {
		t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(out) {
		environment, err := os.ReadFile(filepath.Join("/proc", pid, "environ"))
		if err != nil || !slices.Contains(strings.Split(string(environment), "\x00"), "HOSTNAME="+pod) {
			continue
		}
		n, err := strconv.Atoi(pid)
		if err != nil {
			t.Fatal(err)
		}
		process, err := os.FindProcess(n)
		if err != nil {
			t.Fatal(err)
		}
		return process
	}
	t.Fatalf("none of the processes %s is the aggregator of %s", strings.Fields(out), pod)
	return nil
}

// watch follows a field of an object until the test ends. What it returns tells each value that was seen, one a line.
func watch(t *testing.T, object, field string) func() []string {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "values"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("kubectl", "get", object, "--watch", "-o", "jsonpath="+field+`{"\n"}`)
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = out.Close()
	})
	values := func() []string {
		text, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		return slices.Collect(strings.Lines(string(text)))
	}
	eventually(t, object+" is watched", 30*time.Second, func() (bool, string) { return len(values()) > 0, "nothing" })
	return values
}

// neverDown checks numbers as they were seen: none is absent or less than one before, and they did change.
func neverDown(t *testing.T, what string, values []string) {
	t.Helper()
	highest := 0
	for _, text := range values {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < highest {
			t.Errorf("%s was %q after %d", what, strings.TrimSpace(text), highest)
		}
		highest = max(highest, n)
	}
	if highest != 8 {
		t.Errorf("%s was 8 at last, and no more than %d was seen", what, highest)
	}
}
