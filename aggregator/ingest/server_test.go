package ingest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// room stands for the storage and live rooms and remembers in which order it was called.
type room struct {
	mu    sync.Mutex
	calls []string
	fail  func(telemetry.Batch) error
}

func (r *room) AppendBatch(_ context.Context, b telemetry.Batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		if err := r.fail(b); err != nil {
			return err
		}
	}
	r.calls = append(r.calls, fmt.Sprintf("append %s/%s/%d", b.Node, b.Session, b.Sequence))
	return nil
}

func (r *room) Put(b telemetry.Batch, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, fmt.Sprintf("put %d at %s", b.Sequence, now.Format(time.TimeOnly)))
}

type refusal struct{ class, reason string }

func (e refusal) Error() string             { return e.reason }
func (e refusal) Refusal() (string, string) { return e.class, e.reason }

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
	registry *prometheus.Registry
	client   telemetrypb.TelemetryClient
	server   *Server
}

func serve(t *testing.T) fixture {
	t.Helper()
	certificates := httptest.NewTLSServer(nil)
	t.Cleanup(certificates.Close)
	f := fixture{room: &room{}, registry: prometheus.NewRegistry()}
	server, err := NewServer(Options{
		Registerer: f.registry, Appender: f.room, Sink: f.room, Authenticate: authenticate,
		TLS: &tls.Config{Certificates: certificates.TLS.Certificates}, Now: func() time.Time { return start },
		ReportInterval: func() time.Duration { return 1500 * time.Millisecond },
		Draining:       func(node string) bool { return node == "cordoned" },
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

func batch(sequence uint64, end time.Time) *telemetrypb.Batch {
	return telemetry.ToProto(telemetry.Batch{
		Sequence: sequence, Start: end.Add(-time.Second), End: end, OwnersKnown: true,
		Readings: []telemetry.Reading{{
			Device: telemetry.Device{UUID: "GPU-0"},
			Values: telemetry.Values{telemetry.UtilizationMean: 0.5, telemetry.MemoryUsed: 1},
		}},
		Usages: []telemetry.Usage{{
			Owner: telemetry.Owner{Namespace: "default", Pod: "p", Container: "c"}, DeviceUUID: "GPU-0",
			Values: telemetry.Values{telemetry.UtilizationMean: 0.5},
		}},
	})
}

// exchange sends one batch and returns the answer as text.
func exchange(t *testing.T, s stream, b *telemetrypb.Batch) string {
	t.Helper()
	if err := s.Send(&telemetrypb.AgentMessage{Message: &telemetrypb.AgentMessage_Batch{Batch: b}}); err != nil {
		t.Fatal(err)
	}
	answer, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if r := answer.GetRefusal(); r != nil {
		return fmt.Sprintf("refusal %d: %s", r.GetSequence(), r.GetReason())
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

func TestBatchIsLiveAtOnceAndAcknowledgedWhenDurable(t *testing.T) {
	f := serve(t)
	s := f.dial(t, "of-node-a")
	if err := s.Send(hello(1, "node-a")); err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= 2; i++ {
		if got, want := exchange(t, s, batch(i, start)), fmt.Sprintf("ack %d, report every 1500 ms", i); got != want {
			t.Errorf("answer %q, want %q", got, want)
		}
	}
	want := []string{"put 1 at 09:00:00", "append node-a/s1/1", "put 2 at 09:00:00", "append node-a/s1/2"}
	if diff := cmp.Diff(want, f.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	for name, want := range map[string]float64{
		"foretide_aggregator_ingest_batches_total":           2,
		"foretide_aggregator_ingest_samples_total":           6,
		"foretide_aggregator_ingest_streams":                 1,
		"foretide_aggregator_ingest_append_duration_seconds": 2,
	} {
		if got := f.counter(t, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the agent hung up: %v, want the stream's clean end", err)
	}
}

func TestWrongBatchIsRefusedAndTheStreamGoesOn(t *testing.T) {
	f := serve(t)
	f.fail = func(b telemetry.Batch) error {
		if b.Sequence == 99 {
			return fmt.Errorf("wrapped: %w", refusal{"too_old", "an hour too old"})
		}
		return nil
	}
	s := f.dial(t, "of-node-a")
	if err := s.Send(hello(1, "node-a")); err != nil {
		t.Fatal(err)
	}
	change := func(sequence uint64, f func(*telemetrypb.Batch)) *telemetrypb.Batch {
		b := batch(sequence, start)
		f(b)
		return b
	}
	value := func(m telemetry.Metric, v float64) []*telemetrypb.Value {
		return []*telemetrypb.Value{{Metric: uint32(m), Value: v}}
	}
	for _, c := range []struct {
		name string
		b    *telemetrypb.Batch
		want string
	}{
		{"no sequence", change(0, func(*telemetrypb.Batch) {}), "refusal 0: sequence is 0"},
		{"window upside down", change(2, func(b *telemetrypb.Batch) { b.StartUnixMilliseconds = b.EndUnixMilliseconds }), "refusal 2: window is ["},
		{"not a number", change(3, func(b *telemetrypb.Batch) { b.Readings[0].Values = value(1, math.NaN()) }), "refusal 3: readings[0]: metric 1 is NaN"},
		{"a ratio of 200 %", change(4, func(b *telemetrypb.Batch) { b.Usages[0].Values = value(1, 2) }), "refusal 4: usages[0]: metric 1 is 2: foretide_device_utilization_ratio is a ratio of 0 to 1"},
		{"no pod", change(5, func(b *telemetrypb.Batch) { b.Usages[0].Owner.Pod = "" }), `refusal 5: usages[0] is of namespace "default", pod ""`},
		{"far future", batch(6, start.Add(5*time.Minute+time.Second)), "refusal 6: window ends at 2026-03-02T09:05:01Z, 5m1s ahead"},
		{"a long window", change(7, func(b *telemetrypb.Batch) { b.StartUnixMilliseconds -= 2 * 3600e3 }), "refusal 7: window is 2h0m1s long"},
		{"a device twice", change(8, func(b *telemetrypb.Batch) { b.Readings = append(b.Readings, b.Readings[0]) }), `refusal 8: readings[1].device.uuid "GPU-0" is there twice`},
		{"owners unknown but used", change(9, func(b *telemetrypb.Batch) { b.OwnersKnown = false }), "refusal 9: owners_known is false, yet there are 1 usages"},
		{"a long name", change(10, func(b *telemetrypb.Batch) { b.Usages[0].Owner.Pod = strings.Repeat("é", 127) }), "usages[0].owner.pod"},
		{"refused by the store", batch(99, start), "refusal 99: an hour too old"},
		{"a good one after all that", batch(11, start.Add(5*time.Minute)), "ack 11"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := exchange(t, s, c.b); !strings.Contains(got, c.want) {
				t.Errorf("answer %q, want …%s…", got, c.want)
			}
		})
	}
	if got := f.counter(t, "foretide_aggregator_ingest_refused_batches_total"); got != 11 {
		t.Errorf("%v refused batches counted, want 11", got)
	}
	want := []string{"put 99 at 09:00:00", "put 11 at 09:00:00", "append node-a/s1/11"}
	if diff := cmp.Diff(want, f.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestTransientStorageErrorEndsTheStreamWithoutAcknowledgement(t *testing.T) {
	f := serve(t)
	f.fail = func(telemetry.Batch) error { return errors.New("no space left on device") }
	s := f.dial(t, "of-any")
	for _, m := range []*telemetrypb.AgentMessage{hello(1, "node-b"), {Message: &telemetrypb.AgentMessage_Batch{Batch: batch(1, start)}}} {
		if err := s.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := s.Recv()
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("answer %v, %v; want Unavailable with the reason", answer, err)
	}
	if diff := cmp.Diff([]string{"put 1 at 09:00:00"}, f.calls); diff != "" {
		t.Errorf("a full disk must not blind the live view: calls (-want +got):\n%s", diff)
	}
	if got := f.counter(t, "foretide_aggregator_ingest_append_failures_total"); got != 1 {
		t.Errorf("%v failures counted, want 1", got)
	}
}

func TestWhoMayNotSpeakIsTurnedAwayWithTheReason(t *testing.T) {
	f := serve(t)
	for _, c := range []struct {
		name, token string
		first       *telemetrypb.AgentMessage
		code        codes.Code
		want        string
	}{
		{"no token", "", hello(1, "node-a"), codes.Unauthenticated, "no token"},
		{"unknown token", "wrong", hello(1, "node-a"), codes.Unauthenticated, "answered 401"},
		{"another service account", "forbidden", hello(1, "node-a"), codes.PermissionDenied, "answered 403"},
		{"nobody to ask", "api-down", hello(1, "node-a"), codes.Unavailable, "connection refused"},
		{"another node", "of-node-a", hello(1, "node-b"), codes.PermissionDenied, `Hello is of node "node-b", but the token of agent is bound to node "node-a"`},
		{"a token without a node", "of-nobody", hello(1, "node-b"), codes.PermissionDenied, `bound to node ""`},
		{"no node", "of-any", hello(1, ""), codes.InvalidArgument, `node ""`},
		{"a newer protocol", "of-node-a", hello(2, "node-a"), codes.FailedPrecondition, "protocol 2 is not known here: this aggregator speaks 1"},
		{"no Hello", "of-node-a", &telemetrypb.AgentMessage{Message: &telemetrypb.AgentMessage_Batch{Batch: batch(1, start)}}, codes.InvalidArgument, "must be a Hello"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := f.dial(t, c.token)
			// The server may have ended the stream already; Recv says why.
			if err := s.Send(c.first); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			_, err := s.Recv()
			if status.Code(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v: want %v with …%s…", err, c.code, c.want)
			}
		})
	}
	if got := f.counter(t, "foretide_aggregator_ingest_rejected_streams_total"); got != 9 {
		t.Errorf("%v streams counted as rejected, want 9", got)
	}
}

func TestSecondHelloEndsTheStreamAndUnknownMessagesAreIgnored(t *testing.T) {
	f := serve(t)
	s := f.dial(t, "of-any")
	for _, m := range []*telemetrypb.AgentMessage{hello(1, "n"), {}, hello(1, "n")} {
		if err := s.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Recv(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "second Hello") {
		t.Errorf("error %v, want InvalidArgument", err)
	}
}

func TestMessageOverTheLimitIsNotTaken(t *testing.T) {
	f := serve(t)
	s := f.dial(t, "of-any")
	huge := batch(1, start)
	huge.Problems = []string{strings.Repeat("x", maxMessageBytes)}
	for _, m := range []*telemetrypb.AgentMessage{hello(1, "n"), {Message: &telemetrypb.AgentMessage_Batch{Batch: huge}}} {
		if err := s.Send(m); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	if _, err := s.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("error %v, want ResourceExhausted", err)
	}
}

func TestStopWaitsForTheBatchUnderWay(t *testing.T) {
	f := serve(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	done := false
	f.fail = func(telemetry.Batch) error {
		close(entered)
		<-leave
		done = true
		return nil
	}
	s := f.dial(t, "of-any")
	for _, m := range []*telemetrypb.AgentMessage{hello(1, "n"), {Message: &telemetrypb.AgentMessage_Batch{Batch: batch(1, start)}}} {
		if err := s.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	<-entered
	go func() {
		// The stream breaks when Stop has begun; only then may the append go on.
		_, _ = s.Recv()
		close(leave)
	}()
	f.server.Stop()
	if !done {
		t.Error("Stop returned while a batch was being stored")
	}
}

func TestMissingPartsAreNamed(t *testing.T) {
	r := &room{}
	if _, err := NewServer(Options{Appender: r, Sink: r}); err == nil || !strings.Contains(err.Error(), "authenticate") {
		t.Errorf("without Authenticate: %v", err)
	}
	if _, err := NewServer(Options{Appender: r, Sink: r, Authenticate: authenticate}); err == nil || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("without TLS: %v", err)
	}
}

func TestAgentIsToldThatItsNodeIsBeingDrained(t *testing.T) {
	f := serve(t)
	for node, want := range map[string]bool{"cordoned": true, "node-1": false} {
		s := f.dial(t, "of-any")
		if err := s.Send(hello(telemetry.Protocol, node)); err != nil {
			t.Fatal(err)
		}
		if err := s.Send(&telemetrypb.AgentMessage{Message: &telemetrypb.AgentMessage_Batch{Batch: batch(1, start)}}); err != nil {
			t.Fatal(err)
		}
		answer, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got := answer.GetAck().GetNodeDraining(); got != want {
			t.Errorf("%s is being drained: %v; want %v", node, got, want)
		}
	}
}
