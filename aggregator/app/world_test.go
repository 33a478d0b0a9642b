package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

const rightToken = "the-token-of-all-agents"

// world is a whole aggregator without Kubernetes, on a directory and on free ports, and those who talk to it.
type world struct {
	t       *testing.T
	options Options
	log     safeBuffer

	mu        sync.Mutex
	addresses map[string]string // by flag
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, options: DefaultOptions(), addresses: map[string]string{}}
	o := &w.options
	o.StoragePath = t.TempDir()
	o.Kubernetes, o.Version = false, "v1.2.3"
	o.PoliciesPath = writeFile(t, "policies.yaml", webPolicy)
	o.IngestTokenFile = writeFile(t, "token", rightToken+"\n")
	o.IngestAddress, o.WebAddress, o.HealthAddress = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	o.SyncInterval = 500 * time.Millisecond
	o.LiveStaleAfter = maxStaleAfter // a slow machine shall not lose sight of the pod
	o.Listen = func(flag, address string) (net.Listener, error) {
		listener, err := net.Listen("tcp", address)
		if err == nil {
			w.mu.Lock()
			w.addresses[flag] = listener.Addr().String()
			w.mu.Unlock()
		}
		return listener, err
	}
	return w
}

// start runs the aggregator until the returned function is called, which gives Run's error.
func (w *world) start() (stop func() error) {
	w.t.Helper()
	clear(w.addresses)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, w.options, slog.New(slog.NewTextHandler(&w.log, nil))) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	w.t.Cleanup(func() { _ = stop() })
	w.eventually("ready", func() bool {
		select {
		case err := <-ended:
			ended <- err
			w.t.Fatalf("ended at start: %v", err)
		default:
		}
		return w.address("health") != "" && w.status("health", "/readyz") == http.StatusOK
	})
	w.eventually("readings are taken", func() bool {
		_, metrics := w.get("web", "/metrics")
		return strings.Contains(metrics, `foretide_aggregator_storage_open{tier="raw"} 1`)
	})
	return stop
}

// address of the server whose flag is <name>.listen-address; "" before it listens.
func (w *world) address(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.addresses[name+".listen-address"]
}

func (w *world) status(server, path string) int {
	code, _ := w.get(server, path)
	return code
}

func (w *world) get(server, path string) (int, string) {
	w.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + w.address(server) + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// stream connects as an agent does: it trusts the directory's CA, shows a token and says hello.
func (w *world) stream(token, session string) (telemetrypb.Telemetry_StreamClient, *grpc.ClientConn) {
	w.t.Helper()
	pem, err := os.ReadFile(filepath.Join(w.options.StoragePath, "tls", "ca.crt"))
	if err != nil {
		w.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		w.t.Fatal("ca.crt holds no certificate")
	}
	transport := credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "foretide-aggregator", MinVersion: tls.VersionTLS12})
	conn, err := grpc.NewClient(w.address("ingest"), grpc.WithTransportCredentials(transport))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+token)
	stream, err := telemetrypb.NewTelemetryClient(conn).Stream(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	hello := &telemetrypb.Hello{Protocol: telemetry.Protocol, Node: "node-1", Session: session, AgentVersion: "v1.2.3"}
	if err := stream.Send(&telemetrypb.AgentMessage{Message: &telemetrypb.AgentMessage_Hello{Hello: hello}}); err != nil && !errors.Is(err, io.EOF) { // Recv says why it ended
		w.t.Fatal(err)
	}
	return stream, conn
}

// welcomed is a stream whose first answer, the Welcome, was read.
func (w *world) welcomed(token, session string) (telemetrypb.Telemetry_StreamClient, *grpc.ClientConn) {
	w.t.Helper()
	stream, conn := w.stream(token, session)
	if answer, err := stream.Recv(); err != nil || answer.GetWelcome().GetStore() == "" {
		w.t.Fatalf("answer to the Hello: %v, %v", answer, err)
	}
	return stream, conn
}

// report sends windows of a second, the last of which ends now: the pod web-1 keeps its GPU busy at a ratio. It returns once
// each of them is acknowledged.
func (w *world) report(session string, windows int, ratio float64) {
	w.t.Helper()
	stream, conn := w.welcomed(rightToken, session)
	begin := time.Now().Add(-time.Duration(windows) * time.Second)
	values := telemetry.Values{telemetry.UtilizationMean: ratio, telemetry.UtilizationMax: ratio, telemetry.MemoryUsed: 1 << 30, telemetry.MemoryTotal: 80 << 30}
	var framer telemetry.Framer
	var encoder telemetry.Encoder
	for i := range windows {
		frame := encoder.Encode(framer.Frame(telemetry.Batch{
			Sequence: uint64(i + 1), Start: begin.Add(time.Duration(i) * time.Second), End: begin.Add(time.Duration(i+1) * time.Second), OwnersKnown: true,
			Readings: []telemetry.Reading{{Device: telemetry.Device{UUID: "GPU-0", Model: "H100"}, Values: values}},
			Usages: []telemetry.Usage{{Owner: telemetry.Owner{Namespace: "default", Pod: "web-1", Container: "model"}, DeviceUUID: "GPU-0",
				Attribution: telemetry.AttributionExclusive, Values: values}},
		}))
		if err := stream.Send(&telemetrypb.AgentMessage{Message: &telemetrypb.AgentMessage_Frame{Frame: frame}}); err != nil {
			w.t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil || answer.GetAck().GetSequence() != uint64(i+1) || answer.GetAck().GetReportIntervalMilliseconds() != 1000 {
			w.t.Fatalf("answer to batch %d: %v, %v", i+1, answer, err)
		}
	}
	if err := conn.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// eventually waits for what another goroutine is about to do.
func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	for w.t.Context().Err() == nil {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("never: %s\n%s", what, w.log.String())
}

// noneLeft waits until no more goroutines run than did before.
func (w *world) noneLeft(before int) {
	w.t.Helper()
	w.eventually("all goroutines ended", func() bool { return runtime.NumGoroutine() <= before })
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
