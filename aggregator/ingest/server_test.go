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
	fail  func(telemetry.Frame) error
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

func TestBatchIsLiveAtOnceAndAcknowledgedWhenDurable(t *testing.T) {
	f := serve(t)
	s := f.welcomed(t, "of-node-a", "node-a")
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
	f.fail = func(f telemetry.Frame) error {
		if f.Sequence == 99 {
			return fmt.Errorf("wrapped: %w", never{"too_old", "an hour too old"})
		}
		return nil
	}
	s := f.welcomed(t, "of-node-a", "node-a")
	change := func(sequence uint64, f func(*telemetry.Batch)) *telemetrypb.Frame {
		b := node(sequence, start)
		f(&b)
		return encode(b)
	}
	cut := batch(12, start)
	cut.Values = cut.Values[:1]
	later := batch(13, start)
	later.Key, later.Identities, later.Columns = false, nil, nil
	for _, c := range []struct {
		name string
		b    *telemetrypb.Frame
		want string
	}{
		{"no sequence", batch(0, start), "refusal 0: sequence is 0"},
		{"window upside down", change(2, func(b *telemetry.Batch) { b.Start = b.End }), "refusal 2: window begins at"},
		{"not a number", change(3, func(b *telemetry.Batch) { b.Readings[0].Values[1] = math.NaN() }), "refusal 3: metric 1 of devices[0] is NaN"},
		{"a ratio of 200 %", change(4, func(b *telemetry.Batch) { b.Usages[0].Values[1] = 2 }), "refusal 4: metric 1 of uses[0] is 2: foretide_device_utilization_ratio is a ratio of 0 to 1"},
		{"no pod", change(5, func(b *telemetry.Batch) { b.Usages[0].Owner.Pod = "" }), `refusal 5: uses[0] is of namespace "default", pod ""`},
		{"far future", batch(6, start.Add(5*time.Minute+time.Second)), "refusal 6: window ends at 2026-03-02T09:05:01Z, 5m1s ahead"},
		{"a long window", change(7, func(b *telemetry.Batch) { b.Start = b.Start.Add(-2 * time.Hour) }), "refusal 7: window is 2h0m1s long"},
		{"a device twice", change(8, func(b *telemetry.Batch) { b.Readings = append(b.Readings, b.Readings[0]) }), `refusal 8: devices[1].uuid "GPU-0" is there twice`},
		{"owners unknown but used", change(9, func(b *telemetry.Batch) { b.OwnersKnown = false }), "refusal 9: owners_known is false, yet there are 1 uses"},
		{"a long name", change(10, func(b *telemetry.Batch) { b.Usages[0].Owner.Pod = strings.Repeat("é", 127) }), "uses[0].pod"},
		{"refused by the store", batch(99, start), "refusal 99: an hour too old"},
		{"cut off", cut, "refusal 12: values"},
		{"one that builds on that", later, "deferral 13 for 0 ms, report every 1500 ms, key true: frame 13 builds on one that could not be read"},
		{"a good one after all that", batch(11, start.Add(5*time.Minute)), "ack 11"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := exchange(t, s, c.b); !strings.Contains(got, c.want) {
				t.Errorf("answer %q, want …%s…", got, c.want)
			}
		})
	}
	if got := f.counter(t, "foretide_aggregator_ingest_refused_batches_total"); got != 12 {
		t.Errorf("%v refused batches counted, want 12", got)
	}
	want := []string{"put 99 at 09:00:00", "put 11 at 09:00:00", "append node-a/s1/11"}
	if diff := cmp.Diff(want, f.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestWhatCannotBeStoredNowIsDeferredAndTheStreamGoesOn(t *testing.T) {
	f := serve(t)
	full := true
	f.fail = func(telemetry.Frame) error {
		if full {
			return errors.New("no space left on device")
		}
		return nil
	}
	s := f.welcomed(t, "of-any", "node-b")
	if got, want := exchange(t, s, batch(1, start)), "deferral 1 for 5000 ms, report every 1500 ms, key false: no space left on device"; got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
	full = false
	if got, want := exchange(t, s, batch(2, start)), "ack 2, report every 1500 ms"; got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
	if diff := cmp.Diff([]string{"put 1 at 09:00:00", "put 2 at 09:00:00", "append node-b/s1/2"}, f.calls); diff != "" {
		t.Errorf("a full disk must not blind the live view: calls (-want +got):\n%s", diff)
	}
	if got := f.counter(t, "foretide_aggregator_ingest_append_failures_total"); got != 1 {
		t.Errorf("%v failures counted, want 1", got)
	}
}

func TestAnswersComeInTheOrderOfTheFrames(t *testing.T) {
	f := serve(t)
	enter, leave := make(chan struct{}, 100), make(chan struct{})
	f.fail = func(telemetry.Frame) error {
		enter <- struct{}{}
		<-leave
		return nil
	}
	s := f.welcomed(t, "of-any", "n")
	wrong := node(2, start)
	wrong.Usages[0].Values[1] = 7
	for _, b := range []*telemetrypb.Frame{batch(1, start), encode(wrong), batch(3, start)} {
		if err := s.Send(frameOf(b)); err != nil {
			t.Fatal(err)
		}
	}
	<-enter // frame 1 is being stored; the refusal of 2 is known
	close(leave)
	var got []string
	for range 3 {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(m.GetAck().GetSequence(), m.GetRefusal().GetSequence()))
	}
	if diff := cmp.Diff([]string{"1 0", "0 2", "3 0"}, got); diff != "" {
		t.Errorf("acknowledged and refused (-want +got):\n%s", diff)
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
		{"no token", "", hello(2, "node-a"), codes.Unauthenticated, "no token"},
		{"unknown token", "wrong", hello(2, "node-a"), codes.Unauthenticated, "answered 401"},
		{"another service account", "forbidden", hello(2, "node-a"), codes.PermissionDenied, "answered 403"},
		{"nobody to ask", "api-down", hello(2, "node-a"), codes.Unavailable, "connection refused"},
		{"another node", "of-node-a", hello(2, "node-b"), codes.PermissionDenied, `Hello is of node "node-b", but the token of agent is bound to node "node-a"`},
		{"a token without a node", "of-nobody", hello(2, "node-b"), codes.PermissionDenied, `bound to node ""`},
		{"no node", "of-any", hello(2, ""), codes.InvalidArgument, `node ""`},
		{"an older protocol", "of-node-a", hello(1, "node-a"), codes.FailedPrecondition, "agent speaks protocols 0 to 1, this aggregator 2 to 2"},
		{"only newer protocols", "of-node-a", newer(4, 3), codes.FailedPrecondition, "agent speaks protocols 3 to 4, this aggregator 2 to 2"},
		{"no Hello", "of-node-a", frameOf(batch(1, start)), codes.InvalidArgument, "must be a Hello"},
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
	if got := f.counter(t, "foretide_aggregator_ingest_rejected_streams_total"); got != 10 {
		t.Errorf("%v streams counted as rejected, want 10", got)
	}
}

func TestAgentOfANewerProtocolThatKnowsOursIsTaken(t *testing.T) {
	f := serve(t)
	s := f.dial(t, "of-node-a")
	if err := s.Send(newer(9, 2)); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Recv(); err != nil || m.GetWelcome().GetProtocol() != 2 {
		t.Errorf("answer %v, %v; want a Welcome to protocol 2", m, err)
	}
}

func TestSecondHelloEndsTheStreamAndUnknownMessagesAreIgnored(t *testing.T) {
	f := serve(t)
	s := f.dial(t, "of-any")
	for _, m := range []*telemetrypb.AgentMessage{hello(2, "n"), {}, hello(2, "n")} {
		if err := s.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "second Hello") {
		t.Errorf("error %v, want InvalidArgument", err)
	}
}

func TestMessageOverTheLimitIsNotTaken(t *testing.T) {
	f := serve(t)
	s := f.dial(t, "of-any")
	huge := batch(1, start)
	huge.Problems = []string{strings.Repeat("x", telemetry.MaxMessageBytes)}
	for _, m := range []*telemetrypb.AgentMessage{hello(2, "n"), frameOf(huge)} {
		if err := s.Send(m); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("error %v, want ResourceExhausted", err)
	}
}

func TestStopWaitsForTheBatchUnderWay(t *testing.T) {
	f := serve(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	done := false
	f.fail = func(telemetry.Frame) error {
		close(entered)
		<-leave
		done = true
		return nil
	}
	s := f.dial(t, "of-any")
	for _, m := range []*telemetrypb.AgentMessage{hello(2, "n"), frameOf(batch(1, start))} {
		if err := s.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	<-entered
	go func() {
		// The stream breaks when Stop has begun; only then may the append go on.
		for _, err := s.Recv(); err == nil; _, err = s.Recv() {
		}
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
		s := f.welcomed(t, "of-any", node)
		if err := s.Send(frameOf(batch(1, start))); err != nil {
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
