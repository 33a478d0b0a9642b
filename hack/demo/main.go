// Command demo shows the main job on recorded load, without a cluster. First a week of it is played in the simulator. Then come the agent and
// the aggregator as they are shipped, a fortnight of recorded demand in the history, and the evening that followed it in real time; the
// demo plays the cluster itself: what the aggregator decides becomes the number of pods. It ends by itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/foretide/foretide/test/fakenvml"
	"github.com/foretide/foretide/test/podresources"
	"github.com/foretide/foretide/test/replay"
)

// The demo's workload, and the recording that stands for it: 1,000 requests/s are 1.3 busy GPUs.
const (
	namespace   = "default"
	workload    = "bert-intent-detection"
	traceFile   = "test/replay/servegen_small.csv"
	traceSeries = "c5"
	gpusPerUnit = 0.0013
	// surge is what the offered load is multiplied by in the second half: what no history could have foretold.
	surge = 2.0
)

// evening is the moment of the recording that becomes now: the steepest rise of its day is just ahead.
var evening = time.Date(2025, 1, 20, 18, 40, 0, 0, time.UTC)

const policy = `apiVersion: autoscaling.foretide.dev/v1alpha1
kind: AdvancedHorizontalPodAutoscaler
metadata: {name: fib-gpu, namespace: default}
spec:
  scaleStrategy: observer
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: bert-intent-detection}
  metrics:
  - type: Resource
    resource: {name: gpu, target: {type: Utilization, averageUtilization: 20}}
  minReplicas: 1
  maxReplicas: 8
  stabilizationWindowSeconds: 60
  prediction: {quantile: 95, scaleUpForward: 1800}
`

func main() {
	length := flag.Duration("for", 2*time.Minute, "how long to play once the aggregator runs")
	web := flag.String("web", "127.0.0.1:8080", "where the page is served")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *length, *web); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, length time.Duration, web string) error {
	dir, err := os.MkdirTemp("", "foretide-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d := &demo{dir: dir, web: web, store: filepath.Join(dir, "store"), token: filepath.Join(dir, "token")}
	if err := d.fly(ctx); err != nil {
		return err
	}
	defer d.stop()
	if err := d.prepare(); err != nil {
		return err
	}
	if err := d.startAgent(); err != nil {
		return err
	}
	if err := d.startAggregator(ctx); err != nil {
		return err
	}
	return d.play(ctx, length)
}

// prepare writes what the two programs are given: a token, a policy, a kubelet's socket, and devices.
func (d *demo) prepare() error {
	for path, text := range map[string]string{d.token: "demo-" + rand(), filepath.Join(d.dir, "policy.yaml"): policy} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	server, err := podresources.Serve(filepath.Join(d.dir, "kubelet.sock"))
	if err != nil {
		return err
	}
	d.fleet = fleet{kubelet: server}
	if _, err := os.Stat("/dev/nvidia0"); err == nil {
		fmt.Println("This host has an NVIDIA GPU: the agent reads it through NVML. Its load is its own, and stands for the pods' load.")
		return nil
	}
	fmt.Println("This host has no NVIDIA GPU: the agent loads a scripted libnvidia-ml.so.1 with 8 devices instead, as it would load NVIDIA's.")
	d.library = "test/fakenvml/build/libnvidia-ml.so.1"
	d.fleet.scenario = filepath.Join(d.dir, "scenario.ini")
	scenario := fakenvml.Default(8)
	for _, device := range scenario.Devices {
		d.fleet.devices = append(d.fleet.devices, device.UUID)
	}
	return scenario.Write(d.fleet.scenario)
}

// play drives the load and follows the decisions.
func (d *demo) play(ctx context.Context, length time.Duration) error {
	file, err := os.Open(traceFile)
	if err != nil {
		return err
	}
	defer file.Close()
	player, err := replay.NewPlayer(file, traceSeries, gpusPerUnit)
	if err != nil {
		return err
	}
	begin := time.Now()
	player.Play(evening, evening.Add(24*time.Hour), 1, begin)
	fmt.Printf("\nThe recorded evening begins. See http://%s/ for the same with charts.\n\n", d.web)
	fmt.Printf("%5s  %-12s %-18s %-28s %s\n", "", "offered", "pods", "forecast for 30 min ahead", "decision")
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	surged := false
	for tick := 0; ; tick++ {
		now := time.Now()
		offered := player.Offered(now)
		if now.Sub(begin) > length/2 {
			if !surged {
				surged = true
				fmt.Printf("       … and now twice the load, which no history foretold: the reactive half answers.\n")
			}
			offered *= surge
		}
		serving, err := d.fleet.load(offered, now)
		if err != nil {
			return err
		}
		seen := d.read()
		desired, ok := seen.get("foretide_policy_desired_replicas")
		if !ok {
			desired = float64(len(d.fleet.pods))
		}
		d.fleet.scale(int(desired), now)
		if tick%5 == 4 {
			fmt.Printf("%4.0fs  %-12s %-18s %-28s %s\n", now.Sub(begin).Seconds(), fmt.Sprintf("%.2f GPUs", offered),
				fmt.Sprintf("%d of %d at %s", serving, len(d.fleet.pods), seen.percent("foretide_policy_utilization_ratio")),
				fmt.Sprintf("p95 %s busy GPUs", seen.number("foretide_policy_forecast_peak_gpus", `quantile="0.95"`)),
				fmt.Sprintf("%s pods (proactive %s, reactive %s)", seen.number("foretide_policy_desired_replicas"),
					seen.number("foretide_policy_proactive_replicas"), seen.number("foretide_policy_reactive_replicas")))
		}
		if now.Sub(begin) > length {
			fmt.Printf("\nThat was the demo. It ran in observer strategy: a policy that says auto would have set the replicas itself.\n" +
				"Longer: go run ./hack/demo -for 30m. On a real cluster: make demo-cluster.\n")
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
