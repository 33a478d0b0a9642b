package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/foretide/foretide/aggregator/engine"
	"github.com/foretide/foretide/aggregator/storage"
)

// Telemetry that a replica missed comes from the agents' spools. The demand of workloads is made here and kept long, so what was
// missed of it is read from another replica.
const (
	// catchUpEvery is how often the last hours are compared: minutes that could not be told here may have been there.
	catchUpEvery = 5 * time.Minute
	// catchUpSoon is when that is done after the first time: the minute in which this replica started, and the next, in which it
	// may still have learnt which pods there are, are old enough by then.
	catchUpSoon = catchUpDelay + 2*time.Minute
	// catchUpRetry is how often replicas are looked for, and how soon one that failed is tried again: it may be starting, too.
	catchUpRetry = 15 * time.Second
	// catchUpSpan is what is compared each time; the first time, everything is that forecasts use.
	catchUpSpan, catchUpFirst = 3 * time.Hour, 28 * 24 * time.Hour
	// catchUpPiece is what is compared at once. Of thousands of workloads four weeks are gigabytes, so only those hours are read whose
	// totals differ.
	catchUpPiece, catchUpStep = 24 * time.Hour, time.Hour
	// catchUpDelay keeps the newest minutes out: they may still be written here, up to a minute and a half later.
	catchUpDelay = 2 * time.Minute
	// podToken is what a pod's ServiceAccount logs in with.
	podToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"
)

// peers is all replicas. This one may be among them, of which there is nothing to be learnt.
type peers struct {
	app  *aggregator
	urls []*url.URL
	// authorities are the certificate authorities of the replicas (PEM), asked anew each time.
	authorities func() []byte
	// known are those found last, by their URLs.
	known map[string]*peer
}

// peer is one replica.
type peer struct {
	// host is the name its certificate must have.
	url, host string
	// filled is up to when everything was compared, due when the next comparison is.
	filled, due time.Time
}

// followPeers adds what fills the holes in the demand from the other replicas, where there are any.
func (a *aggregator) followPeers(authorities func() []byte) error {
	if a.options.PeersURL == "" {
		return nil
	}
	p := &peers{app: a, authorities: authorities}
	a.peers = p
	for _, text := range splitList(a.options.PeersURL) {
		u, err := url.Parse(text)
		if err != nil {
			return fmt.Errorf("--peers.url: %w", err)
		}
		p.urls = append(p.urls, u)
	}
	a.add("peers", func(ctx context.Context) error {
		logged := ""
		for pause := time.Duration(0); wait(ctx, pause); pause = catchUpRetry {
			text := ""
			if err := p.catchUp(ctx, time.Now()); err != nil && ctx.Err() == nil {
				if text = err.Error(); text != logged {
					a.log.Warn("demand is not compared with all replicas, trying again", "err", err)
				}
			}
			logged = text
		}
		return nil
	})
	return nil
}

// splitList takes a comma-separated list apart.
func splitList(list string) []string {
	var out []string
	for text := range strings.SplitSeq(list, ",") {
		out = append(out, strings.TrimSpace(text))
	}
	return out
}

// catchUp fills what is missing here from every replica whose turn it is.
func (p *peers) catchUp(ctx context.Context, now time.Time) error {
	failed := []error{p.find(ctx)}
	to := now.Add(-catchUpDelay).Truncate(time.Minute)
	for _, name := range slices.Sorted(maps.Keys(p.known)) {
		replica := p.known[name]
		if now.Before(replica.due) {
			continue
		}
		next := catchUpEvery
		from := replica.filled.Add(-catchUpSpan)
		if replica.filled.IsZero() {
			next, from = catchUpSoon, to.Add(-catchUpFirst)
		}
		written, err := p.fill(ctx, replica, from, to)
		if written > 0 {
			p.app.filled.Add(1)
			p.app.log.Info("demand that was missed here is read from a replica", "replica", replica.url, "values", written)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("replica %s: %w", replica.url, err))
			continue // due still
		}
		replica.filled, replica.due = to, now.Add(next)
	}
	return errors.Join(failed...)
}

// find looks up the replicas. Where that fails those known stay.
func (p *peers) find(ctx context.Context) error {
	found := map[string]*peer{}
	for _, u := range p.urls {
		addresses, err := net.DefaultResolver.LookupHost(ctx, u.Hostname())
		if err != nil {
			return fmt.Errorf("replicas behind %s: %w", u.Host, err)
		}
		for _, address := range addresses {
			at := *u
			at.Host = strings.TrimSuffix(net.JoinHostPort(address, u.Port()), ":") // the scheme's own port needs no saying
			r := p.known[at.String()]
			if r == nil {
				r = &peer{url: at.String(), host: u.Hostname()}
			}
			found[r.url] = r
		}
	}
	p.known = found
	return nil
}

// fill reads what differs within (from, to] of one replica. It returns how many values were missing here.
func (p *peers) fill(ctx context.Context, replica *peer, from, to time.Time) (written int, err error) {
	access, err := p.access(replica.host)
	if err != nil {
		return 0, err
	}
	client, err := engine.New(engine.Options{URL: replica.url, Access: access})
	if err != nil {
		return 0, err
	}
	store := p.app.store
	all := []kept{
		{client.WorkloadPods, ofWorkload(store.AppendPodsHistory), client.PodsTotals, store.PodsTotals},
		{client.WorkloadHistory, ofWorkload(store.AppendDemandHistory), client.WorkloadTotals, store.DemandTotals},
		{client.MetricHistory, func(ctx context.Context, n engine.Name, points []storage.Point) (int, error) {
			return store.AppendMetricHistory(ctx, storage.MetricName{Workload: storage.Workload(n.Workload), Metric: n.Metric}, points)
		}, client.MetricTotals, store.MetricTotals},
	}
	for from = from.Truncate(catchUpStep); from.Before(to); from = from.Add(catchUpPiece) {
		end := earlier(from.Add(catchUpPiece), to)
		for _, k := range all {
			n, err := k.fill(ctx, from, end)
			if written += n; err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

// kept is one of the things kept of every workload: at another replica and here, whole and in totals.
type kept struct {
	read   func(ctx context.Context, from, to time.Time) (map[engine.Name][]engine.Point, error)
	write  func(ctx context.Context, name engine.Name, points []storage.Point) (int, error)
	theirs func(ctx context.Context, from, to time.Time, step time.Duration) ([]engine.Total, error)
	ours   func(ctx context.Context, from, to time.Time, step time.Duration) ([]storage.Total, error)
}

// fill compares whole steps by their totals, and reads those that differ and the part of a step that is left.
func (k kept) fill(ctx context.Context, from, to time.Time) (written int, err error) {
	whole := to.Truncate(catchUpStep)
	theirs, err := k.theirs(ctx, from, whole, catchUpStep)
	if err != nil {
		return 0, err
	}
	ours, err := k.ours(ctx, from, whole, catchUpStep)
	if err != nil {
		return 0, err
	}
	for i, begin := 0, from; begin.Before(to); i, begin = i+1, begin.Add(catchUpStep) {
		if i < len(theirs) && same(storage.Total(theirs[i]), ours[i]) {
			continue
		}
		history, err := k.read(ctx, begin, earlier(begin.Add(catchUpStep), to))
		if err != nil {
			return written, err
		}
		for name, points := range history {
			n, err := k.write(ctx, name, toStored(points))
			if written += n; err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

// ofWorkload writes what has no metric.
func ofWorkload(write func(ctx context.Context, w storage.Workload, points []storage.Point) (int, error)) func(context.Context, engine.Name, []storage.Point) (int, error) {
	return func(ctx context.Context, name engine.Name, points []storage.Point) (int, error) {
		return write(ctx, storage.Workload(name.Workload), points)
	}
}

// same allows for sums that were added up in another order.
func same(a, b storage.Total) bool {
	return a.Values == b.Values && math.Abs(a.Sum-b.Sum) <= 1e-9*max(math.Abs(a.Sum), math.Abs(b.Sum))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func toStored(points []engine.Point) []storage.Point {
	out := make([]storage.Point, len(points))
	for i, p := range points {
		out[i] = storage.Point(p)
	}
	return out
}

// access is that of the user's file, or of the pod.
func (p *peers) access(host string) (engine.Access, error) {
	if file := p.app.options.PeersHTTPFile; file != "" {
		return engine.LoadAccess(file)
	}
	token := podToken
	if _, err := os.Stat(token); err != nil {
		token = ""
	}
	return engine.PeerAccess(token, string(p.authorities()), host)
}
