// Package stream carries the spool's batches to the aggregators: one gRPC stream to each replica, kept up for as long as the
// agent runs.
//
//	addresses → look-up → replicas → those of this node → a link each
//	link: Hello, Welcome; spool → frames → aggregator → acknowledgements, refusals, deferrals → spool
//	                                                  └→ report interval, draining → sampler, driver
package stream

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/foretide/foretide/pkg/lane"
	"github.com/foretide/foretide/pkg/telemetry"
)

const (
	// maxSilence is how long an aggregator may leave the Hello or a batch unanswered before the stream is given up and a new one made.
	maxSilence = time.Minute
	// pingAfter and pingTimeout find a peer that is gone without a word. The aggregator allows a ping every 10 s.
	pingAfter, pingTimeout = 20 * time.Second, 10 * time.Second
	// lookUpEvery is about how often the replicas are looked up while every stream is up: with ten thousand agents, each question
	// asked for every search domain of its pod, this is most of what a cluster's DNS is asked.
	lookUpEvery = time.Minute
	// lookUpGap to twice as much lies between two look-ups, however often streams break. lookUpSpread is how far those of the
	// agents lie apart that lose an aggregator at one moment, and lookUpWithin how long one may take.
	lookUpGap, lookUpSpread, lookUpWithin = 5 * time.Second, 2 * time.Second, 5 * time.Second
	// vanishedFor is how long a replica may be missing before its stream is ended: names lag behind, and a shard that moves is
	// better sent to both for a while than to none.
	vanishedFor = 30 * time.Second
)

// Receiver is what one aggregator has not answered, for the time of one stream: the spool's cursor.
type Receiver interface {
	// Next waits for the batch to send next.
	Next(ctx context.Context) (telemetry.Frame, error)
	// Ack notes that a batch is durable there, Refuse that it will never be, Defer that it is to be sent again after the pause.
	Ack(sequence uint64)
	Refuse(sequence uint64)
	Defer(sequence uint64, pause time.Duration)
	// Close says that what was not answered is to be sent again on the next stream.
	Close()
}

// Options configures a [Stream].
type Options struct {
	// Addresses are where the aggregators are.
	Addresses []Address
	// Copies is how many of them this node sends to, each node to its own; 0 is all.
	Copies int
	// CAFile holds the certificate authorities (PEM) to trust; empty trusts the system's.
	CAFile string
	// ServerName is the name an aggregator's certificate must have; empty takes the host of its address.
	ServerName string
	// TokenFile holds the bearer token to send; empty sends none.
	TokenFile string
	// Node, Session and Version go into the Hello.
	Node, Session, Version string
	// Receiver begins a stream to the aggregator with this store.
	Receiver func(store string) Receiver
	// SetReportInterval is told how often the aggregators want a batch.
	SetReportInterval func(time.Duration)
	// SetDraining is told whether the node is being drained; nil is not told.
	SetDraining func(bool)
	Logger      *slog.Logger
}

// Stream is the connections to all aggregators of this node.
type Stream struct {
	o      Options
	find   lookup
	wishes wishes
	broken chan struct{} // a link broke: the replicas are looked up again

	mu    sync.Mutex
	links map[string]*link // by address
	// known are the replicas found last at each address, said the error of a look-up that was logged.
	known map[Address][]replica
	said  map[Address]string
}

// New returns a stream that Run brings up.
func New(o Options) *Stream {
	if o.SetDraining == nil {
		o.SetDraining = func(bool) {}
	}
	return &Stream{o: o, find: net.DefaultResolver.LookupNetIP, broken: make(chan struct{}, 1),
		wishes: wishes{setInterval: o.SetReportInterval, setDraining: o.SetDraining, of: map[*link]wish{}},
		links:  map[string]*link{}, known: map[Address][]replica{}, said: map[Address]string{}}
}

// Connected reports how many aggregators have answered on a stream that is up, of how many this node sends to.
func (s *Stream) Connected() (up, of int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.links {
		if l.connected.Load() {
			up++
		}
	}
	return up, len(s.links)
}

// Run keeps a link to every replica until ctx ends.
func (s *Stream) Run(ctx context.Context) {
	var links sync.WaitGroup
	defer links.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.keep(ctx, func(l *link) {
		its, end := context.WithCancel(ctx)
		l.end = end
		links.Go(func() { l.run(its) })
	})
}

// keep looks the replicas up and follows them: now and then, and soon after a stream broke.
func (s *Stream) keep(ctx context.Context, start func(*link)) {
	unknown := lane.Backoff{First: lookUpGap, Last: lookUpEvery / 2}
	for ctx.Err() == nil {
		if s.lookUp(ctx) {
			unknown.Succeeded()
		} else {
			unknown.Failed(time.Now())
		}
		leaving := s.follow(time.Now(), start)
		gap := between(lookUpGap, 2*lookUpGap)
		sleep(ctx, gap, nil)
		if sleep(ctx, untilNext(unknown.Wait(), leaving)-gap, s.broken) {
			sleep(ctx, between(0, lookUpSpread), nil)
		}
	}
}

// lookUp finds the replicas anew, and reports whether there are some at every address. Where it fails those known stay.
func (s *Stream) lookUp(ctx context.Context) (known bool) {
	known = true
	for _, a := range s.o.Addresses {
		found, err := s.find.replicas(ctx, a)
		if ctx.Err() != nil {
			return known
		}
		if err == nil {
			s.known[a], s.said[a] = found, ""
		} else if text := err.Error(); s.said[a] != text {
			s.o.Logger.Warn("aggregators are not found; they are looked up again", "address", a.String(), "error", err)
			s.said[a] = text
		}
		known = known && len(s.known[a]) > 0
	}
	return known
}

// follow starts a link to every replica that this node sends to and has none, and ends those to replicas that have been
// missing for long. It reports whether any is left that is missing.
func (s *Stream) follow(now time.Time, start func(*link)) (leaving bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []replica
	for _, a := range s.o.Addresses {
		all = append(all, s.known[a]...)
	}
	// One that is named twice is sent to once.
	slices.SortStableFunc(all, func(a, b replica) int { return strings.Compare(a.address, b.address) })
	all = slices.CompactFunc(all, func(a, b replica) bool { return a.address == b.address })
	wanted := choose(s.o.Node, all, s.o.Copies)
	for _, r := range wanted {
		l := s.links[r.address]
		if l == nil {
			l = newLink(s, r)
			s.links[r.address] = l
			start(l)
		}
		l.missing = time.Time{}
	}
	for address, l := range s.links {
		switch {
		case slices.ContainsFunc(wanted, func(r replica) bool { return r.address == address }):
		case l.missing.IsZero():
			l.missing, leaving = now, true
		case now.Sub(l.missing) >= vanishedFor:
			s.o.Logger.Info("an aggregator is not this node's any more", "address", address)
			l.end()
			delete(s.links, address)
		default:
			leaving = true
		}
	}
	return leaving
}
