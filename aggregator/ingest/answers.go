package ingest

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

const (
	// waitingAnswers is how many frames of one stream may wait for their answer; agents send at most half as many ahead.
	waitingAnswers = 128
	// deferFor is the pause agents are asked for before they send again what could not be stored.
	deferFor = 5 * time.Second
)

// answer is what a frame gets: known at once where stored is nil, else when the store has spoken.
type answer struct {
	sequence uint64
	stored   <-chan error
	now      *telemetrypb.AggregatorMessage
	// logged is true when what it says was logged already.
	logged bool
}

// answers sends the answers of one stream in the order of its frames.
type answers struct {
	server  *Server
	node    string
	log     *slog.Logger
	send    grpc.BidiStreamingServer[telemetrypb.AgentMessage, telemetrypb.AggregatorMessage]
	queue   chan answer
	refused int
}

// run sends until the queue is closed or the stream is over; what waits then is not answered, and the agent sends it again.
func (a *answers) run() error {
	for next := range a.queue {
		message := next.now
		if next.stored != nil {
			message = a.server.answerTo(next.sequence, a.node, <-next.stored)
		}
		if r := message.GetRefusal(); r != nil && !next.logged {
			a.logRefusal(r)
		}
		if err := a.send.Send(message); err != nil {
			for range a.queue { // the reader finds out by itself; until then nothing may wait for room
			}
			return err
		}
	}
	return nil
}

// answerTo turns what the store said into an answer.
func (s *Server) answerTo(sequence uint64, node string, err error) *telemetrypb.AggregatorMessage {
	var refused refusal
	switch {
	case err == nil:
		return &telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Ack{Ack: &telemetrypb.Ack{
			Sequence: sequence, ReportIntervalMilliseconds: uint32(s.pace.Interval().Milliseconds()), NodeDraining: s.opts.Draining(node),
		}}}
	case errors.As(err, &refused):
		class, reason := refused.Refusal()
		return s.refuse(sequence, class, reason, false)
	}
	return s.deferred(&telemetrypb.Deferral{Sequence: sequence, Reason: err.Error(), PauseMilliseconds: uint32(deferFor.Milliseconds())})
}

func (s *Server) refuse(sequence uint64, class, reason string, needsKey bool) *telemetrypb.AggregatorMessage {
	s.metrics.refused.WithLabelValues(class).Inc()
	return &telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Refusal{Refusal: &telemetrypb.Refusal{
		Sequence: sequence, Reason: reason, NeedsKey: needsKey,
	}}}
}

// deferred says how often to report, too: while nothing can be stored there is no other answer.
func (s *Server) deferred(d *telemetrypb.Deferral) *telemetrypb.AggregatorMessage {
	d.ReportIntervalMilliseconds = uint32(s.pace.Interval().Milliseconds())
	return &telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Deferral{Deferral: d}}
}

// logRefusal warns of a stream's first refusal; an agent that does everything wrong would fill the log with the rest.
func (a *answers) logRefusal(r *telemetrypb.Refusal) {
	level := slog.LevelWarn
	if a.refused > 0 {
		level = slog.LevelDebug
	}
	a.refused++
	a.log.Log(context.Background(), level, "batch refused", "sequence", r.GetSequence(), "reason", r.GetReason())
}
