package main

import (
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// demo holds the running parts.
type demo struct {
	dir, store, token, library string
	web, agentWeb, ingest      string
	fleet                      fleet
	processes                  []*exec.Cmd
}

func rand() string {
	var b [16]byte
	_, _ = crand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// freeAddress finds a loopback port nobody uses.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (d *demo) start(name string, env []string, args ...string) error {
	log, err := os.Create(filepath.Join(d.dir, name+".log"))
	if err != nil {
		return err
	}
	cmd := exec.Command("bin/"+name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	d.processes = append(d.processes, cmd)
	return nil
}

// stop ends the programs, the last started first.
func (d *demo) stop() {
	slices.Reverse(d.processes)
	for _, p := range d.processes {
		_ = p.Process.Signal(syscall.SIGTERM)
		_ = p.Wait()
	}
	d.fleet.kubelet.Stop()
}

func (d *demo) log(name string) string {
	text, _ := os.ReadFile(filepath.Join(d.dir, name+".log"))
	return string(text)
}

// typicalGPUs is what the recording asks for when the demo begins.
const typicalGPUs = 0.53

func (d *demo) startAgent() (err error) {
	if d.ingest, err = freeAddress(); err != nil {
		return err
	}
	if d.agentWeb, err = freeAddress(); err != nil {
		return err
	}
	args := []string{
		"--node-name=demo", "--web.listen-address=" + d.agentWeb, "--health.listen-address=127.0.0.1:0", "--aggregator.address=" + d.ingest,
		"--aggregator.ca-file=" + filepath.Join(d.store, "tls", "ca.crt"), "--aggregator.token-file=" + d.token,
		"--kubelet.socket-path=" + filepath.Join(d.dir, "kubelet.sock"),
	}
	if d.library != "" {
		args = append(args, "--nvml.library-path="+d.library)
	}
	if err := d.start("agent", []string{"FAKENVML_SCENARIO=" + d.fleet.scenario}, args...); err != nil {
		return err
	}
	uuid := regexp.MustCompile(`foretide_device_memory_bytes\{[^}]*uuid="([^"]+)"`)
	for range 100 {
		page := scrape(d.agentWeb)
		if devices := uuid.FindAllStringSubmatch(page, -1); len(devices) > 0 {
			if len(d.fleet.devices) == 0 {
				for _, m := range devices {
					d.fleet.devices = append(d.fleet.devices, m[1])
				}
			}
			d.fleet.scale(3, time.Now().Add(-startup))
			d.fleet.scale(3, time.Now())
			if _, err := d.fleet.load(typicalGPUs, time.Now()); err != nil {
				return err
			}
			fmt.Printf("The agent runs and reads %d devices. Metrics: http://%s/metrics\n", len(devices), d.agentWeb)
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("the agent shows no device after 10 s; its log:\n%s", d.log("agent"))
}

func (d *demo) startAggregator(ctx context.Context) error {
	if l, err := net.Listen("tcp", d.web); err == nil {
		_ = l.Close()
	} else if d.web, err = freeAddress(); err != nil {
		return err
	}
	health, err := freeAddress()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "bin/aggregator", "import", "--storage.path="+d.store, "--trace="+traceFile, "--series="+traceSeries,
		"--workload="+namespace+"/Deployment/"+workload, "--until="+evening.Format(time.RFC3339), fmt.Sprint("--scale=", gpusPerUnit)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("import: %w\n%s", err, out)
	}
	fmt.Printf("%s", out)
	if err := d.start("aggregator", nil, "serve", "--kubernetes.enabled=false", "--policies.path="+filepath.Join(d.dir, "policy.yaml"),
		"--storage.path="+d.store, "--web.listen-address="+d.web, "--health.listen-address="+health,
		"--ingest.listen-address="+d.ingest, "--ingest.token-file="+d.token); err != nil {
		return err
	}
	for range 300 {
		if _, ok := d.read().get("foretide_policy_desired_replicas"); ok {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("no decision after 30 s; the aggregator's log:\n%s", d.log("aggregator"))
}

func scrape(address string) string {
	response, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	page, _ := io.ReadAll(response.Body)
	return string(page)
}

// page is a scraped /metrics.
type page string

func (d *demo) read() page { return page(scrape(d.web)) }

// get returns the value of the first sample of a metric that has the labels.
func (p page) get(name string, labels ...string) (float64, bool) {
	for line := range strings.Lines(string(p)) {
		rest, ok := strings.CutPrefix(line, name+"{")
		for _, l := range labels {
			ok = ok && strings.Contains(rest, l)
		}
		if ok {
			fields := strings.Fields(rest)
			v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			return v, err == nil
		}
	}
	return 0, false
}

func (p page) number(name string, labels ...string) string {
	if v, ok := p.get(name, labels...); ok {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return "–"
}

func (p page) percent(name string) string {
	if v, ok := p.get(name); ok {
		return fmt.Sprintf("%.0f %%", 100*v)
	}
	return "–"
}
