package ingest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// room stands for the storage and live rooms and remembers in which order it was called.
type room struct {
	mu    sync.Mutex
	calls []string
	fail  func(telemetry.Frame) error
}

// clock is the one here, which the test sets.
type clock struct{ atomic.Pointer[time.Time] }

func (c *clock) now() time.Time  { return *c.Load() }
func (c *clock) set(t time.Time) { c.Store(&t) }

// journal is what was logged.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(line)
}

// lines are those with a text in them.
func (j *journal) lines(with string) (out []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range strings.Lines(j.text.String()) {
		if strings.Contains(line, with) {
			out = append(out, line)
		}
	}
	return out
}

func (r *room) AppendFrames(_ context.Context, frames []telemetry.Frame) []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	errs := make([]error, len(frames))
	for i, f := range frames {
		if r.fail != nil {
			errs[i] = r.fail(f)
		}
		if errs[i] == nil {
			r.calls = append(r.calls, fmt.Sprintf("append %s/%s/%d", f.Node, f.Session, f.Sequence))
		}
	}
	return errs
}

func (r *room) Put(f telemetry.Frame, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, fmt.Sprintf("put %d at %s", f.Sequence, now.Format(time.TimeOnly)))
}

type never struct{ class, reason string }

func (e never) Error() string             { return e.reason }
func (e never) Refusal() (string, string) { return e.class, e.reason }

type answered int

func (e answered) Error() string   { return fmt.Sprintf("answered %d", int(e)) }
func (e answered) HTTPStatus() int { return int(e) }

func authenticate(_ context.Context, token string) (Caller, error) {
	switch token {
	case "of-node-a":
		return Caller{Name: "agent", Node: "node-a"}, nil
	case "of-any":
		return Caller{Name: "file", AnyNode: true}, nil
	case "of-nobody":
		return Caller{Name: "no node"}, nil
	case "forbidden":
		return Caller{}, answered(403)
	case "api-down":
		return Caller{}, errors.New("connection refused")
	}
	return Caller{}, answered(401)
}

type fixture struct {
	*room
	clock    *clock
	journal  *journal
	registry *prometheus.Registry
	client   telemetrypb.TelemetryClient
	server   *Server
}

func serve(t *testing.T) fixture {
	t.Helper()
	certificates := httptest.NewTLSServer(nil)
	t.Cleanup(certificates.Close)
	f := fixture{room: &room{}, clock: &clock{}, journal: &journal{}, registry: prometheus.NewRegistry()}
	f.clock.set(start)
	server, err := NewServer(Options{
		Logger: slog.New(slog.NewTextHandler(f.journal, nil)), Registerer: f.registry, Appender: f.room, Sink: f.room, Authenticate: authenticate,
		TLS: &tls.Config{Certificates: certificates.TLS.Certificates}, Now: f.clock.now,
		Store: "store-1", Version: "v2", Pace: PaceOptions{Shortest: 1500 * time.Millisecond},
		Draining: func(node string) bool { return node == "cordoned" },
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	pool := x509.NewCertPool()
	pool.AddCert(certificates.Certificate())
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(pool, "")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = connection.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	f.client, f.server = telemetrypb.NewTelemetryClient(connection), server
	return f
}

type stream = grpc.BidiStreamingClient[telemetrypb.AgentMessage, telemetrypb.AggregatorMessage]

func (f fixture) dial(t *testing.T, token string) stream {
	t.Helper()
	ctx := t.Context()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	s, err := f.client.Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hello(protocol uint32, node string) *telemetrypb.AgentMessage {
	return &telemetrypb.AgentMessage{Message: &telemetrypb.AgentMessage_Hello{
		Hello: &telemetrypb.Hello{Protocol: protocol, Node: node, Session: "s1", AgentVersion: "test"},
	}}
}

// newer is the Hello of an agent that speaks a range of protocols.
func newer(protocol, oldest uint32) *telemetrypb.AgentMessage {
	m := hello(protocol, "node-a")
	m.GetHello().OldestProtocol = oldest
	return m
}

// welcomed is a stream on which Hello and Welcome were said.
func (f fixture) welcomed(t *testing.T, token, node string) stream {
	t.Helper()
	s := f.dial(t, token)
	if err := s.Send(hello(telemetry.Protocol, node)); err != nil {
		t.Fatal(err)
	}
	m, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if w := m.GetWelcome(); w.GetProtocol() != telemetry.Protocol || w.GetStore() != "store-1" || w.GetAggregatorVersion() != "v2" || w.GetReportIntervalMilliseconds() != 1500 {
		t.Fatalf("the first message is %v, want the Welcome", m)
	}
	return s
}

func frameOf(f *telemetrypb.Frame) *telemetrypb.AgentMessage {
	return &telemetrypb.AgentMessage{Message: &telemetrypb.AgentMessage_Frame{Frame: f}}
}

// batch is a key frame.
func batch(sequence uint64, end time.Time) *telemetrypb.Frame {
	return encode(node(sequence, end))
}

func encode(b telemetry.Batch) *telemetrypb.Frame {
	var framer telemetry.Framer
	var encoder telemetry.Encoder
	return encoder.Encode(framer.Frame(b))
}

func node(sequence uint64, end time.Time) telemetry.Batch {
	return telemetry.Batch{
		Sequence: sequence, Start: end.Add(-time.Second), End: end, OwnersKnown: true,
		Readings: []telemetry.Reading{{
			Device: telemetry.Device{UUID: "GPU-0"},
			Values: telemetry.Values{telemetry.UtilizationMean: 0.5, telemetry.MemoryUsed: 1},
		}},
		Usages: []telemetry.Usage{{
			Owner: telemetry.Owner{Namespace: "default", Pod: "p", Container: "c"}, DeviceUUID: "GPU-0",
			Values: telemetry.Values{telemetry.UtilizationMean: 0.5},
		}},
	}
}

// exchange sends one frame and returns the answer as text.
func exchange(t *testing.T, s stream, b *telemetrypb.Frame) string {
	t.Helper()
	if err := s.Send(frameOf(b)); err != nil {
		t.Fatal(err)
	}
	answer, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if r := answer.GetRefusal(); r != nil {
		return fmt.Sprintf("refusal %d: %s", r.GetSequence(), r.GetReason())
	}
	if d := answer.GetDeferral(); d != nil {
		return fmt.Sprintf("deferral %d for %d ms, report every %d ms, key %v: %s",
			d.GetSequence(), d.GetPauseMilliseconds(), d.GetReportIntervalMilliseconds(), d.GetNeedsKey(), d.GetReason())
	}
	return fmt.Sprintf("ack %d, report every %d ms", answer.GetAck().GetSequence(), answer.GetAck().GetReportIntervalMilliseconds())
}

func (f fixture) counter(t *testing.T, name string) float64 {
	t.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, family := range families {
		if family.GetName() == name {
			for _, m := range family.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}
