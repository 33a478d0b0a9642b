// Package ingest is the aggregator's end of the agents' streams.
//
//	token → node → Hello → batch → check → sink (live) → appender (durable) → Ack
//
// An acknowledgement is sent after the appender returned, never before. A batch that can never be taken is refused with the
// reason and the stream goes on; when the store cannot take a good batch now, the stream ends without an acknowledgement and
// the agent sends it again on the next one.
package ingest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

const (
	// maxMessageBytes bounds one batch; one of 8 GPUs has about a kilobyte.
	maxMessageBytes = 4 << 20
	// authenticateTimeout bounds the question who calls.
	authenticateTimeout = 10 * time.Second
	// defaultReportInterval is what agents are asked for when Options does not say.
	defaultReportInterval = time.Second
	// defaultConnectionAge makes agents come back now and then, so that tokens are looked at again.
	defaultConnectionAge = 45 * time.Minute
)

type appender interface {
	// AppendBatch returns nil when the batch is durable. An error with a method Refusal() (class, reason string) means it
	// never will be; any other error is transient.
	AppendBatch(ctx context.Context, b telemetry.Batch) error
}

type sink interface {
	Put(b telemetry.Batch, now time.Time)
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
	// ReportInterval is asked for each acknowledgement; nil means one second.
	ReportInterval func() time.Duration
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
	if o.ReportInterval == nil {
		o.ReportInterval = func() time.Duration { return defaultReportInterval }
	}
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
	s := &Server{opts: o, metrics: m}
	s.grpc = grpc.NewServer(
		grpc.Creds(credentials.NewTLS(o.TLS)),
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxConcurrentStreams(16),
		grpc.ConnectionTimeout(20*time.Second),
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

// Stop ends every stream and returns when the last batch under way is done. What was not acknowledged is sent again by the
// agents to whoever answers next.
func (s *Server) Stop() {
	s.grpc.Stop()
}
