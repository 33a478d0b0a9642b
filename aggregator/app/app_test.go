package app

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/foretide/foretide/pkg/trace"
)

func TestTelemetryBecomesADecisionAndTheHistoryOutlivesARestart(t *testing.T) {
	w := newWorld(t)
	before := runtime.NumGoroutine()
	stop := w.start()
	w.report("first", 5, 0.8)
	w.eventually("a decision", func() bool {
		_, metrics := w.get("web", "/metrics")
		return strings.Contains(metrics, `foretide_policy_desired_replicas{namespace="default",policy="web"} 4`)
	})
	_, metrics := w.get("web", "/metrics")
	for _, want := range []string{
		`foretide_policy_utilization_ratio{namespace="default",policy="web"} 0.8`,
		`foretide_policy_reactive_replicas{namespace="default",policy="web"} 4`,
		`foretide_policy_forecast_ready{namespace="default",policy="web"} 0`,
		`foretide_node_last_batch_timestamp_seconds{node="node-1"}`,
		`foretide_aggregator_ingest_batches_total 5`,
		`foretide_aggregator_storage_repaired{tier="raw"} 0`,
		`foretide_aggregator_build_info{version="v1.2.3"} 1`,
		`go_goroutines`, `process_cpu_seconds_total`, `promhttp_metric_handler_errors_total`, `prometheus_tsdb_head_series{tier="workload"}`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
	if code, page := w.get("web", "/"); code != http.StatusOK || !strings.Contains(page, "default/web") || !strings.Contains(page, "ReactiveDemand") {
		t.Errorf("page: %d\n%s", code, page)
	}
	if code := w.status("health", "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
	if code := w.status("health", "/metrics"); code != http.StatusNotFound {
		t.Errorf("the health address shows data: %d", code)
	}
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	w.noneLeft(before)
	const series = "foretide_pod_utilization_ratio"
	if got := inspect(t, w.options.StoragePath, series); !strings.Contains(got, "raw: 1 series, 5 samples,") {
		t.Errorf("after the first run:\n%s", got)
	}

	stop = w.start()
	if got := inspect(t, w.options.StoragePath, series); !strings.Contains(got, "raw: 1 series, 5 samples,") {
		t.Errorf("in the second run:\n%s", got)
	}
	w.report("second", 3, 0.2)
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if got := inspect(t, w.options.StoragePath, series); !strings.Contains(got, "raw: 1 series, 8 samples,") {
		t.Errorf("after the second run:\n%s", got)
	}
}

func TestImportedHistoryMakesTheForecastAct(t *testing.T) {
	w := newWorld(t)
	var day []trace.Point
	for i := range 2 * 24 * 12 { // two days of 3.0 busy GPUs
		day = append(day, trace.Point{Time: noon().Add(time.Duration(i) * 5 * time.Minute), Value: 3})
	}
	file := writeFile(t, "trace.csv", csv("a", day))
	if err := Import(t.Context(), []string{"--storage.path=" + w.options.StoragePath, "--trace=" + file, "--workload=default/Deployment/web"}, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.report("first", 1, 0.2)
	w.eventually("the forecast acts", func() bool {
		_, metrics := w.get("web", "/metrics")
		return strings.Contains(metrics, `foretide_policy_forecast_ready{namespace="default",policy="web"} 1`)
	})
	_, metrics := w.get("web", "/metrics")
	if want := `foretide_policy_proactive_replicas{namespace="default",policy="web"} 15`; !strings.Contains(metrics, want) {
		t.Errorf("no %s in\n%s", want, metrics)
	}
	if _, page := w.get("web", "/"); !strings.Contains(page, "<svg") || !strings.Contains(page, "p80") {
		t.Errorf("the page has no chart:\n%s", page)
	}
}

func TestAgentWithAWrongTokenIsRefused(t *testing.T) {
	w := newWorld(t)
	w.start()
	stream, _ := w.stream("not-"+rightToken, "first")
	_, err := stream.Recv()
	if status.Code(err) != codes.Unauthenticated || strings.Contains(err.Error(), rightToken) {
		t.Errorf("error = %v", err)
	}
	if _, metrics := w.get("web", "/metrics"); !strings.Contains(metrics, `foretide_aggregator_ingest_rejected_streams_total{code="Unauthenticated"} 1`) {
		t.Errorf("not counted:\n%s", metrics)
	}
}

func TestCertificateIsKeptOverARestart(t *testing.T) {
	w := newWorld(t)
	read := func() string {
		t.Helper()
		pem, err := os.ReadFile(filepath.Join(w.options.StoragePath, "tls", "tls.crt"))
		if err != nil {
			t.Fatal(err)
		}
		return string(pem)
	}
	stop := w.start()
	first := read()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	w.start()
	if read() != first {
		t.Error("another certificate after the restart")
	}
}

func TestAnAgentThatIsConnectedDoesNotHoldUpTheStop(t *testing.T) {
	w := newWorld(t)
	stop := w.start()
	stream, _ := w.welcomed(rightToken, "first")
	w.eventually("connected", func() bool {
		_, metrics := w.get("web", "/metrics")
		return strings.Contains(metrics, "foretide_aggregator_ingest_streams 1")
	})
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream is still up")
	}
}

func TestWhatIsWrongAtTheStartIsNamedAndNothingIsLeft(t *testing.T) {
	taken := newWorld(t)
	taken.start()
	before := runtime.NumGoroutine()
	for want, change := range map[string]func(*Options){
		`--web.listen-address is ":8443": it must be a loopback address`: func(o *Options) { o.WebAddress = ":8443" },
		`--storage.path: open `:         func(o *Options) { o.StoragePath = taken.options.StoragePath },
		`--policies.path: stat `:        func(o *Options) { o.PoliciesPath = "none.yaml" },
		`--ingest.token-file: `:         func(o *Options) { o.IngestTokenFile = "none" },
		`--ingest.listen-address: list`: func(o *Options) { o.IngestAddress = taken.address("ingest") },
		`--web.listen-address: listen `: func(o *Options) { o.WebAddress = taken.address("web") },
		`--health.listen-address: list`: func(o *Options) { o.HealthAddress = taken.address("health") },
		`none.crt`:                      func(o *Options) { o.TLSCertFile, o.TLSKeyFile = "none.crt", "none.key" },
	} {
		w := newWorld(t)
		change(&w.options)
		w.options.Listen = nil
		if err := Run(t.Context(), w.options, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	taken.noneLeft(before)
}

// What the aggregator serves is in METRICS.md, which is made from the rooms one by one.
func TestEveryMetricServedIsInTheReference(t *testing.T) {
	reference, err := os.ReadFile("../../METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, aggregator, ok := strings.Cut(string(reference), "\n## Aggregator\n")
	if !ok {
		t.Fatal("METRICS.md has no section on the aggregator")
	}
	w := newWorld(t)
	w.start()
	_, metrics := w.get("web", "/metrics")
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(metrics, -1) {
		name, kind := m[1], m[2]
		standard := regexp.MustCompile(`^(go|process|promhttp|prometheus)_`).MatchString(name)
		if row := fmt.Sprintf("\n| `%s` | %s |", name, kind); !standard && !strings.Contains(aggregator, row) {
			t.Errorf("%s (%s) is not in METRICS.md", name, kind)
		}
	}
}
