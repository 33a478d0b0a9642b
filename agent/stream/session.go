package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

const (
	// defaultPause is for a deferral that names none, and longestPause for one that names more.
	defaultPause, longestPause = 5 * time.Second, 5 * time.Minute
	// complainEvery bounds how often refusals, and deferrals, of one aggregator are logged.
	complainEvery = time.Minute
)

// session is one stream, from Hello on.
type session struct {
	link     *link
	stream   telemetrypb.Telemetry_StreamClient
	flight   *flight
	receiver Receiver // after the Welcome
}

// greet says Hello and waits for the Welcome. It returns the name of the store.
func (s *session) greet() (store string, err error) {
	o := s.link.stream.o
	hello := &telemetrypb.Hello{Protocol: telemetry.Protocol, OldestProtocol: telemetry.OldestProtocol, Node: o.Node, Session: o.Session,
		AgentVersion: o.Version}
	// EOF from Send only says that the stream ended; why, Recv says.
	if err := s.stream.Send(&telemetrypb.AgentMessage{Message: &telemetrypb.AgentMessage_Hello{Hello: hello}}); err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("say hello: %w", err)
	}
	for {
		message, err := s.next()
		if err != nil {
			return "", err
		}
		switch m := message.GetMessage().(type) {
		case nil: // of a newer aggregator
		case *telemetrypb.AggregatorMessage_Welcome:
			if p := m.Welcome.GetProtocol(); p < telemetry.OldestProtocol || p > telemetry.Protocol {
				return "", fmt.Errorf("the aggregator answered in protocol %d: this agent speaks %d to %d; update the older of the two",
					p, telemetry.OldestProtocol, telemetry.Protocol)
			}
			if m.Welcome.GetStore() == "" {
				return "", errors.New("the aggregator's welcome does not name its store")
			}
			s.ask(m.Welcome.GetReportIntervalMilliseconds(), nil)
			return m.Welcome.GetStore(), nil
		default:
			return "", fmt.Errorf("the aggregator answered the greeting with %T", m)
		}
	}
}

// next is the next message; that the aggregator ended the stream is an error, too.
func (s *session) next() (*telemetrypb.AggregatorMessage, error) {
	message, err := s.stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil, errEnded
	}
	return message, err
}

// send sends what the receiver gives until the stream ends.
func (s *session) send(ctx context.Context, cancel context.CancelCauseFunc) {
	var encoder telemetry.Encoder
	for {
		frame, err := s.receiver.Next(ctx)
		if err != nil {
			cancel(err)
			return
		}
		if key := s.flight.add(frame.Sequence); key {
			encoder.Reset()
		}
		message := &telemetrypb.AgentMessage{Message: &telemetrypb.AgentMessage_Frame{Frame: encoder.Encode(frame)}}
		if size := proto.Size(message); size > telemetry.MaxMessageBytes {
			if err := s.drop(frame.Sequence, size); err != nil {
				cancel(err)
				return
			}
			continue
		}
		err = s.stream.Send(message)
		if errors.Is(err, io.EOF) {
			return // the receiving side learns why
		}
		if err != nil {
			cancel(err)
			return
		}
	}
}

// drop is for a batch that would end the stream, and each one after it.
func (s *session) drop(sequence uint64, size int) error {
	if err := s.flight.answered(sequence, true); err != nil {
		return err
	}
	s.receiver.Refuse(sequence)
	s.link.oversize.say(time.Now(), "a batch is longer than any aggregator takes; it is dropped", "address", s.link.replica.address,
		"sequence", sequence, "bytes", size, "allowed", telemetry.MaxMessageBytes)
	return nil
}

// receive takes answers until the stream ends, and returns why it did.
func (s *session) receive() error {
	for {
		message, err := s.next()
		if err != nil {
			return err
		}
		switch m := message.GetMessage().(type) {
		case *telemetrypb.AggregatorMessage_Ack:
			err = s.acknowledged(m.Ack)
		case *telemetrypb.AggregatorMessage_Refusal:
			err = s.refused(m.Refusal)
		case *telemetrypb.AggregatorMessage_Deferral:
			err = s.deferred(m.Deferral)
		}
		if err != nil {
			return err
		}
	}
}

func (s *session) acknowledged(a *telemetrypb.Ack) error {
	if err := s.flight.answered(a.GetSequence(), false); err != nil {
		return err
	}
	s.receiver.Ack(a.GetSequence())
	draining := a.GetNodeDraining()
	s.ask(a.GetReportIntervalMilliseconds(), &draining)
	return nil
}

func (s *session) refused(r *telemetrypb.Refusal) error {
	if err := s.flight.answered(r.GetSequence(), r.GetNeedsKey()); err != nil {
		return err
	}
	s.receiver.Refuse(r.GetSequence())
	s.link.refusals.say(time.Now(), "the aggregator refused a batch; it is dropped", "address", s.link.replica.address,
		"sequence", r.GetSequence(), "reason", r.GetReason())
	return nil
}

func (s *session) deferred(d *telemetrypb.Deferral) error {
	if err := s.flight.answered(d.GetSequence(), d.GetNeedsKey()); err != nil {
		return err
	}
	pause := min(time.Duration(d.GetPauseMilliseconds())*time.Millisecond, longestPause)
	if pause == 0 && !d.GetNeedsKey() { // what only could not be read may come again at once
		pause = defaultPause
	}
	s.ask(d.GetReportIntervalMilliseconds(), nil)
	// Never before the pause is over, and not all agents at once.
	s.receiver.Defer(d.GetSequence(), between(pause, pause*3/2))
	s.link.deferrals.say(time.Now(), "the aggregator cannot take a batch now; it is kept and sent again", "address", s.link.replica.address,
		"sequence", d.GetSequence(), "reason", d.GetReason(), "pause", pause)
	return nil
}

// ask hands on what the aggregator wishes; draining is nil when it does not say.
func (s *session) ask(intervalMilliseconds uint32, draining *bool) {
	s.link.stream.wishes.change(s.link, func(w *wish) {
		if intervalMilliseconds > 0 {
			w.interval = time.Duration(intervalMilliseconds) * time.Millisecond
		}
		if draining != nil {
			w.draining = draining
		}
	})
}

// rarely logs a kind of complaint at most once per complainEvery.
type rarely struct {
	logger *slog.Logger
	next   time.Time
	silent int
}

func (r *rarely) say(now time.Time, text string, args ...any) {
	if now.Before(r.next) {
		r.silent++
		return
	}
	r.logger.Warn(text, append(args, "notLogged", r.silent)...)
	r.next, r.silent = now.Add(complainEvery), 0
}
