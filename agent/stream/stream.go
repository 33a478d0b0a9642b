// Package stream carries the spool's batches to the aggregator: one gRPC stream, kept up for as long as the agent runs.
//
//	spool → Hello, batches in order → aggregator → acknowledgements, refusals, report interval → spool, sampler
package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

const (
	// maxInFlight is how many batches may wait for their acknowledgement.
	maxInFlight = 64
	// maxSilence is how long the aggregator may leave a batch unanswered before the stream is given up and a new one made.
	maxSilence = time.Minute
	// pingAfter and pingTimeout find a peer that is gone without a word. The aggregator allows a ping every 10 s.
	pingAfter, pingTimeout = 20 * time.Second, 10 * time.Second
	// refusalLogEvery bounds how often refusals are logged.
	refusalLogEvery = time.Minute
)

// Batches is what is to be sent: the spool.
type Batches interface {
	// Next waits for the oldest unacknowledged batch above a sequence.
	Next(ctx context.Context, after uint64) (*telemetrypb.Batch, error)
	// Ack forgets all batches up to a sequence.
	Ack(sequence uint64)
	// Refuse forgets one batch that will never be taken.
	Refuse(sequence uint64)
}

// Options configures a [Stream].
type Options struct {
	// Address is the aggregator's host:port.
	Address string
	// CAFile holds the certificate authorities (PEM) to trust; empty trusts the system's.
	CAFile string
	// ServerName is the name the aggregator's certificate must have; empty takes the host of Address.
	ServerName string
	// TokenFile holds the bearer token to send; empty sends none.
	TokenFile string
	// Node, Session and Version go into the Hello.
	Node, Session, Version string
	Batches                Batches
	// SetReportInterval is told how often the aggregator wants a batch.
	SetReportInterval func(time.Duration)
	// SetDraining is told whether the node is being drained; nil is not told.
	SetDraining func(bool)
	Logger      *slog.Logger
}

// Stream is the connection to one aggregator.
type Stream struct {
	o         Options
	connected atomic.Bool
	refusals  refusalLog
}

// New returns a stream that Run brings up.
func New(o Options) *Stream {
	if o.SetDraining == nil {
		o.SetDraining = func(bool) {}
	}
	return &Stream{o: o, refusals: refusalLog{logger: o.Logger}}
}

// Connected reports whether the aggregator has answered on a stream that is up.
func (s *Stream) Connected() bool { return s.connected.Load() }

// Run sends until ctx ends. Whatever ends a stream, another is tried after a pause; the reason is logged when it is not the
// one before.
func (s *Stream) Run(ctx context.Context) {
	var pause backoff
	logged := ""
	for {
		answered, err := s.once(ctx)
		s.connected.Store(false)
		if ctx.Err() != nil {
			return
		}
		if answered {
			pause.reset()
			logged = ""
		}
		wait := pause.next(rand.Float64())
		if text := err.Error(); text != logged {
			s.o.Logger.Warn("no stream to the aggregator", "address", s.o.Address, "error", err, "retry", wait.Round(time.Millisecond))
			logged = text
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// once makes one stream and sends on it until it ends. It reports whether the aggregator answered at all.
func (s *Stream) once(ctx context.Context) (answered bool, err error) {
	conn, err := s.dial()
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := telemetrypb.NewTelemetryClient(conn).Stream(ctx)
	if err != nil {
		return false, fmt.Errorf("connect: %w", err)
	}
	hello := &telemetrypb.Hello{Protocol: telemetry.Protocol, Node: s.o.Node, Session: s.o.Session, AgentVersion: s.o.Version}
	if err := stream.Send(&telemetrypb.AgentMessage{Message: &telemetrypb.AgentMessage_Hello{Hello: hello}}); err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("say hello: %w", err)
	}
	inFlight := newFlight(maxInFlight, maxSilence, func() {
		cancel(fmt.Errorf("the aggregator acknowledged nothing for %v", maxSilence))
	})
	defer inFlight.stop()
	received := make(chan struct{})
	go func() {
		defer close(received)
		cancel(s.receive(stream, inFlight, &answered))
	}()
	// EOF from Send only says that the stream ended; why, the receiver learns.
	if err := s.send(ctx, stream, inFlight); err != nil && !errors.Is(err, io.EOF) {
		cancel(err)
	}
	<-received
	return answered, context.Cause(ctx)
}

func (s *Stream) dial() (*grpc.ClientConn, error) {
	transport, err := s.transport()
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithReadBufferSize(4 << 10), grpc.WithWriteBufferSize(8 << 10),
	}
	if s.o.TokenFile != "" {
		options = append(options, grpc.WithPerRPCCredentials(fileToken(s.o.TokenFile)))
	}
	return grpc.NewClient("dns:///"+s.o.Address, options...)
}

type outgoing interface {
	Send(*telemetrypb.AgentMessage) error
}

// send sends every unacknowledged batch from the oldest on, and then each new one.
func (s *Stream) send(ctx context.Context, to outgoing, inFlight *flight) error {
	var after uint64
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case inFlight.slots <- struct{}{}:
		}
		b, err := s.o.Batches.Next(ctx, after)
		if err != nil {
			return err
		}
		after = b.GetSequence()
		inFlight.add(after)
		if err := to.Send(&telemetrypb.AgentMessage{Message: &telemetrypb.AgentMessage_Batch{Batch: b}}); err != nil {
			return err
		}
	}
}

type incoming interface {
	Recv() (*telemetrypb.AggregatorMessage, error)
}

// receive takes answers until the stream ends, and returns why it did.
func (s *Stream) receive(from incoming, inFlight *flight, answered *bool) error {
	for {
		message, err := from.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("the aggregator ended the stream")
		}
		if err != nil {
			return err
		}
		if !*answered {
			*answered = true
			s.connected.Store(true)
			s.o.Logger.Info("stream to the aggregator is up", "address", s.o.Address)
		}
		switch m := message.GetMessage().(type) {
		case *telemetrypb.AggregatorMessage_Ack:
			if err := inFlight.answered(m.Ack.GetSequence()); err != nil {
				return err
			}
			s.o.Batches.Ack(m.Ack.GetSequence())
			if ms := m.Ack.GetReportIntervalMilliseconds(); ms > 0 {
				s.o.SetReportInterval(time.Duration(ms) * time.Millisecond)
			}
			s.o.SetDraining(m.Ack.GetNodeDraining())
		case *telemetrypb.AggregatorMessage_Refusal:
			if inFlight.refused(m.Refusal.GetSequence()) {
				s.o.Batches.Refuse(m.Refusal.GetSequence())
				s.refusals.add(m.Refusal, time.Now())
			}
		}
	}
}

// refusalLog logs refusals, at most one line per refusalLogEvery.
type refusalLog struct {
	logger *slog.Logger
	next   time.Time
	silent int
}

func (l *refusalLog) add(r *telemetrypb.Refusal, now time.Time) {
	if now.Before(l.next) {
		l.silent++
		return
	}
	l.logger.Warn("the aggregator refused a batch; it is dropped", "sequence", r.GetSequence(), "reason", r.GetReason(), "notLogged", l.silent)
	l.next, l.silent = now.Add(refusalLogEvery), 0
}
