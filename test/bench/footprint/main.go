// Command footprint measures what the shipped agent costs: 8 scripted GPUs read each second through the real go-nvml, each held by a
// pod, streamed to the shipped aggregator. Figures come last, one a line.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/foretide/foretide/test/fakenvml"
	"github.com/foretide/foretide/test/podresources"
)

const (
	gpus    = 8
	ingest  = "127.0.0.1:19500"
	metrics = "127.0.0.1:19400"
	web     = "127.0.0.1:18443"
	health  = "127.0.0.1:18081"
	// clockTick is USER_HZ: /proc/<pid>/stat counts CPU time in 1/100 s on Linux (proc(5)).
	clockTick = 100
)

func main() {
	length := flag.Duration("for", 60*time.Second, "how long to measure")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *length); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, length time.Duration) error {
	dir, err := os.MkdirTemp("", "foretide-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("token"), []byte("bench-token-of-this-run"), 0o600); err != nil {
		return err
	}
	scenario := fakenvml.Default(gpus)
	kubelet, err := podresources.Serve(path("kubelet.sock"))
	if err != nil {
		return err
	}
	defer kubelet.Stop()
	var holders []podresources.Holder
	for i, d := range scenario.Devices {
		holders = append(holders, podresources.Holder{Namespace: "default", Pod: fmt.Sprint("pod-", i), Container: "model", DeviceUUIDs: []string{d.UUID}})
	}
	kubelet.Set(holders)
	if err := scenario.Write(path("scenario.ini")); err != nil {
		return err
	}
	aggregator, err := start(dir, "aggregator", "serve", "--kubernetes.enabled=false", "--policies.path=deploy/examples/fib-gpu.yaml", "--storage.path="+path("store"),
		"--ingest.listen-address="+ingest, "--ingest.token-file="+path("token"), "--web.listen-address="+web, "--health.listen-address="+health)
	if err != nil {
		return err
	}
	defer end(aggregator)
	agent, err := start(dir, "agent", "--node-name=bench", "--nvml.library-path=test/fakenvml/build/libnvidia-ml.so.1",
		"--kubelet.socket-path="+path("kubelet.sock"), "--web.listen-address="+metrics, "--aggregator.address="+ingest,
		"--aggregator.ca-file="+path("store/tls/ca.crt"), "--aggregator.token-file="+path("token"))
	if err != nil {
		return err
	}
	defer end(agent)

	begin, load := time.Now(), 0
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var peak float64
	for time.Since(begin) < length {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		load = (load + 7) % 101
		for i := range scenario.Devices {
			scenario.Devices[i].UtilizationGPUPercent = load
		}
		if err := scenario.Write(path("scenario.ini")); err != nil {
			return err
		}
		rss, err := residentMiB(agent.Process.Pid)
		if err != nil {
			return logged(dir, err)
		}
		peak = max(peak, rss)
	}
	rss, err := residentMiB(agent.Process.Pid)
	if err != nil {
		return logged(dir, err)
	}
	cpu, err := cpuSeconds(agent.Process.Pid)
	if err != nil {
		return logged(dir, err)
	}
	out, err := exec.CommandContext(ctx, "bin/aggregator", "inspect", "--storage.path="+path("store"), "--series=foretide_pod_utilization_ratio").Output()
	if err != nil {
		return logged(dir, fmt.Errorf("inspect what the aggregator received: %w", err))
	}
	if !strings.Contains(string(out), fmt.Sprintf("raw: %d series", gpus)) {
		return logged(dir, fmt.Errorf("the aggregator did not receive %d pods:\n%s", gpus, out))
	}
	fmt.Printf("measured for %v: agent with %d GPUs, each read once a second and held by a pod, streaming\n", length, gpus)
	fmt.Printf("BENCH agent_rss_8gpu %.1f MiB\nBENCH agent_rss_8gpu_peak %.1f MiB\nBENCH agent_cpu_8gpu %.2f %%core\n", rss, peak, 100*cpu/length.Seconds())
	return nil
}

func start(dir, name string, args ...string) (*exec.Cmd, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("bin/"+name, args...)
	cmd.Env = append(os.Environ(), "FAKENVML_SCENARIO="+filepath.Join(dir, "scenario.ini"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return cmd, cmd.Start()
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
}

func logged(dir string, err error) error {
	for _, name := range []string{"agent", "aggregator"} {
		text, _ := os.ReadFile(filepath.Join(dir, name+".log"))
		fmt.Fprintf(os.Stderr, "--- %s\n%s", name, text)
	}
	return err
}

func residentMiB(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS: it has ended", pid)
}

func cpuSeconds(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// Fields after the command in parentheses: utime and stime are the 12th and 13th (proc(5)).
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err := strconv.ParseFloat(fields[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(fields[12], 64)
	return (user + system) / clockTick, err
}
