package stream

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

func TestBatchesArriveInOrderAndAreForgottenWhenAcknowledged(t *testing.T) {
	var hello *telemetrypb.Hello
	var got []uint64
	s := &aggregator{serve: func(h *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
		hello = h
		for {
			m, err := stream.Recv()
			if err != nil {
				return err
			}
			got = append(got, m.GetFrame().GetSequence())
			if err := stream.Send(ack(m.GetFrame().GetSequence(), 5*time.Second)); err != nil {
				return err
			}
		}
	}}
	ca := s.start(t)
	a := runAgent(t, 200, s.address, func(o *Options) { o.CAFile = ca })
	if err := a.box.store("store").waitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if hello.GetNode() != "node-1" || hello.GetSession() != "word" || hello.GetProtocol() != 2 || hello.GetOldestProtocol() != 2 || hello.GetAgentVersion() != "v1" {
		t.Errorf("hello = %v", hello)
	}
	if len(got) != 200 || !slices.IsSorted(got) || got[0] != 1 {
		t.Errorf("sequences = %v", got)
	}
	if d := <-a.pace; d != 5*time.Second {
		t.Errorf("report interval = %v", d)
	}
	if a.up() != 1 {
		t.Error("not connected")
	}
}

func TestUnacknowledgedBatchesAreSentAgainOnTheNextStream(t *testing.T) {
	streams := make(chan []uint64, 10)
	first := true
	s := &aggregator{serve: func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
		var got []uint64
		defer func() { streams <- got }()
		for range 10 {
			m, err := stream.Recv()
			if err != nil {
				return err
			}
			got = append(got, m.GetFrame().GetSequence())
			if first && len(got) == 10 {
				first = false
				if err := stream.Send(ack(4, 0)); err != nil {
					return err
				}
				return status.Error(codes.Unavailable, "going down")
			}
			if !first {
				if err := stream.Send(ack(m.GetFrame().GetSequence(), 0)); err != nil {
					return err
				}
			}
		}
		return nil
	}}
	ca := s.start(t)
	a := runAgent(t, 10, s.address, func(o *Options) { o.CAFile = ca })
	<-streams
	if err := a.box.store("store").waitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.box.put(1)
	if err := a.box.store("store").waitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reason is logged", func() bool { return strings.Contains(a.log.String(), "going down") })
	if _, acked, _ := a.box.store("store").stats(); acked != 11 {
		t.Errorf("%d acknowledged; want 11", acked)
	}
}

func TestSecondStreamBeginsAfterWhatWasAcknowledged(t *testing.T) {
	begins := make(chan uint64, 10)
	n := 0
	s := &aggregator{serve: func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
		n++
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		begins <- m.GetFrame().GetSequence()
		if n == 1 {
			if err := stream.Send(ack(m.GetFrame().GetSequence(), 0)); err != nil {
				return err
			}
		}
		return nil
	}}
	ca := s.start(t)
	runAgent(t, 3, s.address, func(o *Options) { o.CAFile = ca })
	if got := []uint64{<-begins, <-begins, <-begins}; !slices.Equal(got, []uint64{1, 2, 2}) {
		t.Errorf("streams began with %v; want 1, then 2 until it is acknowledged", got)
	}
}

func TestRefusedBatchIsDroppedAndTheStreamGoesOn(t *testing.T) {
	s := &aggregator{serve: func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
		for {
			m, err := stream.Recv()
			if err != nil {
				return err
			}
			answer := ack(m.GetFrame().GetSequence(), 0)
			if m.GetFrame().GetSequence()%2 == 0 {
				answer = refuse(m.GetFrame().GetSequence(), "window is in the future")
			}
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
	}}
	ca := s.start(t)
	a := runAgent(t, 300, s.address, func(o *Options) { o.CAFile = ca })
	if err := a.box.store("store").waitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, acked, refused := a.box.store("store").stats(); refused != 150 || acked != 150 {
		t.Errorf("%d refused, %d acknowledged; want half and half", refused, acked)
	}
	if got := a.log.String(); strings.Count(got, "refused a batch") != 1 || !strings.Contains(got, "window is in the future") {
		t.Errorf("log:\n%s", got)
	}
}

func TestAnswerToWhatWasNeverSentEndsTheStream(t *testing.T) {
	s := &aggregator{serve: func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		if err := stream.Send(ack(1_000_000, 0)); err != nil {
			return err
		}
		<-stream.Context().Done()
		return nil
	}}
	ca := s.start(t)
	a := runAgent(t, 1, s.address, func(o *Options) { o.CAFile = ca })
	eventually(t, "it is logged", func() bool { return strings.Contains(a.log.String(), "answered batch 1000000") })
	if waiting, acked, _ := a.box.store("store").stats(); waiting != 1 || acked != 0 {
		t.Errorf("%d waiting, %d acknowledged; want nothing to be forgotten", waiting, acked)
	}
}

func TestMissingAuthorityIsAStateUntilItIsPublished(t *testing.T) {
	s := &aggregator{serve: acknowledgeAll}
	ca := s.start(t)
	later := filepath.Join(t.TempDir(), "ca.crt")
	a := runAgent(t, 1, s.address, func(o *Options) { o.CAFile = later })
	eventually(t, "the missing file is named", func() bool { return strings.Contains(a.log.String(), later) })
	if a.up() != 0 {
		t.Error("connected without an authority")
	}
	if err := os.Rename(ca, later); err != nil {
		t.Fatal(err)
	}
	if err := a.box.store("store").waitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestFileWithoutCertificateIsNamed(t *testing.T) {
	a := runAgent(t, 1, "127.0.0.1:1", func(o *Options) { o.CAFile = writeFile(t, "ca.crt", []byte("nothing")) })
	eventually(t, "it is logged", func() bool { return strings.Contains(a.log.String(), "holds no PEM certificate") })
}

func TestServerOfAnotherAuthorityOrNameIsNotTrusted(t *testing.T) {
	reached := make(chan struct{}, 100)
	s := &aggregator{serve: func(*telemetrypb.Hello, telemetrypb.Telemetry_StreamServer) error {
		reached <- struct{}{}
		return nil
	}}
	ca := s.start(t)
	_, other := certify(t)
	byAuthority := runAgent(t, 1, s.address, func(o *Options) { o.CAFile = writeFile(t, "other.crt", other) })
	byName := runAgent(t, 1, s.address, func(o *Options) { o.CAFile, o.ServerName = ca, "somebody.else" })
	eventually(t, "the authority is refused", func() bool { return strings.Contains(byAuthority.log.String(), "unknown authority") })
	eventually(t, "the name is refused", func() bool { return strings.Contains(byName.log.String(), "somebody.else") })
	if len(reached) != 0 {
		t.Error("something was said to a server that is not trusted")
	}
}

func TestTokenIsReadAnewForEachStream(t *testing.T) {
	tokens := make(chan string, 10)
	s := &aggregator{serve: func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
		tokens <- token(stream)
		return status.Error(codes.Unauthenticated, "token expired")
	}}
	ca := s.start(t)
	file := writeFile(t, "token", []byte("one\n"))
	a := runAgent(t, 1, s.address, func(o *Options) { o.CAFile, o.TokenFile = ca, file })
	if got := <-tokens; got != "Bearer one" {
		t.Errorf("token = %q", got)
	}
	if err := os.WriteFile(file, []byte("two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := <-tokens; got != "Bearer two" {
		t.Errorf("token = %q", got)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the empty token is named", func() bool { return strings.Contains(a.log.String(), "is empty") })
	if got := a.log.String(); !strings.Contains(got, "token expired") || a.up() != 0 {
		t.Errorf("%d connected, log:\n%s", a.up(), got)
	}
}

func acknowledgeAll(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := stream.Send(ack(m.GetFrame().GetSequence(), 0)); err != nil {
			return err
		}
	}
}
