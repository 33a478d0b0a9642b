package ingest

import (
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

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
