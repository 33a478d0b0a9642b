package ingest

import (
	"strings"
	"testing"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

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
