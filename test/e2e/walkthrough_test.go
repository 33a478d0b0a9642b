//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/foretide/foretide/test/load"
	"github.com/foretide/foretide/test/replay"
)

const columns = "NAME STRATEGY REFERENCE METRIC TARGET(%) CURRENT(%) DESIREDPODS REPLICAS MINPODS MAXPODS AGE"

// deployment is a workload whose pods hold one GPU each and come and go quickly.
func deployment(name string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: default}
spec:
  replicas: 1
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: model
          image: localhost/foretide/idle:1
          imagePullPolicy: Never
          resources: {limits: {nvidia.com/gpu: 1}}
`, name)
}

func ahpa(name, target, strategy string, stabilization, forward int) string {
	return fmt.Sprintf(`
apiVersion: autoscaling.foretide.dev/v1alpha1
kind: AdvancedHorizontalPodAutoscaler
metadata: {name: %s, namespace: default}
spec:
  scaleStrategy: %s
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %s}
  metrics:
  - type: Resource
    resource: {name: gpu, target: {type: Utilization, averageUtilization: 20}}
  minReplicas: 1
  maxReplicas: 8
  stabilizationWindowSeconds: %d
  prediction: {quantile: 95, scaleUpForward: %d}
`, name, strategy, target, stabilization, forward)
}

// play drives the pods of one deployment from the recording until the test ends.
func play(t *testing.T, app string) *replay.Player {
	t.Helper()
	file, err := os.Open(traceFile)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	player, err := replay.NewPlayer(file, traceSeries, gpusPerUnit)
	if err != nil {
		t.Fatal(err)
	}
	drive(t, app, player.Offered)
	return player
}

func drive(t *testing.T, app string, offered func(time.Time) float64) {
	t.Helper()
	driveAll(t, load.Workload{Namespace: "default", Selector: "app=" + app, Offered: offered})
}

func clientset(t *testing.T) *kubernetes.Clientset {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return kubernetes.NewForConfigOrDie(config)
}

func driveAll(t *testing.T, workloads ...load.Workload) *load.Driver {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+kubeletSock, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	driver := &load.Driver{
		Client:       clientset(t),
		PodResources: podresources.NewPodResourcesListerClient(conn),
		Scenario:     scenarioPath,
		Workloads:    workloads,
	}
	ctx, stop := context.WithCancel(background)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-ticker.C:
				// An API server or kubelet that a test has stopped is asked again on the next tick.
				_, _ = driver.Tick(ctx, now)
			}
		}
	}()
	t.Cleanup(func() {
		stop()
		<-done
		_ = conn.Close()
	})
	return driver
}

// TestWalkthrough is the main job, as a user would see it.
func TestWalkthrough(t *testing.T) {
	apply(t, deployment("bert-intent-detection"))
	kubectl(t, "rollout", "status", "deployment/bert-intent-detection", "--timeout=120s")
	player := play(t, "bert-intent-detection")
	player.Play(quiet, quiet, 1, time.Now())
	apply(t, ahpa("fib-gpu", "bert-intent-detection", "observer", 20, 60))
	t.Cleanup(func() {
		kubectl(t, "delete", "ahpa/fib-gpu", "deployment/bert-intent-detection", "--ignore-not-found", "--wait")
	})

	eventually(t, "the history holds a device", 60*time.Second, func() (bool, string) { n := acknowledged(t); return n > 5, fmt.Sprint(n) })
	before := openLedger(t)
	say(t, "A night of the recording is played: one pod is enough.")
	seen(t, "fib-gpu", "quiet load seen", 60*time.Second, func(p policy) bool { return p.current() > 5 && p.Status.DesiredReplicas == 1 })
	table := kubectl(t, "get", "ahpa")
	fmt.Print(table)
	if got := strings.Join(strings.Fields(strings.Split(table, "\n")[0]), " "); got != columns {
		t.Fatalf("columns are\n%s\nwant\n%s", got, columns)
	}

	say(t, "The evening comes, an hour every ten seconds. In observer, CURRENT and DESIREDPODS follow and REPLICAS stays.")
	player.Play(riseBegin, risePeak, 360, time.Now())
	seen(t, "fib-gpu", "DESIREDPODS follows the load", 90*time.Second, func(p policy) bool {
		return p.current() >= 90 && p.Status.DesiredReplicas >= 4
	})
	fmt.Print(kubectl(t, "get", "ahpa"))
	if n := replicas("bert-intent-detection"); n != 1 {
		t.Fatalf("observer changed replicas to %d", n)
	}

	say(t, "Switched to auto: REPLICAS follows.")
	kubectl(t, "patch", "ahpa", "fib-gpu", "--type=merge", "-p", `{"spec":{"scaleStrategy":"auto"}}`)
	_, took := seen(t, "fib-gpu", "six pods serve the peak", 120*time.Second, func(p policy) bool {
		return p.Status.CurrentReplicas == 6 && p.Status.DesiredReplicas == 6 && p.current() > 0 && p.current() < 25
	})
	say(t, "Six pods after %.0f s; utilization is back at its target.", took.Seconds())
	fmt.Print(kubectl(t, "get", "ahpa"))

	killAggregator(t, before)

	say(t, "The night comes: after the stabilization window the pods go.")
	player.Play(risePeak, fallEnd, 1440, time.Now())
	_, took = seen(t, "fib-gpu", "one pod at night", 180*time.Second, func(p policy) bool { return p.Status.CurrentReplicas == 1 })
	say(t, "One pod again after %.0f s.", took.Seconds())
	fmt.Print(kubectl(t, "get", "ahpa"))
	fmt.Print(kubectl(t, "get", "events", "--field-selector=involvedObject.name=fib-gpu"))
}

// killAggregator kills the process as the kernel would for want of memory, at the peak: nothing acknowledged may be missing
// afterwards and nothing may be scaled down.
func killAggregator(t *testing.T, before ledger) {
	t.Helper()
	agent := agentPod(t)
	acked := acknowledged(t)
	if acked < before.acked+10 {
		t.Fatalf("agent says %v batches acknowledged, %v when the walkthrough began", acked, before.acked)
	}
	say(t, "The aggregator is killed with SIGKILL; %.0f batches were acknowledged since the walkthrough began.", acked-before.acked)
	if out, err := exec.Command("pkill", "-KILL", "-f", "^/aggregator serve").CombinedOutput(); err != nil {
		t.Fatalf("pkill: %v %s", err, out)
	}
	always(t, "six pods while the aggregator is away", 10*time.Second, func() (bool, string) {
		n := replicas("bert-intent-detection")
		return n == 6, fmt.Sprint(n)
	})
	eventually(t, "aggregator is back and batches are acknowledged again", 120*time.Second, func() (bool, string) {
		now, _ := sample(agentMetrics(t, agent), "foretide_agent_batches_acknowledged_total")
		return now > acked+5, fmt.Sprint(now)
	})
	always(t, "six pods after the aggregator is back", 10*time.Second, func() (bool, string) {
		n := replicas("bert-intent-detection")
		return n == 6, fmt.Sprint(n)
	})
	if kept := stored(t) - before.stored; kept < acked-before.acked {
		t.Fatalf("%.0f batches were acknowledged since the walkthrough began, but only %.0f are in the history", acked-before.acked, kept)
	}
	say(t, "Nothing acknowledged was lost: all %.0f batches of this walkthrough are in the history.", acked-before.acked)
}

// ledger is what was stored and acknowledged at a moment, in batches: each holds one sample of each device.
type ledger struct{ stored, acked float64 }

// openLedger reads what is stored first: what is acknowledged later was stored later.
func openLedger(t *testing.T) ledger {
	t.Helper()
	return ledger{stored(t), acknowledged(t)}
}

func stored(t *testing.T) float64 {
	t.Helper()
	out, err := run(repository, "bin/aggregator", "inspect", "--storage.path="+storePath, "--series=foretide_device_utilization_ratio")
	if err != nil {
		t.Fatal(err)
	}
	n, ok := sample(out, "fewest samples in a series:")
	if !ok {
		t.Fatalf("the history holds no device:\n%s", out)
	}
	return n
}

func acknowledged(t *testing.T) float64 {
	t.Helper()
	n, ok := sample(agentMetrics(t, agentPod(t)), "foretide_agent_batches_acknowledged_total")
	if !ok {
		t.Fatal("the agent does not say how many batches were acknowledged")
	}
	return n
}

// TestForecastScalesAhead gives a workload a recorded fortnight of history and lets the evening come in real time: the replicas
// go up on the forecast, before the load does.
func TestForecastScalesAhead(t *testing.T) {
	apply(t, deployment("tide"))
	kubectl(t, "rollout", "status", "deployment/tide", "--timeout=120s")
	player := play(t, "tide")
	player.Play(beforePM, beforePM.Add(2*time.Hour), 1, time.Now())
	apply(t, ahpa("tide", "tide", "auto", 300, 3600))
	t.Cleanup(func() { kubectl(t, "delete", "ahpa/tide", "deployment/tide", "--ignore-not-found", "--wait") })
	p, took := seen(t, "tide", "replicas stand at the proactive count, above the reactive one", 120*time.Second, func(p policy) bool {
		s := p.Status
		status, _, _ := p.condition("ForecastReady")
		return status == "True" && s.ProactiveReplicas != nil && s.ReactiveReplicas != nil &&
			*s.ProactiveReplicas > *s.ReactiveReplicas && s.CurrentReplicas >= *s.ProactiveReplicas
	})
	say(t, "Ahead of the evening after %.0f s: proactive %d, reactive %d, replicas %d. %s", took.Seconds(),
		*p.Status.ProactiveReplicas, *p.Status.ReactiveReplicas, p.Status.CurrentReplicas, p.Status.Decision.Message)
	fmt.Print(kubectl(t, "get", "ahpa"))
}
