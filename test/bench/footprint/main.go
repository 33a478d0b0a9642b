// Command footprint measures what the shipped agent costs and how right and how quick it is: 8 scripted GPUs read each second
// through the real go-nvml, shared by 64 pods or divided into 56 MIG instances, streamed over TLS. Figures come last, one a line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
	"github.com/foretide/foretide/test/fakenvml"
	"github.com/foretide/foretide/test/node"
	"github.com/foretide/foretide/test/podresources"
)

const (
	gpus    = 8
	sharers = 8 // pods on each GPU, or MIG instances and one
	library = "test/fakenvml/build/" + fakenvml.LibraryName
)

func main() {
	length := flag.Duration("for", 60*time.Second, "how long to measure each scene")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *length); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, length time.Duration) error {
	if err := settle("bin/agent"); err != nil {
		return err
	}
	shared, err := measure(ctx, length, timeSliced)
	if err != nil {
		return fmt.Errorf("64 pods sharing: %w", err)
	}
	mig, err := measure(ctx, length, partitioned)
	if err != nil {
		return fmt.Errorf("56 MIG instances: %w", err)
	}
	fmt.Printf("measured for %v each: an agent with %d GPUs, read once a second, streaming; a step of load each 3 s, %d in all\n", length, gpus, len(shared.delays))
	fmt.Printf("BENCH agent_rss_8gpu_64pods %.1f MiB\nBENCH agent_rss_8gpu_mig56 %.1f MiB\nBENCH agent_cpu_8gpu_64pods %.2f %%core\n", shared.rss, mig.rss, shared.cpu)
	fmt.Printf("BENCH agent_cpu_8gpu_mig56 %.2f %%core\nBENCH agent_step_to_batch_p99 %.2f s\nBENCH attribution_error_max %.2f pp\n",
		mig.cpu, percentile(shared.delays, 0.99).Seconds(), shared.worst)
	return nil
}

// settle has a file that was just built written to the disk, where a node has its programs: the kernel takes no page back that is not there.
func settle(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// figures of one scene.
type figures struct {
	rss    float64 // MiB at the end
	cpu    float64 // per cent of a core
	delays []time.Duration
	worst  float64 // percentage points
}

// scene prepares a node, and changes the load at step k; it returns what utilization each pod then has.
type scene func(n *node.Node) (step func(k int) map[string]float64, err error)

func measure(ctx context.Context, length time.Duration, prepare scene) (figures, error) {
	dir, err := os.MkdirTemp("", "foretide-bench-")
	if err != nil {
		return figures{}, err
	}
	defer os.RemoveAll(dir)
	w := &watch{}
	n, err := node.New(dir, library, w.take)
	if err != nil {
		return figures{}, err
	}
	step, err := prepare(n)
	if err != nil {
		return figures{}, err
	}
	if err := errors.Join(n.Play(), n.Start("bin/agent")); err != nil {
		return figures{}, err
	}
	f, err := follow(ctx, length, n, w, step)
	if err != nil {
		fmt.Fprint(os.Stderr, n.Log())
	}
	return f, errors.Join(err, n.Stop())
}

func follow(ctx context.Context, length time.Duration, n *node.Node, w *watch, step func(int) map[string]float64) (figures, error) {
	var f figures
	began := time.Now()
	// Steps at odd times, so that they fall anywhere between two samples.
	const every = 2*time.Second + 937*time.Millisecond
	for k := 0; time.Since(began) < length; k++ {
		want := step(k)
		w.expect(want)
		if err := n.Play(); err != nil {
			return f, err
		}
		select {
		case <-ctx.Done():
			return f, ctx.Err()
		case <-time.After(every):
		}
		if k > 0 { // the first step is the agent's start
			delay, worst, err := w.result()
			if err != nil {
				return f, fmt.Errorf("step %d: %w", k, err)
			}
			f.delays, f.worst = append(f.delays, delay), max(f.worst, worst)
		}
	}
	cpu, err := n.CPUSeconds()
	if err != nil {
		return f, err
	}
	f.cpu = 100 * cpu / time.Since(began).Seconds()
	f.rss, err = n.ResidentMiB()
	return f, err
}

// watch compares what the batches say with what the pods really do.
type watch struct {
	mu      sync.Mutex
	want    map[string]float64 // utilization by pod
	since   time.Time
	changed time.Duration // until the first batch that shows the change; 0 until then
	latest  map[string]float64
	before  map[string]float64
}

func (w *watch) expect(want map[string]float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before, w.want, w.since, w.changed = w.want, want, time.Now(), 0
}

func (w *watch) take(b telemetry.Batch) *telemetrypb.Ack {
	got := make(map[string]float64, len(b.Usages))
	for _, u := range b.Usages {
		if v, ok := u.Values[telemetry.UtilizationMean]; ok {
			got[u.Owner.Pod] = v
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latest = got
	if w.changed == 0 && w.shows(got) {
		w.changed = time.Since(w.since)
	}
	return nil
}

// shows reports whether a pod whose load changed is no longer where it was: the window in which it changed is a mean of both.
func (w *watch) shows(got map[string]float64) bool {
	for pod, v := range w.want {
		if was, known := w.before[pod]; known && math.Abs(v-was) > 0.05 && math.Abs(got[pod]-was) > 0.01 {
			return true
		}
	}
	return false
}

// result returns how long the change took to be seen, and how far the latest batch is from the truth, in percentage points.
func (w *watch) result() (time.Duration, float64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed == 0 {
		return 0, 0, fmt.Errorf("no batch shows the change: %d pods in the latest one", len(w.latest))
	}
	worst := 0.0
	for pod, v := range w.want {
		got, known := w.latest[pod]
		if !known {
			return 0, 0, fmt.Errorf("pod %s is not in the batch", pod)
		}
		worst = max(worst, 100*math.Abs(got-v))
	}
	return w.changed, worst, nil
}

// timeSliced has each GPU shared by 8 pods with a process each, of different shares that change.
func timeSliced(n *node.Node) (func(int) map[string]float64, error) {
	var err error
	if n.Scenario, err = fakenvml.Profile("h100", gpus); err != nil {
		return nil, err
	}
	var holders []podresources.Holder
	for g, d := range n.Scenario.Devices {
		for i := range sharers {
			pod, pid := fmt.Sprintf("pod-%d-%d", g, i), 10_000+100*g+i
			holders = append(holders, podresources.Holder{Namespace: "default", Pod: pod, Container: "model", DeviceIDs: []string{fmt.Sprintf("%s::%d", d.UUID, i)}})
			uid, id := fmt.Sprintf("5fd4f087-86f3-7a43-b711-%012d", pid), fmt.Sprintf("%064x", pid)
			cgroup := fmt.Sprintf("0::/../../kubepods-besteffort-pod%s.slice/cri-containerd-%s.scope\n", strings.ReplaceAll(uid, "-", "_"), id)
			if err := errors.Join(n.Process(pid, cgroup), n.Logs("default", pod, uid, "model", id)); err != nil {
				return nil, err
			}
		}
	}
	n.Kubelet.Set(holders)
	return func(k int) map[string]float64 {
		want := map[string]float64{}
		for g := range n.Scenario.Devices {
			d := &n.Scenario.Devices[g]
			d.Processes, d.UtilizationGPUPercent = nil, 0
			for i := range sharers {
				share := (3*k + 5*g + 2*i) % 13 // at most 96 together
				d.Processes = append(d.Processes, fakenvml.Process{PID: 10_000 + 100*g + i, UsedBytes: uint64(1+i) << 28, SMPercent: share})
				d.UtilizationGPUPercent += share
				want[fmt.Sprintf("pod-%d-%d", g, i)] = float64(share) / 100
			}
		}
		return want
	}, nil
}

// partitioned has each GPU divided into 7 MIG instances, each held by a pod.
func partitioned(n *node.Node) (func(int) map[string]float64, error) {
	var err error
	if n.Scenario, err = fakenvml.Profile("h100", gpus); err != nil {
		return nil, err
	}
	var holders []podresources.Holder
	for g := range n.Scenario.Devices {
		d, err := fakenvml.WithMIG(n.Scenario.Devices[g], slices.Repeat([]string{"1g.10gb"}, 7)...)
		if err != nil {
			return nil, err
		}
		n.Scenario.Devices[g] = d
		for i, part := range n.Scenario.Devices[g].MIGInstances {
			holders = append(holders, podresources.Holder{Namespace: "default", Pod: fmt.Sprintf("pod-%d-%d", g, i), Container: "model",
				Resource: "nvidia.com/mig-1g.10gb", DeviceIDs: []string{part.UUID}})
		}
	}
	n.Kubelet.Set(holders)
	return func(k int) map[string]float64 {
		want := map[string]float64{}
		for g := range n.Scenario.Devices {
			for i := range n.Scenario.Devices[g].MIGInstances {
				busy := float64((31*k+7*g+13*i)%101) / 100
				n.Scenario.Devices[g].MIGInstances[i].GPM = map[int]float64{1: 100 * busy, 2: 90 * busy, 3: 40 * busy, 5: 50 * busy, 10: 30 * busy}
				want[fmt.Sprintf("pod-%d-%d", g, i)] = busy
			}
		}
		return want
	}, nil
}

func percentile(of []time.Duration, p float64) time.Duration {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[min(len(sorted)-1, int(math.Ceil(p*float64(len(sorted))))-1)]
}
