//go:build chaos

package chaos

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
	"github.com/foretide/foretide/test/node"
)

// relay stands between a shipped agent and the aggregator and reads along: it knows which frames the aggregator acknowledged, whether or not
// the agent lived to hear it.
type relay struct {
	telemetrypb.UnimplementedTelemetryServer
	world           *world
	address, caFile string

	mu sync.Mutex
	// sequences are the acknowledged ones.
	sequences map[uint64]bool
}

func newRelay(w *world) *relay {
	w.t.Helper()
	certificate, authority, err := node.Certify()
	if err != nil {
		w.t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	r := &relay{world: w, address: listener.Addr().String(), caFile: filepath.Join(w.t.TempDir(), "ca.crt"), sequences: map[uint64]bool{}}
	if err := os.WriteFile(r.caFile, authority, 0o600); err != nil {
		w.t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
	telemetrypb.RegisterTelemetryServer(server, r)
	go func() { _ = server.Serve(listener) }()
	w.t.Cleanup(server.Stop)
	return r
}

// Stream carries everything in both directions until either end hangs up.
func (r *relay) Stream(agent telemetrypb.Telemetry_StreamServer) error {
	roots, err := r.world.server.Roots()
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	transport := credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "foretide-aggregator", MinVersion: tls.VersionTLS12})
	conn, err := grpc.NewClient("passthrough:///"+r.world.server.Ingest, grpc.WithTransportCredentials(transport))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	md, _ := metadata.FromIncomingContext(agent.Context())
	upstream, err := telemetrypb.NewTelemetryClient(conn).Stream(metadata.NewOutgoingContext(agent.Context(), metadata.MD{"authorization": md.Get("authorization")}))
	if err != nil {
		return err
	}
	hello, err := agent.Recv()
	if err != nil {
		return err
	}
	_ = upstream.Send(hello) // why it cannot be sent is said by Recv
	s := &relayed{relay: r, decoder: telemetry.NewDecoder(hello.GetHello().GetNode(), hello.GetHello().GetSession()), frames: map[uint64]telemetry.Frame{}}
	go s.up(agent, upstream)
	return s.down(upstream, agent)
}

// relayed is one stream.
type relayed struct {
	relay   *relay
	decoder *telemetry.Decoder
	mu      sync.Mutex
	frames  map[uint64]telemetry.Frame
}

func (s *relayed) up(agent telemetrypb.Telemetry_StreamServer, upstream telemetrypb.Telemetry_StreamClient) {
	defer func() { _ = upstream.CloseSend() }()
	for {
		message, err := agent.Recv()
		if err != nil {
			return
		}
		f, err := s.decoder.Decode(message.GetFrame())
		if err != nil {
			s.relay.world.t.Errorf("a shipped agent sent what cannot be read: %v", err)
			return
		}
		s.mu.Lock()
		s.frames[f.Sequence] = f
		s.mu.Unlock()
		if upstream.Send(message) != nil {
			return
		}
	}
}

func (s *relayed) down(upstream telemetrypb.Telemetry_StreamClient, agent telemetrypb.Telemetry_StreamServer) error {
	for {
		message, err := upstream.Recv()
		if err != nil {
			return err
		}
		if ack := message.GetAck(); ack != nil {
			s.mu.Lock()
			f := s.frames[ack.GetSequence()]
			delete(s.frames, ack.GetSequence())
			s.mu.Unlock()
			s.relay.acknowledged(f)
		}
		if r := message.GetRefusal(); r != nil {
			s.relay.world.t.Errorf("a shipped agent's frame %d was refused: %s", r.GetSequence(), r.GetReason())
		}
		if err := agent.Send(message); err != nil {
			return err
		}
	}
}

func (r *relay) acknowledged(f telemetry.Frame) {
	if f.Layout == nil {
		r.world.t.Errorf("the aggregator acknowledged frame %d, which is not in flight", f.Sequence)
		return
	}
	r.world.ledger.acknowledged(f)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sequences[f.Sequence] = true
}

// count is how many different frames were acknowledged.
func (r *relay) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sequences)
}

// missing are the sequences between the acknowledged ones that were not: a run of more than jump is a restart, at which the agent leaves
// some out so that none is ever used twice.
func (r *relay) missing(jump uint64) (missing []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := uint64(0)
	for _, sequence := range sorted(r.sequences) {
		if last > 0 && sequence-last > 1 && sequence-last < jump {
			for m := last + 1; m < sequence; m++ {
				missing = append(missing, m)
			}
		}
		last = sequence
	}
	return missing
}
