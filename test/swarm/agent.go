package swarm

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

const (
	// maxInFlight is how many frames may wait for their answer.
	maxInFlight = 64
	// maxWaiting is how many frames are kept: an hour and a half of one a second.
	maxWaiting = 5400
	// maxSilence is how long a frame may be unanswered before the stream is given up.
	maxSilence = time.Minute
	// inOrder is up to how many unsent frames are sent oldest first; with more the newest goes first.
	inOrder = 16
	// waitFirst and waitLast bound the pause between two streams.
	waitFirst, waitLast = 500 * time.Millisecond, 30 * time.Second
)

// agent is one node's.
type agent struct {
	swarm  *Swarm
	random *rand.Rand // of the connecting goroutine

	mu       sync.Mutex
	node     *Node
	waiting  []waiting // ascending
	inFlight int
	interval time.Duration
	stream   telemetrypb.Telemetry_StreamClient // nil while there is none
	hangUp   context.CancelFunc
	until    time.Time // the stream's end by churn; zero is never
	encoder  telemetry.Encoder
	newest   uint64    // sent on this stream
	paused   time.Time // until when the backlog waits
	ended    bool      // all frames are made
	last     time.Time // of the sample before, with its monotonic clock
	due      time.Time // of the next one
	timer    *time.Timer
	next     time.Time // Backlog's
}

// waiting is a frame that has no final answer yet.
type waiting struct {
	frame    telemetry.Frame
	made     time.Time
	interval time.Duration
	sent     time.Time // zero: not on this stream
}

func newAgent(s *Swarm, node *Node, seed uint64) *agent {
	a := &agent{swarm: s, node: node, random: rand.New(rand.NewPCG(seed, 1)), interval: s.options.Interval, last: time.Now()}
	if b := s.options.Backlog; b != nil {
		a.next = b.From
	}
	return a
}

// run is the agent's life: it samples as time goes by, and keeps a stream up.
func (a *agent) run(ctx context.Context, delay time.Duration) {
	if !sleep(ctx, delay) {
		return
	}
	a.begin()
	defer a.end()
	wait := time.Duration(0)
	for {
		welcomed, err := a.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			a.swarm.complain(err.Error())
		}
		if welcomed {
			wait = 0
		}
		wait = min(max(2*wait, waitFirst), waitLast)
		if !sleep(ctx, wait-time.Duration(a.random.Float64()*float64(wait/2))) {
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// begin starts the ticks.
func (a *agent) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = time.Now()
	// Agents that started together shall not report together.
	first := time.Duration((0.1 + 0.9*a.random.Float64()) * float64(a.interval))
	a.due = a.last.Add(first)
	a.timer = time.AfterFunc(first, a.tick)
}

// end is of the agent, not only of its frames.
func (a *agent) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	a.timer.Stop()
	a.timer = nil
}

// tick makes the frame of the window that ends now, unless all there will be are made, and looks after the stream.
func (a *agent) tick() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer == nil {
		return
	}
	now := time.Now()
	if a.due = a.due.Add(a.interval); a.due.Before(now) {
		a.due = now.Add(a.interval)
	}
	a.timer.Reset(a.due.Sub(now))
	if !a.ended && a.swarm.options.Backlog == nil {
		end := a.swarm.options.Clock()
		a.keep(a.node.Next(end.Add(a.last.Sub(now)), end), now)
		a.last = now
	}
	a.tend(now)
	a.pump(now)
}

// tend ends a stream whose time has come, or on which nothing is answered.
func (a *agent) tend(now time.Time) {
	silent := slices.ContainsFunc(a.waiting, func(w waiting) bool { return !w.sent.IsZero() && now.Sub(w.sent) > maxSilence })
	if a.stream != nil && (silent || !a.until.IsZero() && now.After(a.until)) {
		a.hangUp()
	}
}

func (a *agent) keep(f telemetry.Frame, now time.Time) {
	if len(a.waiting) == maxWaiting {
		oldest := slices.IndexFunc(a.waiting, func(w waiting) bool { return w.sent.IsZero() })
		a.waiting = slices.Delete(a.waiting, oldest, oldest+1)
		a.swarm.Dropped.Add(1)
	}
	a.waiting = append(a.waiting, waiting{frame: f, made: now, interval: a.interval})
}

// pump sends what may be sent now. gRPC has room for all that may be in flight, so it does not wait.
func (a *agent) pump(now time.Time) {
	for a.stream != nil && a.inFlight < maxInFlight {
		a.refill(now)
		i := a.choose(now)
		if i < 0 {
			return
		}
		f := a.waiting[i].frame
		a.waiting[i].sent = now
		a.inFlight++
		a.newest = max(a.newest, f.Sequence)
		if a.stream.Send(&telemetrypb.AgentMessage{Message: &telemetrypb.AgentMessage_Frame{Frame: a.encoder.Encode(f)}}) != nil {
			return // the receiving side learns why
		}
		a.swarm.Sent.Add(1)
		a.swarm.SentSamples.Add(int64(len(f.Values)))
	}
}

// refill makes the next frame of a Backlog.
func (a *agent) refill(now time.Time) {
	b := a.swarm.options.Backlog
	if b == nil || a.ended || len(a.waiting) > a.inFlight || !a.next.Before(b.To) {
		return
	}
	start := a.next
	a.next = start.Add(b.Window)
	a.keep(a.node.Next(start, a.next), now)
}

// choose is the index of the frame to send next, -1 for none: the oldest, but the newest goes before a long backlog. While the
// backlog is paused, only what is newer than all that was sent.
func (a *agent) choose(now time.Time) int {
	unsent, oldest := 0, -1
	for i := len(a.waiting) - 1; i >= 0 && unsent < len(a.waiting)-a.inFlight; i-- {
		if a.waiting[i].sent.IsZero() {
			unsent++
			oldest = i
		}
	}
	last := len(a.waiting) - 1
	switch {
	case unsent == 0:
		return -1
	case now.Before(a.paused):
		if a.waiting[last].sent.IsZero() && a.waiting[last].frame.Sequence > a.newest {
			return last
		}
		return -1
	case unsent > inOrder && a.waiting[last].sent.IsZero():
		return last
	}
	return oldest
}

// finish makes no more frames.
func (a *agent) finish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
}

func (a *agent) backlog() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.waiting)
}

func (a *agent) longest(now time.Time) float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) == 0 {
		return 0
	}
	return now.Sub(a.waiting[0].made).Seconds() / a.waiting[0].interval.Seconds()
}

func (a *agent) asked() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.interval
}
