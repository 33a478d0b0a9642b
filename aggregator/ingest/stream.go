package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

// Stream handles one agent's stream. It is called by gRPC.
func (s *Server) Stream(stream grpc.BidiStreamingServer[telemetrypb.AgentMessage, telemetrypb.AggregatorMessage]) error {
	log := s.opts.Logger
	if p, ok := peer.FromContext(stream.Context()); ok {
		log = log.With("peer", p.Addr.String())
	}
	hello, err := s.welcome(stream)
	if err != nil {
		s.metrics.rejected.WithLabelValues(status.Code(err).String()).Inc()
		log.Warn("agent turned away", "err", err)
		return err
	}
	log = log.With("node", hello.GetNode(), "session", hello.GetSession())
	log.Info("agent connected", "version", hello.GetAgentVersion())
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()
	if err := stream.Send(s.welcomeTo(hello)); err != nil {
		log.Info("agent disconnected", "reason", reasonOf(err))
		return endOf(err)
	}

	out := &answers{server: s, node: hello.GetNode(), log: log, send: stream, queue: make(chan answer, waitingAnswers)}
	sent := make(chan error, 1)
	go func() { sent <- out.run() }()
	err = s.read(stream, hello, log, out.queue)
	close(out.queue)
	if failed := <-sent; failed != nil && errors.Is(err, io.EOF) {
		err = failed
	}
	log.Info("agent disconnected", "reason", reasonOf(err))
	return endOf(err)
}

// read takes frames until the stream ends.
func (s *Server) read(stream grpc.BidiStreamingServer[telemetrypb.AgentMessage, telemetrypb.AggregatorMessage], hello *telemetrypb.Hello, log *slog.Logger, out chan<- answer) error {
	in := &reader{server: s, log: log, decoder: telemetry.NewDecoder(hello.GetNode(), hello.GetSession()), lane: s.writers.laneOf(hello.GetNode())}
	defer in.close()
	for {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		switch m := message.GetMessage().(type) {
		case *telemetrypb.AgentMessage_Frame:
			next, err := in.take(stream.Context(), m.Frame)
			if err != nil {
				return err
			}
			out <- next
		case *telemetrypb.AgentMessage_Hello:
			return status.Error(codes.InvalidArgument, "a second Hello: only the first message of a stream may be one")
		default: // a kind of message that only newer agents know
		}
	}
}

// welcome finds out who calls and reads the Hello.
func (s *Server) welcome(stream grpc.BidiStreamingServer[telemetrypb.AgentMessage, telemetrypb.AggregatorMessage]) (*telemetrypb.Hello, error) {
	caller, err := s.authenticate(stream.Context())
	if err != nil {
		return nil, err
	}
	message, err := stream.Recv()
	if err != nil {
		return nil, endOf(err)
	}
	hello := message.GetHello()
	switch {
	case hello == nil:
		return nil, status.Error(codes.InvalidArgument, "the first message must be a Hello")
	case hello.GetProtocol() < telemetry.OldestProtocol || hello.GetOldestProtocol() > telemetry.Protocol:
		return nil, status.Errorf(codes.FailedPrecondition, "agent speaks protocols %d to %d, this aggregator %d to %d: upgrade the older of the two",
			hello.GetOldestProtocol(), hello.GetProtocol(), telemetry.OldestProtocol, telemetry.Protocol)
	case hello.GetNode() == "" || len(hello.GetNode()) > maxNameBytes || hello.GetSession() == "" || len(hello.GetSession()) > maxNameBytes:
		return nil, status.Errorf(codes.InvalidArgument, "Hello is of node %q, session %q: each must have 1 to %d bytes",
			shorten(hello.GetNode()), shorten(hello.GetSession()), maxNameBytes)
	case !caller.AnyNode && caller.Node != hello.GetNode():
		return nil, status.Errorf(codes.PermissionDenied, "Hello is of node %q, but the token of %s is bound to node %q",
			hello.GetNode(), caller.Name, caller.Node)
	}
	return hello, nil
}

func (s *Server) welcomeTo(hello *telemetrypb.Hello) *telemetrypb.AggregatorMessage {
	return &telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Welcome{Welcome: &telemetrypb.Welcome{
		Protocol: min(hello.GetProtocol(), telemetry.Protocol), Store: s.opts.Store, AggregatorVersion: s.opts.Version,
		ReportIntervalMilliseconds: uint32(s.pace.Interval().Milliseconds()),
	}}}
}

func (s *Server) authenticate(ctx context.Context) (Caller, error) {
	token := bearerToken(ctx)
	if token == "" {
		return Caller{}, status.Error(codes.Unauthenticated, `no token: "authorization: Bearer <token>" must come with the stream`)
	}
	ctx, cancel := context.WithTimeout(ctx, authenticateTimeout)
	defer cancel()
	caller, err := s.opts.Authenticate(ctx, token)
	if err == nil {
		return caller, nil
	}
	var answered interface{ HTTPStatus() int }
	if errors.As(err, &answered) {
		switch answered.HTTPStatus() {
		case http.StatusUnauthorized:
			return Caller{}, status.Error(codes.Unauthenticated, err.Error())
		case http.StatusForbidden:
			return Caller{}, status.Error(codes.PermissionDenied, err.Error())
		}
	}
	return Caller{}, status.Errorf(codes.Unavailable, "the token cannot be checked now: %v", err)
}

func bearerToken(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, value := range md.Get("authorization") {
		scheme, token, ok := strings.Cut(value, " ")
		if ok && strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(token)
		}
	}
	return ""
}

// reader brings the frames of one stream through.
type reader struct {
	server  *Server
	log     *slog.Logger
	decoder *telemetry.Decoder
	checker checker
	lane    int
	values  int    // of a frame
	newest  uint64 // the largest sequence that was read
}

// take reads one frame, shows it to the sink and hands it to the store. An error ends the stream.
func (r *reader) take(ctx context.Context, in *telemetrypb.Frame) (answer, error) {
	s, sequence := r.server, in.GetSequence()
	frame, err := r.decoder.Decode(in)
	if err != nil {
		var lost *telemetry.NeedsKeyError
		if errors.As(err, &lost) {
			return answer{sequence: sequence, now: s.deferred(&telemetrypb.Deferral{Sequence: sequence, Reason: err.Error(), NeedsKey: true})}, nil
		}
		return answer{sequence: sequence, now: s.refuse(sequence, classInvalid, err.Error(), r.decoder.Lost())}, nil
	}
	if reason := r.checker.check(frame); reason != "" {
		return answer{sequence: sequence, now: s.refuse(sequence, classInvalid, reason, false)}, nil
	}
	now := s.opts.Now()
	is, first := standingOf(frame.End, now), sequence > r.newest
	r.newest = max(r.newest, sequence)
	if first {
		s.clocks.note(r.log, frame.Node, is, frame.End, now)
	}
	if is == tooEarly {
		return answer{sequence: sequence, now: s.refuse(sequence, classFuture, is.describe(frame.Node, frame.End, now), false), logged: first}, nil
	}
	if n := len(frame.Values); n != r.values {
		s.pace.resize(n - r.values)
		r.values = n
	}
	// Decisions are made from memory: neither a disk that is full nor a clock that is wrong must make a pod's load unknown. What is
	// stored late must have been seen before, or it would be taken for the present.
	s.opts.Sink.Put(frame, now)
	if is == early {
		s.metrics.appendFailures.Inc()
		return answer{sequence: sequence, now: s.deferred(&telemetrypb.Deferral{Sequence: sequence, Reason: is.describe(frame.Node, frame.End, now),
			PauseMilliseconds: uint32(pauseFor(frame.End, now, first).Milliseconds())})}, nil
	}
	stored, err := s.writers.put(ctx, r.lane, frame)
	return answer{sequence: sequence, stored: stored}, err
}

func (r *reader) close() { r.server.pace.resize(-r.values) }

// endOf is what a handler returns when its stream is over: the agent hanging up is not an error.
func endOf(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func reasonOf(err error) string {
	if errors.Is(err, io.EOF) {
		return "closed by the agent"
	}
	return fmt.Sprint(err)
}
