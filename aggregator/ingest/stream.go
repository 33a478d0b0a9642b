package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

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

	refused := 0
	for {
		message, err := stream.Recv()
		if err != nil {
			log.Info("agent disconnected", "reason", reasonOf(err))
			return endOf(err)
		}
		var answer *telemetrypb.AggregatorMessage
		switch m := message.GetMessage().(type) {
		case *telemetrypb.AgentMessage_Batch:
			answer, err = s.take(stream.Context(), hello, m.Batch)
		case *telemetrypb.AgentMessage_Hello:
			err = status.Error(codes.InvalidArgument, "a second Hello: only the first message of a stream may be one")
		default:
			continue // a kind of message that only newer agents know
		}
		if err != nil {
			log.Warn("stream ended", "err", err)
			return err
		}
		if r := answer.GetRefusal(); r != nil {
			s.logRefusal(log, r, refused)
			refused++
		}
		if err := stream.Send(answer); err != nil {
			log.Info("agent disconnected", "reason", reasonOf(err))
			return endOf(err)
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
	case hello.GetProtocol() != telemetry.Protocol:
		return nil, status.Errorf(codes.FailedPrecondition, "protocol %d is not known here: this aggregator speaks %d",
			hello.GetProtocol(), telemetry.Protocol)
	case hello.GetNode() == "" || len(hello.GetNode()) > maxNameBytes || hello.GetSession() == "" || len(hello.GetSession()) > maxNameBytes:
		return nil, status.Errorf(codes.InvalidArgument, "Hello is of node %q, session %q: each must have 1 to %d bytes",
			shorten(hello.GetNode()), shorten(hello.GetSession()), maxNameBytes)
	case !caller.AnyNode && caller.Node != hello.GetNode():
		return nil, status.Errorf(codes.PermissionDenied, "Hello is of node %q, but the token of %s is bound to node %q",
			hello.GetNode(), caller.Name, caller.Node)
	}
	return hello, nil
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

// take brings one batch through: an Ack when it is durable, a Refusal when it never will be, an error when it may be later.
func (s *Server) take(ctx context.Context, hello *telemetrypb.Hello, in *telemetrypb.Batch) (*telemetrypb.AggregatorMessage, error) {
	now := s.opts.Now()
	batch, err := telemetry.FromProto(hello.GetNode(), hello.GetSession(), in)
	if err != nil {
		return s.refuse(in.GetSequence(), classInvalid, err.Error()), nil
	}
	if class, reason := check(batch, now); class != "" {
		return s.refuse(batch.Sequence, class, reason), nil
	}
	// Decisions are made from memory: a disk that is full must not make a pod's load unknown.
	s.opts.Sink.Put(batch, now)
	began := time.Now()
	err = s.opts.Appender.AppendBatch(ctx, batch)
	s.metrics.appendSeconds.Observe(time.Since(began).Seconds())
	if err != nil {
		var refused interface{ Refusal() (class, reason string) }
		if errors.As(err, &refused) {
			class, reason := refused.Refusal()
			return s.refuse(batch.Sequence, class, reason), nil
		}
		s.metrics.appendFailures.Inc()
		return nil, status.Errorf(codes.Unavailable, "batch %d cannot be stored now, send it again: %v", batch.Sequence, err)
	}
	s.metrics.batches.Inc()
	s.metrics.samples.Add(float64(samples(batch)))
	return &telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Ack{Ack: &telemetrypb.Ack{
		Sequence:                   batch.Sequence,
		ReportIntervalMilliseconds: uint32(max(0, s.opts.ReportInterval().Milliseconds())),
		NodeDraining:               s.opts.Draining(batch.Node),
	}}}, nil
}

func (s *Server) refuse(sequence uint64, class, reason string) *telemetrypb.AggregatorMessage {
	s.metrics.refused.WithLabelValues(class).Inc()
	return &telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Refusal{Refusal: &telemetrypb.Refusal{
		Sequence: sequence, Reason: reason,
	}}}
}

// logRefusal warns of a stream's first refusal; an agent that does everything wrong would fill the log with the rest.
func (s *Server) logRefusal(log *slog.Logger, r *telemetrypb.Refusal, before int) {
	level := slog.LevelWarn
	if before > 0 {
		level = slog.LevelDebug
	}
	log.Log(context.Background(), level, "batch refused", "sequence", r.GetSequence(), "reason", r.GetReason())
}

func samples(b telemetry.Batch) int {
	n := 0
	for _, r := range b.Readings {
		n += len(r.Values)
	}
	for _, u := range b.Usages {
		n += len(u.Values)
	}
	return n
}

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
