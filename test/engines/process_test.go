//go:build engines

// Package engines tests what the aggregator sends to and reads from other engines on real ones: the Prometheus and the
// VictoriaMetrics that Debian packages.
//
//	storage → remotewrite → Prometheus, VictoriaMetrics → engine → Demand, Loads, aggregator import
package engines

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// process is an engine that runs on this machine.
type process struct {
	name string
	// url is where it answers PromQL, write where it takes remote writes.
	url, write string
}

// kinds are the engines; each starts on a port and a directory.
var kinds = map[string]func(t *testing.T, port, dir string) process{
	"prometheus":       startPrometheus,
	"victoria-metrics": startVictoria,
}

// onEach runs a test on each engine.
func onEach(t *testing.T, test func(t *testing.T, start func(port, dir string) process)) {
	for name, start := range kinds {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(name); err != nil {
				t.Fatalf("the Debian package %s is needed: %v", name, err)
			}
			test(t, func(port, dir string) process { return start(t, port, dir) })
		})
	}
}

func startPrometheus(t *testing.T, port, dir string) process {
	t.Helper()
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	// A resend and a late batch are older than the newest sample: without a window Prometheus refuses them.
	if err := os.WriteFile(config, []byte("storage: {tsdb: {out_of_order_time_window: 2h}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := run(t, port, "/-/ready", "prometheus", "--config.file="+config, "--storage.tsdb.path="+dir, "--web.listen-address=127.0.0.1:"+port,
		"--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=90d", "--log.level=warn")
	return process{"prometheus", url, url + "/api/v1/write"}
}

func startVictoria(t *testing.T, port, dir string) process {
	t.Helper()
	// VictoriaMetrics keeps a sample that comes twice twice, unless it is told otherwise.
	url := run(t, port, "/health", "victoria-metrics", "-storageDataPath="+dir, "-httpListenAddr=127.0.0.1:"+port, "-retentionPeriod=12",
		"-dedup.minScrapeInterval=1ms",
		"-loggerLevel=WARN", "-memory.allowedBytes=256MB")
	return process{"victoria-metrics", url, url + "/api/v1/write"}
}

// run starts a program, waits until it is ready and kills it when the test ends.
func run(t *testing.T, port, ready, program string, args ...string) (url string) {
	t.Helper()
	var log strings.Builder
	command := exec.Command(program, args...)
	command.Stdout, command.Stderr = &log, &log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = command.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s said:\n%s", program, log.String())
		}
	})
	url = "http://127.0.0.1:" + port
	eventually(t, program+" is ready", func() (bool, string) {
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", program, log.String())
		default:
		}
		answer, err := http.Get(url + ready)
		if err != nil {
			return false, err.Error()
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK, answer.Status
	})
	return url
}

// eventually looks again and again whether another process has come so far.
func eventually(t *testing.T, what string, so func() (ok bool, state string)) {
	t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	giveUp := time.After(2 * time.Minute)
	for {
		ok, state := so()
		if ok {
			return
		}
		select {
		case <-ticker.C:
		case <-giveUp:
			t.Fatalf("not yet after two minutes: %s; %s", what, state)
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// samples reads a selector's samples of the last 20 minutes before a moment by series, without the label of the aggregator.
func samples(t *testing.T, url, selector string, until time.Time) (map[string]map[int64]float64, int) {
	t.Helper()
	client, err := api.NewClient(api.Config{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	value, _, _, err := v1.NewAPI(client).Query(t.Context(), selector+"[20m]", until)
	if err != nil {
		t.Fatal(err)
	}
	out, n := map[string]map[int64]float64{}, 0
	for _, s := range value.(model.Matrix) {
		delete(s.Metric, "aggregator")
		of := map[int64]float64{}
		for _, p := range s.Values {
			of[int64(p.Timestamp)] = float64(p.Value)
			n++
		}
		out[s.Metric.String()] = of
	}
	return out, n
}
