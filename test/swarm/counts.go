package swarm

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// Counts is what a swarm has seen so far.
type Counts struct {
	// Connected is how many streams have been welcomed and are up, Streams how many were made in all.
	Connected, Streams atomic.Int64
	// Sent counts frames, those sent again too, and SentSamples their values.
	Sent, SentSamples atomic.Int64
	// Acknowledged counts frames, AcknowledgedSamples their values.
	Acknowledged, AcknowledgedSamples atomic.Int64
	// Refused counts frames that will never be taken, Deferred answers that asked to come again, Dropped frames for which there was no room.
	Refused, Deferred, Dropped atomic.Int64
	// WireBytes is what the messages to the aggregator took: gRPC's payloads, each with its prefix of 5 bytes. TLS and HTTP/2 come on top.
	WireBytes atomic.Int64
	// Waits are, of each acknowledged frame, the report intervals from the end of its window to its acknowledgement.
	Waits Distribution

	mu         sync.Mutex
	lastReason string
}

// Complaint is the newest reason for a refusal, a deferral or a broken stream.
func (c *Counts) Complaint() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastReason
}

func (c *Counts) complain(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastReason = reason
}

// Distribution is a set of numbers.
type Distribution struct {
	mu     sync.Mutex
	values []float64
}

// Add adds one.
func (d *Distribution) Add(v float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.values = append(d.values, v)
}

// Reset forgets all.
func (d *Distribution) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.values = nil
}

// Len is how many there are.
func (d *Distribution) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.values)
}

// Quantile is the smallest number that at least the part p of all do not exceed; NaN when there is none.
func (d *Distribution) Quantile(p float64) float64 {
	d.mu.Lock()
	sorted := slices.Clone(d.values)
	d.mu.Unlock()
	if len(sorted) == 0 {
		return math.NaN()
	}
	slices.Sort(sorted)
	return sorted[min(len(sorted)-1, max(0, int(math.Ceil(p*float64(len(sorted))))-1))]
}

// wire counts bytes; it is a gRPC stats handler.
type wire struct{ counts *Counts }

func (w wire) HandleRPC(_ context.Context, s stats.RPCStats) {
	if out, ok := s.(*stats.OutPayload); ok {
		w.counts.WireBytes.Add(int64(out.WireLength))
	}
}

func (wire) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (wire) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (wire) HandleConn(context.Context, stats.ConnStats)                       {}
