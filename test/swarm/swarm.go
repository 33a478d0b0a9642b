// Package swarm plays the agents of thousands of nodes in one process. Each has a stream of its own to a real aggregator, over TLS and
// with the real protocol; only what it would read from GPUs is made up.
//
//	Node (made-up GPUs) → telemetry.Frame → what is not acknowledged → telemetry.Encoder → stream → Ack, Refusal, Deferral → Counts
//
// An agent keeps its frames until they are acknowledged or refused, and sends them again on the next stream, as the shipped one does.
package swarm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/foretide/foretide/pkg/telemetry"
)

// Options of a swarm. Address, Roots, Token and Agents are needed.
type Options struct {
	// Address is the aggregator's host:port, Roots its authorities, ServerName the name on its certificate, Token what it wants to see.
	Address, ServerName, Token string
	Roots                      *x509.CertPool
	// Agents is how many there are, and Prefix what the names of their nodes begin with.
	Agents int
	Prefix string
	// Node is what each node has.
	Node NodeOptions
	// Seed makes the values and the moments of churn; the same seed makes the same nodes.
	Seed uint64
	// Join is the time over which the agents start, as in the rollout of a DaemonSet. 0 starts all at once.
	Join time.Duration
	// StreamLife is how long a stream lasts on average before its agent hangs up and comes back; 0 is for ever.
	StreamLife time.Duration
	// Interval is the report interval until the aggregator says another; 0 is a second.
	Interval time.Duration
	// Clock is the nodes' wall clock; nil is the machine's.
	Clock func() time.Time
	// Backlog makes agents send recorded windows as fast as they are acknowledged instead of new ones as time goes by.
	Backlog *Backlog
	// Acknowledged is told of every acknowledged frame, by many goroutines; nil tells nobody.
	Acknowledged func(telemetry.Frame)
}

// Backlog is what every agent has kept of an outage: windows of a length from a moment on, up to another.
type Backlog struct {
	From, To time.Time
	Window   time.Duration
}

// Swarm is agents that run.
type Swarm struct {
	Counts
	options Options
	dial    []grpc.DialOption
	agents  []*agent
	stop    context.CancelFunc
	running sync.WaitGroup
}

// Start starts the agents; they run until Stop.
func Start(o Options) (*Swarm, error) {
	if o.Agents < 1 || o.Roots == nil {
		return nil, fmt.Errorf("a swarm of %d agents that trust %v: it needs at least one, and an authority", o.Agents, o.Roots)
	}
	if o.ServerName == "" {
		o.ServerName = "foretide-aggregator"
	}
	if o.Prefix == "" {
		o.Prefix = "node-"
	}
	if o.Interval == 0 {
		o.Interval = time.Second
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Swarm{options: o, stop: cancel}
	s.dial = dialOptions(credentials.NewTLS(&tls.Config{RootCAs: o.Roots, ServerName: o.ServerName, MinVersion: tls.VersionTLS12}), o.Token, &s.Counts)
	random := rand.New(rand.NewPCG(o.Seed, 0))
	// Never one that was before, for its sequences were given already.
	session := fmt.Sprintf("%016x", rand.Uint64())
	for i := range o.Agents {
		node := NewNode(fmt.Sprintf("%s%05d", o.Prefix, i), session, i, o.Seed, o.Node)
		a := newAgent(s, node, random.Uint64())
		s.agents = append(s.agents, a)
		delay := o.Join * time.Duration(i) / time.Duration(o.Agents)
		s.running.Go(func() { a.run(ctx, delay) })
	}
	return s, nil
}

// Stop hangs up and returns when no agent runs any more. What was not acknowledged is forgotten.
func (s *Swarm) Stop() {
	s.stop()
	s.running.Wait()
}

// Finish makes no new frames from now on, and returns when every one there is has been answered for good, or ctx ends.
func (s *Swarm) Finish(ctx context.Context) error {
	for _, a := range s.agents {
		a.finish()
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		left := s.Waiting()
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d frames are not answered yet: %w", left, ctx.Err())
		case <-ticker.C:
		}
	}
}

// Waiting is how many frames have no final answer yet.
func (s *Swarm) Waiting() int {
	n := 0
	for _, a := range s.agents {
		n += a.backlog()
	}
	return n
}

// Longest is for how long the frame that waits longest for its acknowledgement has been waiting, in report intervals.
func (s *Swarm) Longest() float64 {
	longest := 0.0
	for _, a := range s.agents {
		longest = max(longest, a.longest(time.Now()))
	}
	return longest
}

// Interval is the longest report interval any agent has been asked for.
func (s *Swarm) Interval() time.Duration {
	var longest time.Duration
	for _, a := range s.agents {
		longest = max(longest, a.asked())
	}
	return longest
}
