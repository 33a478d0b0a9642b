package stream

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

func TestFramesCanBeReadOnEveryStreamAnew(t *testing.T) {
	var failure error
	values := map[uint64]float64{}
	streams := 0
	s := &aggregator{serve: func(hello *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
		streams++
		decoder := telemetry.NewDecoder(hello.GetNode(), hello.GetSession())
		for i := 0; ; i++ {
			m, err := stream.Recv()
			if err != nil {
				return err
			}
			f, err := decoder.Decode(m.GetFrame())
			if err != nil {
				failure = err
				return err
			}
			if m.GetFrame().GetKey() != (i == 0) {
				t.Errorf("frame %d of a stream: key is %v", i, m.GetFrame().GetKey())
			}
			values[f.Sequence] = f.Values[0]
			if err := stream.Send(ack(f.Sequence, 0)); err != nil {
				return err
			}
			if i == 20 && streams < 3 {
				return status.Error(codes.Unavailable, "going down")
			}
		}
	}}
	ca := s.start(t)
	a := runAgent(t, 60, s.address, func(o *Options) { o.CAFile = ca })
	if err := a.box.store("store").waitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if failure != nil || len(values) != 60 || streams != 3 {
		t.Errorf("%d batches on %d streams, error %v", len(values), streams, failure)
	}
	for n, v := range values {
		if v != float64(n) {
			t.Errorf("batch %d has the value %v", n, v)
		}
	}
}

func TestAnswersMayComeInAnyOrder(t *testing.T) {
	s := &aggregator{serve: func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
		var got []uint64
		for len(got) < 30 {
			m, err := stream.Recv()
			if err != nil {
				return err
			}
			got = append(got, m.GetFrame().GetSequence())
		}
		for _, n := range slices.Backward(got) {
			if err := stream.Send(ack(n, 0)); err != nil {
				return err
			}
		}
		<-stream.Context().Done()
		return nil
	}}
	ca := s.start(t)
	a := runAgent(t, 30, s.address, func(o *Options) { o.CAFile = ca })
	if err := a.box.store("store").waitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.box.store("store").streams != 1 {
		t.Errorf("%d streams; want one", a.box.store("store").streams)
	}
}

func TestDeferredBatchIsKeptForItsPause(t *testing.T) {
	s := &aggregator{serve: func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
		for i := 0; ; i++ {
			m, err := stream.Recv()
			if err != nil {
				return err
			}
			answer := ack(m.GetFrame().GetSequence(), 0)
			switch i {
			case 0:
				answer = deferral(m.GetFrame().GetSequence(), 2*time.Second, false)
			case 1:
				answer = deferral(m.GetFrame().GetSequence(), 0, false)
			case 2:
				answer = deferral(m.GetFrame().GetSequence(), 0, true)
			case 3:
				answer = deferral(m.GetFrame().GetSequence(), 24*time.Hour, false)
				answer.GetDeferral().ReportIntervalMilliseconds = 7000
			}
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
	}}
	ca := s.start(t)
	a := runAgent(t, 10, s.address, func(o *Options) { o.CAFile = ca })
	box := a.box.store("store")
	if err := box.waitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, acked, refused := box.stats(); acked != 10 || refused != 0 {
		t.Errorf("%d acknowledged, %d refused", acked, refused)
	}
	for i, shortest := range []time.Duration{2 * time.Second, defaultPause, 0, longestPause} {
		if got := box.pauses[i]; got < shortest || got > shortest*3/2 {
			t.Errorf("pause %d is %v; want %v to half more", i, got, shortest)
		}
	}
	if len(a.pace) == 0 || <-a.pace != 7*time.Second {
		t.Error("the report interval that a deferral names is not heeded")
	}
	if got := a.log.String(); strings.Count(got, "the disk is full") != 1 {
		t.Errorf("want one line for the four:\n%s", got)
	}
}

func TestFrameThatCouldNotBeReadIsFollowedByAKeyFrame(t *testing.T) {
	var keys, sequences []uint64
	s := &aggregator{serve: func(hello *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
		decoder := telemetry.NewDecoder(hello.GetNode(), hello.GetSession())
		for i := 0; ; i++ {
			m, err := stream.Recv()
			if err != nil {
				return err
			}
			n := m.GetFrame().GetSequence()
			if m.GetFrame().GetKey() {
				keys = append(keys, n)
			}
			if i == 5 { // as if it had not come
				decoder = telemetry.NewDecoder(hello.GetNode(), hello.GetSession())
			}
			answer := ack(n, 0)
			if _, err := decoder.Decode(m.GetFrame()); err != nil {
				answer = deferral(n, 0, true)
			} else {
				sequences = append(sequences, n)
			}
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
	}}
	ca := s.start(t)
	a := runAgent(t, 200, s.address, func(o *Options) { o.CAFile = ca })
	if err := a.box.store("store").waitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(sequences)
	if len(keys) != 2 || len(slices.Compact(sequences)) != 200 {
		t.Errorf("key frames %v, %d batches were read", keys, len(sequences))
	}
}

func TestBatchThatIsLongerThanAnyAggregatorTakesIsDroppedAlone(t *testing.T) {
	var sequences []uint64
	ready := make(chan struct{})
	s := &aggregator{greet: func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
		<-ready
		return stream.Send(welcome(telemetry.Protocol, "store", 0))
	}, serve: func(hello *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
		decoder := telemetry.NewDecoder(hello.GetNode(), hello.GetSession())
		for {
			m, err := stream.Recv()
			if err != nil {
				return err
			}
			f, err := decoder.Decode(m.GetFrame())
			if err != nil {
				t.Error(err)
				return err
			}
			sequences = append(sequences, f.Sequence)
			if err := stream.Send(ack(f.Sequence, 0)); err != nil {
				return err
			}
		}
	}}
	ca := s.start(t)
	a := runAgent(t, 3, s.address, func(o *Options) { o.CAFile = ca })
	a.box.update(func() { a.box.frames[1].Problems = []string{strings.Repeat("x", telemetry.MaxMessageBytes)} })
	close(ready)
	if err := a.box.store("store").waitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, acked, refused := a.box.store("store").stats(); acked != 2 || refused != 1 || !slices.Equal(sequences, []uint64{1, 3}) {
		t.Errorf("batches %v arrived, %d acknowledged, %d refused; want 1 and 3 to arrive", sequences, acked, refused)
	}
	if log := a.log.String(); !strings.Contains(log, "sequence=2") || !strings.Contains(log, "is dropped") {
		t.Errorf("log:\n%s", log)
	}
}

// unknown is a field that only a newer aggregator knows.
func unknown() []byte {
	return protowire.AppendString(protowire.AppendTag(nil, 999, protowire.BytesType), "news")
}

func TestWhatANewerAggregatorAddsIsIgnored(t *testing.T) {
	news := func() *telemetrypb.AggregatorMessage {
		m := &telemetrypb.AggregatorMessage{}
		m.ProtoReflect().SetUnknown(unknown())
		return m
	}
	s := &aggregator{
		greet: func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
			w := welcome(2, "store", time.Second)
			w.GetWelcome().ProtoReflect().SetUnknown(unknown())
			if err := stream.Send(news()); err != nil {
				return err
			}
			return stream.Send(w)
		},
		serve: func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
			for {
				m, err := stream.Recv()
				if err != nil {
					return err
				}
				answer := ack(m.GetFrame().GetSequence(), 0)
				answer.GetAck().ProtoReflect().SetUnknown(unknown())
				if err := stream.Send(news()); err != nil {
					return err
				}
				if err := stream.Send(answer); err != nil {
					return err
				}
			}
		}}
	ca := s.start(t)
	a := runAgent(t, 20, s.address, func(o *Options) { o.CAFile = ca })
	if err := a.box.store("store").waitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.box.store("store").streams != 1 {
		t.Errorf("%d streams; want one", a.box.store("store").streams)
	}
}

func TestAggregatorOfAnotherProtocolIsNamed(t *testing.T) {
	for what, c := range map[string]struct {
		greet func(*telemetrypb.Hello, telemetrypb.Telemetry_StreamServer) error
		want  string
	}{
		"it refuses": {func(h *telemetrypb.Hello, _ telemetrypb.Telemetry_StreamServer) error {
			return status.Errorf(codes.FailedPrecondition, "protocol %d is not known here: this aggregator speaks 1", h.GetProtocol())
		}, "this agent, which speaks protocol 2 to 2; update the older of the two"},
		"it answers in an older one": {func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
			return stream.Send(welcome(1, "store", 0))
		}, "answered in protocol 1: this agent speaks 2 to 2; update the older of the two"},
		"it answers in a newer one": {func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
			return stream.Send(welcome(3, "store", 0))
		}, "answered in protocol 3"},
		"it has no store": {func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
			return stream.Send(welcome(2, "", 0))
		}, "does not name its store"},
		"it does not greet": {func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
			return stream.Send(ack(1, 0))
		}, "answered the greeting with"},
	} {
		s := &aggregator{greet: c.greet, serve: func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
			if m, err := stream.Recv(); err == nil {
				t.Errorf("%s, and is sent %v", what, m)
			}
			return nil
		}}
		ca := s.start(t)
		a := runAgent(t, 1, s.address, func(o *Options) { o.CAFile = ca })
		eventually(t, what, func() bool { return strings.Contains(a.log.String(), c.want) })
		if a.up() != 0 || a.box.store("store").streams != 0 {
			t.Errorf("%s, and is connected", what)
		}
	}
}
