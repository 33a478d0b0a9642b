package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/foretide/foretide/pkg/lane"
	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

// waitFirst to waitLast, less up to half, is the pause before the next stream: twice as long after each that failed.
const waitFirst, waitLast = 500 * time.Millisecond, 30 * time.Second

// link is the connection to one replica.
type link struct {
	stream  *Stream
	replica replica
	// connected means that the aggregator has answered on a stream that is up.
	connected atomic.Bool
	refusals  rarely
	deferrals rarely
	oversize  rarely
	// logged is why there was no stream, as it was logged last; it is run's.
	logged string

	// end ends the link, and missing is since when the replica has not been found any more; both are the stream's.
	end     context.CancelFunc
	missing time.Time
}

func newLink(s *Stream, r replica) *link {
	log := s.o.Logger
	return &link{stream: s, replica: r, refusals: rarely{logger: log}, deferrals: rarely{logger: log}, oversize: rarely{logger: log}}
}

// run sends until ctx ends. Whatever ends a stream, another is tried after a pause.
func (l *link) run(ctx context.Context) {
	pause := lane.Backoff{First: waitFirst, Last: waitLast}
	for ctx.Err() == nil {
		err := l.once(ctx)
		answered := l.connected.Swap(false)
		l.stream.wishes.forget(l)
		if ctx.Err() != nil {
			return
		}
		if answered {
			pause.Succeeded()
			l.logged = ""
		}
		pause.Failed(time.Now())
		wait := between(pause.Wait()/2, pause.Wait())
		l.tell(err, answered, wait)
		select {
		case l.stream.broken <- struct{}{}:
		default:
		}
		sleep(ctx, wait, nil)
	}
}

// tell logs why there is no stream, when that is not what was logged last. That the aggregator ended one that worked is routine:
// it ends each after a while, so that streams are spread anew.
func (l *link) tell(err error, answered bool, retry time.Duration) {
	log := l.stream.o.Logger.With("address", l.replica.address, "host", l.replica.host, "error", err, "retry", retry.Round(time.Millisecond))
	switch text := err.Error(); {
	case answered && isRoutine(err):
		log.Debug("the aggregator ended the stream, another is made")
	case text != l.logged:
		log.Warn("no stream to the aggregator")
		l.logged = text
	}
}

// errEnded says that the aggregator ended the stream without an error.
var errEnded = errors.New("the aggregator ended the stream")

// isRoutine reports whether a stream ended because the aggregator wished so: it ended the stream, or had announced the end of
// the connection (GOAWAY), which gRPC tells in the text alone.
func isRoutine(err error) bool {
	return errors.Is(err, errEnded) ||
		status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "received prior goaway: code: NO_ERROR")
}

// once makes one stream and sends on it until it ends.
func (l *link) once(ctx context.Context) error {
	conn, err := l.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	grpcStream, err := telemetrypb.NewTelemetryClient(conn).Stream(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	s := &session{link: l, stream: grpcStream}
	s.flight = newFlight(func() { cancel(fmt.Errorf("the aggregator left a batch unanswered for %v", maxSilence)) })
	defer s.flight.stop()
	greeting := time.AfterFunc(maxSilence, func() { cancel(fmt.Errorf("the aggregator left the greeting unanswered for %v", maxSilence)) })
	store, err := s.greet()
	greeting.Stop()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return explained(err)
	}
	s.receiver = l.stream.o.Receiver(store)
	defer s.receiver.Close()
	l.connected.Store(true)
	l.stream.o.Logger.Info("stream to the aggregator is up", "address", l.replica.address, "host", l.replica.host, "store", store)
	received := make(chan struct{})
	go func() {
		defer close(received)
		cancel(s.receive())
	}()
	s.send(ctx, cancel)
	<-received
	return explained(context.Cause(ctx))
}

// explained says what to do about an aggregator of another version.
func explained(err error) error {
	if status.Code(err) != codes.FailedPrecondition {
		return err
	}
	return fmt.Errorf("the aggregator does not take this agent, which speaks protocol %d to %d; update the older of the two: %w",
		telemetry.OldestProtocol, telemetry.Protocol, err)
}

func (l *link) dial() (*grpc.ClientConn, error) {
	transport, err := l.stream.o.transport(l.replica.host)
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
	if l.stream.o.TokenFile != "" {
		options = append(options, grpc.WithPerRPCCredentials(fileToken(l.stream.o.TokenFile)))
	}
	return grpc.NewClient("passthrough:///"+l.replica.address, options...)
}
