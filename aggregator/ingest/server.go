// Package ingest is the aggregator's end of the agents' streams.
//
//	token → node → Hello → Welcome
//	frame → decode → check → sink (live) → a writer's group → store (durable) → Ack
//
// An acknowledgement is sent after the store returned, never before. A frame that can never be taken is refused with the
// reason; one that cannot be stored now, because the disk is full or the clock here has not reached it, is deferred, and the agent
// sends it again. The stream goes on in either case, so that the live view goes on. Each acknowledgement and deferral says how
// often to report: the load decides.
package ingest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

const (
	// authenticateTimeout bounds the question who calls.
	authenticateTimeout = 10 * time.Second
	// defaultConnectionAge makes agents come back now and then, so that tokens are looked at again.
	defaultConnectionAge = 45 * time.Minute
)

type appender interface {
	// AppendFrames returns an error for each frame: nil when it is durable, one with a method Refusal() (class, reason string)
	// when it never will be; any other is transient.
	AppendFrames(ctx context.Context, frames []telemetry.Frame) []error
}

type sink interface {
	Put(f telemetry.Frame, now time.Time)
}

// Caller is who holds a token.
type Caller struct {
	// Name is for the log, such as system:serviceaccount:foretide-system:foretide-agent.
	Name string
	// Node is the only node the caller may speak for.
	Node string
	// AnyNode lets it speak for every node; Node is empty then.
	AnyNode bool
}

// Options of the server. Appender, Sink, Authenticate and TLS are needed.
type Options struct {
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Appender   appender
	Sink       sink
	// Authenticate tells who holds a bearer token. An error with a method HTTPStatus() int of 401 or 403 is the caller's
	// fault; any other means that it could not be found out now.
	Authenticate func(ctx context.Context, token string) (Caller, error)
	// TLS is the server's configuration, with its certificate.
	TLS *tls.Config
	// Store names the history that the appender writes, and Version the aggregator; agents are told both.
	Store, Version string
	// Pace bounds how often agents report. Zero values mean 1 s, 15 s and [DefaultSamplesPerSecond].
	Pace PaceOptions
	// Draining reports whether a node is being drained: its agent then gives the driver back once no pod holds a GPU. Nil means none is.
	Draining func(node string) bool
	// MaxConnectionAge is how long a connection may last, ±10 %; 0 means 45 minutes.
	MaxConnectionAge time.Duration
	// Now is the clock windows are checked against; nil means time.Now.
	Now func() time.Time
}

// Server takes the agents' streams.
type Server struct {
	opts    Options
	metrics *metrics
	grpc    *grpc.Server
	pace    *pace
	writers *writers
	clocks  *clocks
	// stopped ends the looks at the load.
	stopped chan struct{}
	stop    sync.Once
	looking sync.WaitGroup

	telemetrypb.UnimplementedTelemetryServer
}

// NewServer returns a server that waits for Serve.
func NewServer(o Options) (*Server, error) {
	switch {
	case o.Appender == nil || o.Sink == nil || o.Authenticate == nil:
		return nil, errors.New("ingest needs an appender, a sink and a way to authenticate")
	case o.TLS == nil:
		return nil, errors.New("ingest needs a TLS configuration: tokens do not travel in the clear")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Pace = o.Pace.withDefaults()
	if o.Draining == nil {
		o.Draining = func(string) bool { return false }
	}
	if o.MaxConnectionAge == 0 {
		o.MaxConnectionAge = defaultConnectionAge
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, metrics: m, pace: newPace(o.Pace, time.Now()), clocks: newClocks(), stopped: make(chan struct{})}
	m.interval = s.pace.Interval
	s.writers = startWriters(o.Appender, s.pace, m, o.Logger)
	s.looking.Go(s.lookAtLoad)
	s.grpc = grpc.NewServer(
		grpc.Creds(credentials.NewTLS(o.TLS)),
		grpc.MaxRecvMsgSize(telemetry.MaxMessageBytes),
		grpc.MaxConcurrentStreams(16),
		grpc.ConnectionTimeout(20*time.Second),
		// A frame is a kilobyte or two: gRPC's own 32 KiB each way would be most of what a stream costs.
		grpc.ReadBufferSize(4<<10), grpc.WriteBufferSize(4<<10),
		// Stop returns when no handler runs any more, so that the store may be closed after it.
		grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: 30 * time.Second, Timeout: 10 * time.Second,
			// A stream never ends by itself: without a grace it would outlive its connection's age for ever.
			MaxConnectionAge: o.MaxConnectionAge, MaxConnectionAgeGrace: 30 * time.Second,
		}),
		// The library's own minimum of 5 minutes would send agents away that ping through a silent network.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)
	telemetrypb.RegisterTelemetryServer(s.grpc, s)
	return s, nil
}

// Serve takes connections until Stop; it closes the listener. Nil after Stop.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve agents on %s: %w", l.Addr(), err)
	}
	return nil
}

// Stop ends every stream and returns when the last frame under way is stored. What was not acknowledged is sent again by the
// agents to whoever answers next. It must be called, also when Serve was not; again does nothing.
func (s *Server) Stop() {
	s.stop.Do(func() {
		s.grpc.Stop()
		close(s.stopped)
		s.looking.Wait()
		s.writers.stop()
	})
}

// ReportInterval is what agents are asked for now.
func (s *Server) ReportInterval() time.Duration { return s.pace.Interval() }

func (s *Server) lookAtLoad() {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.stopped:
			return
		case now := <-ticker.C:
			s.pace.look(now, len(s.writers.lanes))
		}
	}
}
