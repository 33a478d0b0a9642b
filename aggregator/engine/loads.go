package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

const (
	// longestBatch is how long the window of one batch may be: each sample is looked at together with the one before it, which
	// says when its window began.
	longestBatch = 15 * time.Second
	// ahead is how far a node's clock may be ahead of the one here for its newest samples to be seen.
	ahead = 5 * time.Second
	// keepPod is how long the pods of a node that is no longer heard of stay in memory.
	keepPod = 10 * time.Minute
)

// LoadsOptions are the options of Loads.
type LoadsOptions struct {
	// Namespaces are those whose pods are read; nil reads all, which in a large cluster is many megabytes each time.
	Namespaces func() []string
	// Interval is how often the engine is asked.
	Interval time.Duration
	// Window is what BusyGPUs is averaged over, StaleAfter how old the newest sample of a pod may be.
	Window, StaleAfter time.Duration
	// Logger is told when the engine stops answering and when it answers again. Nil means silence.
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Loads is a view of what every pod does now, read from the engine again and again. It is what a leader decides from where the
// agents report to several aggregators. What the engine has not got yet is unknown, never idle.
type Loads struct {
	client *Client
	o      LoadsOptions

	mu   sync.RWMutex
	pods map[podKey]*pod
	// nodes has the newest sample of each node, in Unix milliseconds.
	nodes map[string]int64
	// failure is why the engine was not read at the last try; nil when it was.
	failure error
}

// Load is what one pod does with its GPUs.
type Load struct {
	// GPUs is how many devices it holds, BusyGPUs the sum of their mean utilization.
	GPUs     int
	BusyGPUs float64
	// Settled is true when BusyGPUs tells only of the time after the moment asked for.
	Settled bool
}

// NewLoads returns a view that is empty until Poll or Run has filled it.
func NewLoads(c *Client, o LoadsOptions) (*Loads, error) {
	if o.Interval <= 0 || o.Window <= 0 || o.StaleAfter <= 0 {
		return nil, fmt.Errorf("interval is %v, window %v, stale after %v: all must be above 0", o.Interval, o.Window, o.StaleAfter)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Loads{client: c, o: o}, nil
}

// Run reads the engine at every interval until ctx is done.
func (l *Loads) Run(ctx context.Context) {
	ticker := time.NewTicker(l.o.Interval)
	defer ticker.Stop()
	for {
		err := l.Poll(ctx)
		if ctx.Err() != nil {
			return
		}
		l.note(err)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// note logs when the engine is lost and found.
func (l *Loads) note(err error) {
	l.mu.Lock()
	before := l.failure
	l.failure = err
	l.mu.Unlock()
	switch {
	case err != nil && before == nil:
		l.o.Logger.Warn("cannot read the loads of pods from the engine; until that works again no replicas are taken away", "err", err)
	case err == nil && before != nil:
		l.o.Logger.Info("the loads of pods are read from the engine again")
	}
}

// Poll reads the engine once. After an error the view is what it was, and grows stale.
func (l *Loads) Poll(ctx context.Context) error {
	last := l.o.Now().Add(ahead)
	first := last.Add(-ahead - l.o.StaleAfter - l.o.Window - longestBatch)
	// One try: the next poll is the next.
	matrix, err := l.client.samples(ctx, 1, l.selector(), first, last)
	if err != nil {
		return fmt.Errorf("loads of pods: %w", err)
	}
	pods := map[podKey]*pod{}
	for _, s := range matrix {
		key := podKey{string(s.Metric["namespace"]), string(s.Metric["pod"]), string(s.Metric["node"])}
		if pods[key] == nil {
			pods[key] = &pod{uses: map[useKey]*use{}}
		}
		use := pods[key].use(useKey{string(s.Metric["uuid"]), string(s.Metric["container"])})
		if string(s.Metric["__name__"]) == utilizationSeries {
			use.recorded.take(s.Values, first.UnixMilli(), last.UnixMilli())
		}
		for _, p := range s.Values {
			use.listed = max(use.listed, int64(p.Timestamp))
		}
	}
	nodes := map[string]int64{}
	for key, p := range pods {
		p.settle()
		nodes[key.node] = max(nodes[key.node], p.newest)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keepSilent(pods, nodes, last.Add(-keepPod).UnixMilli())
	l.pods, l.nodes = pods, nodes
	return nil
}

// keepSilent takes over the pods of nodes that the engine has nothing new of: nobody has said that these are gone.
func (l *Loads) keepSilent(pods map[podKey]*pod, nodes map[string]int64, oldest int64) {
	silent := map[string]int64{}
	for node, newest := range l.nodes {
		if _, heard := nodes[node]; !heard && newest >= oldest {
			silent[node] = newest
		}
	}
	maps.Copy(nodes, silent)
	for key, p := range l.pods {
		if _, ok := silent[key.node]; ok {
			pods[key] = p
		}
	}
}

// The series read: what a pod does, and what tells that it holds a device of which that is not known.
var (
	utilizationSeries = telemetry.UtilizationMean.Definition().UsageName()
	holdingSeries     = telemetry.MemoryTotal.Definition().UsageName()
)

func (l *Loads) selector() string {
	names := fmt.Sprintf(`__name__=~"%s|%s"`, utilizationSeries, holdingSeries)
	if l.o.Namespaces == nil {
		return "{" + names + "}"
	}
	var namespaces []string
	for _, n := range l.o.Namespaces() {
		namespaces = append(namespaces, regexp.QuoteMeta(n))
	}
	slices.Sort(namespaces)
	return fmt.Sprintf(`{%s,namespace=~%q}`, names, strings.Join(slices.Compact(namespaces), "|"))
}

// Load returns what a pod on a node does, averaged over the window that ends with its newest sample, and over no more than what
// lies after since as soon as every device has something there. It is false when the engine has nothing young enough of the pod,
// or of any device it holds.
func (l *Loads) Load(namespace, name, node string, since, now time.Time) (Load, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	p := l.pods[podKey{namespace, name, node}]
	if p == nil {
		return Load{}, false
	}
	oldest := now.Add(-l.o.StaleAfter).UnixMilli()
	begin := p.newest - l.o.Window.Milliseconds()
	if load, ok := p.load(max(begin, since.UnixMilli()), oldest); ok {
		load.Settled = true
		return load, true
	}
	return p.load(begin, oldest)
}

// Pod is one pod that holds GPUs on a node.
type Pod struct {
	Namespace, Name, Node string
	GPUs                  int
}

// Pods lists the pods of every node that the engine has something of since, in no order: what they do may be known or not. A pod is
// gone once its node is heard of without it.
func (l *Loads) Pods(since time.Time) []Pod {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []Pod
	for key, p := range l.pods {
		heard := l.nodes[key.node]
		oldest := heard - l.o.StaleAfter.Milliseconds()
		if heard >= since.UnixMilli() && p.newest >= oldest {
			out = append(out, Pod{key.namespace, key.name, key.node, p.devices(oldest)})
		}
	}
	return out
}

// Trouble says what is known to be wrong with the telemetry of a node, "" when nothing is.
func (l *Loads) Trouble(node string, now time.Time) string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.failure != nil {
		return "the engine cannot be read: " + cause(l.failure)
	}
	newest, ok := l.nodes[node]
	switch {
	case !ok:
		return "the engine has nothing of its pods that is younger than " + l.o.StaleAfter.String()
	case newest < now.Add(-l.o.StaleAfter).UnixMilli():
		return "the newest the engine has of its pods is of " + time.UnixMilli(newest).UTC().Format(time.TimeOnly) + " UTC"
	}
	return ""
}

// cause is the innermost error: the rest names the request.
func cause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
