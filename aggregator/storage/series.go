package storage

import (
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/foretide/foretide/pkg/telemetry"
)

const (
	// forgetAfter is how long a node is remembered that sends nothing; the TSDB forgets series within some three hours.
	forgetAfter = time.Hour
	// forgetEvery is how often that is looked at.
	forgetEvery = time.Minute
)

// The numbers of series that are none.
const (
	unknownSeries = storage.SeriesRef(0)
	// noSeries means that the value is not kept.
	noSeries = ^storage.SeriesRef(0)
)

// nodes remembers, for each node, which series the values of its frames go to. The zero value is ready.
type nodes struct {
	mu     sync.Mutex
	byName map[string]*nodeSeries
	swept  time.Time
}

// nodeSeries are the series of one node's newest layout.
type nodeSeries struct {
	// heard is guarded by nodes.mu, the rest by mu.
	heard time.Time

	mu     sync.Mutex
	layout *telemetry.Layout
	// refs has, for each value of a frame, the TSDB's number of its series.
	refs []storage.SeriesRef
}

func (n *nodes) get(name string, now time.Time) *nodeSeries {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.swept) >= forgetEvery {
		n.swept = now
		for name, s := range n.byName {
			if now.Sub(s.heard) >= forgetAfter {
				delete(n.byName, name)
			}
		}
	}
	s, known := n.byName[name]
	if !known {
		if n.byName == nil {
			n.byName = map[string]*nodeSeries{}
		}
		s = &nodeSeries{}
		n.byName[strings.Clone(name)] = s
	}
	s.heard = now
	return s
}

// follow makes s about the frame's layout. It is for holders of the lock.
func (s *nodeSeries) follow(l *telemetry.Layout) {
	if s.layout == l {
		return
	}
	s.layout = l
	s.refs = slices.Grow(s.refs[:0], l.Len())[:l.Len()]
	clear(s.refs)
}

// labeller gives the values of one node's layout their names and labels.
type labeller struct {
	node   string
	layout *telemetry.Layout
	names  *nameCheck
	// devices, unattributed, uses and sources are the sorted labels of the layout's, made when they are first asked for.
	devices, unattributed, uses, sources [][]labels.Label
	builder                              labels.ScratchBuilder
}

// name is what the series of a column are named; empty means they are not kept.
func (b *labeller) name(c *telemetry.Column) string {
	if c.Kind == telemetry.WorkloadColumn {
		if b.names.refuses(c.Name, len(c.Slots), b.node) {
			return ""
		}
		return c.Name
	}
	if !c.Metric.Known() {
		return ""
	}
	d := c.Metric.Definition()
	switch c.Kind {
	case telemetry.ReadingColumn:
		return d.Name
	case telemetry.UnattributedColumn:
		return d.UnattributedName()
	case telemetry.UsageColumn:
		return d.UsageName()
	}
	return ""
}

// labels is the whole name of one series, under the name of its column.
func (b *labeller) labels(name string, kind telemetry.ColumnKind, slot uint32) labels.Labels {
	b.builder.Reset()
	b.builder.Add(model.MetricNameLabel, name) // sorts before all others
	for _, l := range b.identity(kind, slot) {
		b.builder.Add(l.Name, l.Value)
	}
	return b.builder.Labels()
}

func (b *labeller) identity(kind telemetry.ColumnKind, slot uint32) []labels.Label {
	switch kind {
	case telemetry.ReadingColumn:
		return once(&b.devices, len(b.layout.Devices), slot, func() []labels.Label { return labelsOfDevice(b.node, b.layout.Devices[slot]) })
	case telemetry.UnattributedColumn:
		return once(&b.unattributed, len(b.layout.Devices), slot, func() []labels.Label {
			return labelSet("node", b.node, "uuid", b.layout.Devices[slot].UUID)
		})
	case telemetry.UsageColumn:
		return once(&b.uses, len(b.layout.Uses), slot, func() []labels.Label {
			u := b.layout.Uses[slot]
			return labelSet("node", b.node, "namespace", u.Owner.Namespace, "pod", u.Owner.Pod, "container", u.Owner.Container, "uuid", u.DeviceUUID)
		})
	}
	return once(&b.sources, len(b.layout.Sources), slot, func() []labels.Label {
		return labelSet("node", b.node, "namespace", b.layout.Sources[slot].Namespace, "pod", b.layout.Sources[slot].Pod)
	})
}

// once returns the labels of a slot, and makes them the first time.
func once(kept *[][]labels.Label, slots int, slot uint32, build func() []labels.Label) []labels.Label {
	if *kept == nil {
		*kept = make([][]labels.Label, slots)
	}
	if (*kept)[slot] == nil {
		(*kept)[slot] = build()
	}
	return (*kept)[slot]
}

func labelsOfDevice(node string, d telemetry.Device) []labels.Label {
	pairs := []string{"node", node, "uuid", d.UUID, "gpu", strconv.Itoa(d.Index), "model", d.Model}
	if d.IsMIG() {
		pairs = append(pairs, "parent", d.MIG.ParentUUID, "gpu_instance", strconv.Itoa(d.MIG.GPUInstance), "profile", d.MIG.Profile)
	}
	return labelSet(pairs...)
}

// labelSet makes sorted labels of pairs of name and value; an empty value is no label.
func labelSet(pairs ...string) []labels.Label {
	set := make([]labels.Label, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			set = append(set, labels.Label{Name: pairs[i], Value: strings.ToValidUTF8(pairs[i+1], string(utf8.RuneError))})
		}
	}
	slices.SortFunc(set, func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) })
	return set
}

// Reasons for which a server's word is left out.
const (
	droppedInvalid  = "invalid_name"
	droppedReserved = "reserved_name"
)

// maxNamesLogged bounds how many different names are logged.
const maxNamesLogged = 100

// ownNames is how the names of the project's own series begin.
const ownNames = "foretide_"

// nameCheck leaves out what an inference server says under a name where it would not be found, or would be taken for ours. The
// rest of the frame is kept: a wrong name is the server's fault and not the node's.
type nameCheck struct {
	logger  *slog.Logger
	dropped *prometheus.CounterVec

	mu     sync.Mutex
	logged map[string]bool
}

// refuses tells whether a name must be left out, counts that and logs each name once.
func (c *nameCheck) refuses(name string, series int, node string) bool {
	var reason, why string
	switch {
	case !model.LegacyValidation.IsValidMetricName(name):
		reason, why = droppedInvalid, "a metric's name is letters, digits, _ and :, not beginning with a digit"
	case strings.HasPrefix(name, ownNames):
		reason, why = droppedReserved, "names that begin with "+ownNames+" are not a server's: leave it out of what the agent scrapes"
	default:
		return false
	}
	c.dropped.WithLabelValues(reason).Add(float64(series))
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.logged[name] && len(c.logged) < maxNamesLogged {
		if c.logged == nil {
			c.logged = map[string]bool{}
		}
		c.logged[name] = true
		c.logger.Warn("a metric of an inference server is not stored", "name", name, "node", node, "reason", why)
	}
	return true
}
