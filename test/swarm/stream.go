package swarm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

// once makes one stream and answers for it until it ends. It reports whether the aggregator said welcome.
func (a *agent) once(ctx context.Context) (welcomed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+a.swarm.options.Address, a.swarm.dial...)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	stream, err := telemetrypb.NewTelemetryClient(conn).Stream(ctx)
	if err != nil {
		return false, err
	}
	hello := &telemetrypb.Hello{Protocol: telemetry.Protocol, OldestProtocol: telemetry.OldestProtocol, Node: a.node.Name, Session: a.node.Session,
		AgentVersion: "swarm"}
	// Why a stream cannot be sent on is said by Recv.
	_ = stream.Send(&telemetrypb.AgentMessage{Message: &telemetrypb.AgentMessage_Hello{Hello: hello}})
	first, err := stream.Recv()
	if err != nil {
		return false, err
	}
	welcome := first.GetWelcome()
	if welcome == nil || welcome.GetProtocol() != telemetry.Protocol || welcome.GetStore() == "" {
		return false, fmt.Errorf("the aggregator answered the Hello with %v: want a Welcome of protocol %d with a store", first, telemetry.Protocol)
	}
	a.swarm.Streams.Add(1)
	a.swarm.Connected.Add(1)
	defer a.swarm.Connected.Add(-1)
	a.up(stream, cancel, welcome.GetReportIntervalMilliseconds())
	defer a.down()
	for {
		message, err := stream.Recv()
		if err != nil {
			if ctx.Err() != nil {
				err = nil // it was us who hung up
			}
			return true, err
		}
		if err := a.answered(message); err != nil {
			return true, err
		}
	}
}

func (a *agent) up(stream telemetrypb.Telemetry_StreamClient, hangUp context.CancelFunc, interval uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.stream, a.hangUp, a.newest, a.paused, a.until = stream, hangUp, 0, time.Time{}, time.Time{}
	if life := a.swarm.options.StreamLife; life > 0 {
		a.until = now.Add(time.Duration(a.random.ExpFloat64() * float64(life)))
	}
	a.encoder.Reset()
	a.pace(interval)
	a.pump(now)
}

// down makes everything unsent again.
func (a *agent) down() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stream, a.inFlight = nil, 0
	for i := range a.waiting {
		a.waiting[i].sent = time.Time{}
	}
}

// pace sets the report interval. A shorter one than before ends a window that is longer already with the next look at the GPUs, which
// the shipped agent takes each second; the first after a longer one was asked for ends anywhere within it, as the shipped agent's does.
func (a *agent) pace(milliseconds uint32) {
	if milliseconds == 0 || a.timer == nil {
		return
	}
	before := a.interval
	a.interval = time.Duration(milliseconds) * time.Millisecond
	if a.interval > before {
		a.due = time.Now().Add(time.Duration(a.random.Float64() * float64(a.interval)))
		a.timer.Reset(time.Until(a.due))
		return
	}
	if next := a.last.Add(a.interval); a.interval < before && next.Before(a.due) {
		if now := time.Now(); next.Before(now) {
			next = now.Add(time.Duration(a.random.Float64() * float64(time.Second)))
		}
		a.due = next
		a.timer.Reset(time.Until(next))
	}
}

// answered takes one answer, and sends what there is room for now.
func (a *agent) answered(message *telemetrypb.AggregatorMessage) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	switch m := message.GetMessage().(type) {
	case *telemetrypb.AggregatorMessage_Ack:
		w, err := a.take(m.Ack.GetSequence())
		if err != nil {
			return err
		}
		a.pace(m.Ack.GetReportIntervalMilliseconds())
		a.swarm.Acknowledged.Add(1)
		a.swarm.AcknowledgedSamples.Add(int64(len(w.frame.Values)))
		if a.swarm.options.Backlog == nil {
			a.swarm.Waits.Add(now.Sub(w.made).Seconds() / w.interval.Seconds())
		}
		if told := a.swarm.options.Acknowledged; told != nil {
			told(w.frame)
		}
	case *telemetrypb.AggregatorMessage_Refusal:
		if _, err := a.take(m.Refusal.GetSequence()); err != nil {
			return err
		}
		a.swarm.Refused.Add(1)
		a.swarm.complain(m.Refusal.GetReason())
		a.lost(m.Refusal.GetNeedsKey())
	case *telemetrypb.AggregatorMessage_Deferral:
		i, err := a.find(m.Deferral.GetSequence())
		if err != nil {
			return err
		}
		a.waiting[i].sent = time.Time{}
		a.inFlight--
		a.pace(m.Deferral.GetReportIntervalMilliseconds())
		if until := now.Add(time.Duration(m.Deferral.GetPauseMilliseconds()) * time.Millisecond); until.After(a.paused) {
			a.paused = until
		}
		a.swarm.Deferred.Add(1)
		a.swarm.complain(m.Deferral.GetReason())
		a.lost(m.Deferral.GetNeedsKey())
	}
	a.pump(now)
	return nil
}

func (a *agent) lost(needsKey bool) {
	if needsKey {
		a.encoder.Reset()
	}
}

// take forgets a frame that has its final answer.
func (a *agent) take(sequence uint64) (waiting, error) {
	i, err := a.find(sequence)
	if err != nil {
		return waiting{}, err
	}
	w := a.waiting[i]
	a.waiting = slices.Delete(a.waiting, i, i+1)
	a.inFlight--
	return w, nil
}

// find is the place of a frame that was sent on this stream. An answer to anything else is the aggregator's fault.
func (a *agent) find(sequence uint64) (int, error) {
	i, found := slices.BinarySearchFunc(a.waiting, sequence, func(w waiting, s uint64) int {
		switch {
		case w.frame.Sequence < s:
			return -1
		case w.frame.Sequence > s:
			return 1
		}
		return 0
	})
	if !found || a.waiting[i].sent.IsZero() {
		return 0, errors.New("the aggregator answered frame " + fmt.Sprint(sequence) + ", which is not in flight")
	}
	return i, nil
}
