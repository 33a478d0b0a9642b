package swarm

import (
	"crypto/x509"
	"errors"
	"net"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

// receiver is a real gRPC server over TLS. answer says what to answer to the k-th frame that came, over all streams; nil breaks the stream.
type receiver struct {
	telemetrypb.UnimplementedTelemetryServer
	answer func(k int, f telemetry.Frame) *telemetrypb.AggregatorMessage

	mu    sync.Mutex
	came  []telemetry.Frame
	hello *telemetrypb.Hello
	token []string
}

func ack(_ int, f telemetry.Frame) *telemetrypb.AggregatorMessage {
	return &telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Ack{Ack: &telemetrypb.Ack{Sequence: f.Sequence, ReportIntervalMilliseconds: 7000}}}
}

func (r *receiver) Stream(stream telemetrypb.Telemetry_StreamServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	md, _ := metadata.FromIncomingContext(stream.Context())
	hello := first.GetHello()
	r.mu.Lock()
	r.hello, r.token = hello, md.Get("authorization")
	r.mu.Unlock()
	welcome := &telemetrypb.Welcome{Protocol: telemetry.Protocol, Store: "store", ReportIntervalMilliseconds: 3000}
	if err := stream.Send(&telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	decoder := telemetry.NewDecoder(hello.GetNode(), hello.GetSession())
	for {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		var answer *telemetrypb.AggregatorMessage
		f, err := decoder.Decode(message.GetFrame())
		var needsKey *telemetry.NeedsKeyError
		switch {
		case errors.As(err, &needsKey):
			answer = deferral(message.GetFrame().GetSequence(), true)
		case err != nil:
			return err
		default:
			r.mu.Lock()
			r.came = append(r.came, f)
			k := len(r.came)
			r.mu.Unlock()
			if answer = r.answer(k, f); answer == nil {
				return status.Error(codes.Unavailable, "broken")
			}
			if answer.GetDeferral().GetNeedsKey() {
				decoder = telemetry.NewDecoder(hello.GetNode(), hello.GetSession())
			}
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

func deferral(sequence uint64, needsKey bool) *telemetrypb.AggregatorMessage {
	return &telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Deferral{Deferral: &telemetrypb.Deferral{Sequence: sequence, Reason: "not now", NeedsKey: needsKey}}}
}

// deliver lets one agent bring a backlog of windows, and returns the swarm when it is stopped.
func deliver(t *testing.T, r *receiver, windows int, o Options) *Swarm {
	t.Helper()
	certified := httptest.NewTLSServer(nil)
	certified.Close()
	o.Roots = x509.NewCertPool()
	o.Roots.AddCert(certified.Certificate())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certified.TLS.Certificates[0])))
	telemetrypb.RegisterTelemetryServer(server, r)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	o.Address, o.ServerName, o.Token, o.Agents, o.Seed = listener.Addr().String(), "127.0.0.1", "word", 1, 5
	o.Backlog = &Backlog{From: begin, To: begin.Add(time.Duration(windows) * time.Second), Window: time.Second}
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	for s.Acknowledged.Load()+s.Refused.Load() < int64(windows) {
		if t.Context().Err() != nil {
			t.Fatalf("%d of %d acknowledged; %s", s.Acknowledged.Load(), windows, s.Complaint())
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.Stop()
	return s
}

func TestFramesArriveAsTheyWereMade(t *testing.T) {
	r := &receiver{answer: ack}
	var acknowledged []telemetry.Frame
	s := deliver(t, r, 300, Options{Node: NodeOptions{PodLife: time.Minute}, Acknowledged: func(f telemetry.Frame) { acknowledged = append(acknowledged, f) }})
	same := NewNode(acknowledged[0].Node, acknowledged[0].Session, 0, 5, NodeOptions{PodLife: time.Minute})
	for i := range 300 {
		want, got := window(same, i), r.came[i]
		if got.Sequence != want.Sequence || !got.End.Equal(want.End) || !slices.Equal(got.Values, want.Values) || !slices.Equal(got.Layout.Uses, want.Layout.Uses) ||
			acknowledged[i].Sequence != want.Sequence || !slices.Equal(acknowledged[i].Values, want.Values) {
			t.Fatalf("frame %d came as %+v", i+1, got)
		}
	}
	if h := r.hello; h.GetProtocol() != telemetry.Protocol || h.GetNode() != acknowledged[0].Node || r.token[0] != "Bearer word" {
		t.Errorf("hello %v, token %v", h, r.token)
	}
	if s.Interval() != 7*time.Second || s.Acknowledged.Load() != 300 || s.AcknowledgedSamples.Load() != s.SentSamples.Load() || s.WireBytes.Load() < 300*160/2 || s.Waiting() != 0 {
		t.Errorf("interval %v, %d acknowledged, %d bytes, %d waiting", s.Interval(), s.Acknowledged.Load(), s.WireBytes.Load(), s.Waiting())
	}
}

func TestWhatIsDeferredUnreadableOrCutOffComesAgain(t *testing.T) {
	acknowledged := map[uint64]int{}
	r := &receiver{answer: func(k int, f telemetry.Frame) *telemetrypb.AggregatorMessage {
		switch k % 50 {
		case 10:
			return deferral(f.Sequence, false)
		case 20:
			return deferral(f.Sequence, true)
		case 30:
			return nil
		}
		acknowledged[f.Sequence]++
		return ack(k, f)
	}}
	s := deliver(t, r, 200, Options{})
	for i := range uint64(200) {
		// What was acknowledged as the stream broke, the agent may not have heard.
		if acknowledged[i+1] < 1 {
			t.Errorf("frame %d was never acknowledged", i+1)
		}
	}
	if s.Deferred.Load() < 8 || s.Streams.Load() < 4 || s.Connected.Load() != 0 {
		t.Errorf("%d deferred, %d streams, %d connected", s.Deferred.Load(), s.Streams.Load(), s.Connected.Load())
	}
}

func TestRefusedFramesAreNotSentAgain(t *testing.T) {
	r := &receiver{answer: func(k int, f telemetry.Frame) *telemetrypb.AggregatorMessage {
		if f.Sequence == 3 {
			return &telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Refusal{Refusal: &telemetrypb.Refusal{Sequence: 3, Reason: "wrong"}}}
		}
		return ack(k, f)
	}}
	if s := deliver(t, r, 20, Options{}); s.Refused.Load() != 1 || s.Acknowledged.Load() != 19 || len(r.came) != 20 || s.Complaint() != "wrong" {
		t.Errorf("%d refused, %d acknowledged, %d came, %q", s.Refused.Load(), s.Acknowledged.Load(), len(r.came), s.Complaint())
	}
}

func TestNewestFrameGoesBeforeALongBacklogAndAShortOneGoesInOrder(t *testing.T) {
	a := &agent{node: NewNode("n", "s", 0, 1, NodeOptions{GPUs: 1})}
	for i := range inOrder {
		a.waiting = append(a.waiting, waiting{frame: window(a.node, i)})
	}
	if i := a.choose(begin); i != 0 {
		t.Errorf("of %d the one at %d goes first", len(a.waiting), i)
	}
	a.waiting = append(a.waiting, waiting{frame: window(a.node, inOrder)})
	if i := a.choose(begin); i != inOrder {
		t.Errorf("of %d the one at %d goes first", len(a.waiting), i)
	}
	a.waiting[inOrder].sent, a.inFlight, a.newest = begin, 1, inOrder+1
	if i := a.choose(begin); i != 0 {
		t.Errorf("after the newest the one at %d goes", i)
	}
	a.paused = begin.Add(time.Second)
	if i := a.choose(begin); i != -1 {
		t.Errorf("in a pause the one at %d goes", i)
	}
	a.waiting = append(a.waiting, waiting{frame: window(a.node, inOrder+1)})
	if i := a.choose(begin); i != inOrder+1 {
		t.Errorf("in a pause the one at %d goes; want the newest", i)
	}
}
