// Package live answers "now" from memory: the newest load of every pod and the state of every node. Nothing here waits for a
// disk.
//
//	telemetry.Batch → Put → nodes and, per pod and device, the points of the last minutes → Pod, Pods, Nodes
//
// What is not known is absent: a pod that nobody reports, whose data is old, or one of whose devices was not measured has no
// load, which is not a load of 0.
package live

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// Defaults and bounds.
const (
	DefaultWindow     = 10 * time.Second
	DefaultStaleAfter = 30 * time.Second
	// keepPoints is the longest stretch that can be averaged over.
	keepPoints = 2 * time.Minute
	// keepPod and keepNode are how long something that is no longer reported stays in memory.
	keepPod  = 10 * time.Minute
	keepNode = time.Hour
	// pruneEvery is how often Put looks for what is to be dropped.
	pruneEvery = time.Minute
)

// Options of a view. Zero values mean the defaults.
type Options struct {
	// Window is what BusyGPUs is averaged over, ending with the newest batch of the pod's node; at most 2 minutes.
	Window time.Duration
	// StaleAfter is how old the newest batch may be, by the time it arrived and by the end of its window.
	StaleAfter time.Duration
}

// PodLoad is what one pod does with its GPUs.
type PodLoad struct {
	// GPUs is how many devices the pod holds.
	GPUs int
	// BusyGPUs is the sum over its devices of the mean utilization over the averaging window: 0 to GPUs.
	BusyGPUs float64
	// MemoryUsedBytes and MemoryTotalBytes are sums over its devices in the newest batch; NaN when any device lacks the value.
	MemoryUsedBytes, MemoryTotalBytes float64
	// At is the end of the newest window.
	At time.Time
}

// NamespacedPodLoad is the load of a named pod.
type NamespacedPodLoad struct {
	Namespace, Name, Node string
	PodLoad
}

// NodeState is what the newest batch of a node said.
type NodeState struct {
	Node string
	// LastBatch is the end of the newest window by the node's clock, Received when it arrived by the clock here.
	LastBatch, Received time.Time
	// Stale is true when the newest batch is too old to be used.
	Stale bool
	// OwnersKnown is false when the node could not say which pod holds which device.
	OwnersKnown bool
	Problems    []string
	Devices     []telemetry.Reading
}

// View holds the newest state. Its methods may be called at the same time.
type View struct {
	window, staleAfter time.Duration

	mu    sync.RWMutex
	nodes map[string]*node
	// pods finds a pod by name: one entry for each node that lists it, nearly always one.
	pods   map[podName][]*pod
	pruned time.Time
}

type podName struct{ namespace, name string }

// node is the newest batch of one node and the pods it listed. A pod belongs to its node: a StatefulSet's pod of the same name
// that comes up elsewhere is another one.
type node struct {
	end         time.Time
	received    time.Time
	ownersKnown bool
	problems    []string
	devices     []telemetry.Reading
	pods        map[podName]*pod
}

type pod struct {
	node string
	// since is when the pod was first seen on this node, end the window that listed it last.
	since, end time.Time
	received   time.Time
	devices    map[string]*device
}

// device is one device as one pod uses it.
type device struct {
	points                  []point
	memoryUsed, memoryTotal float64
}

// point is the mean utilization over a window.
type point struct {
	start, end  int64 // Unix milliseconds
	utilization float64
}

// New returns an empty view.
func New(o Options) (*View, error) {
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	if o.StaleAfter == 0 {
		o.StaleAfter = DefaultStaleAfter
	}
	if o.Window < time.Second || o.Window > keepPoints {
		return nil, fmt.Errorf("averaging window is %v: it must be between 1s and %v", o.Window, keepPoints)
	}
	if o.StaleAfter < time.Second || o.StaleAfter > keepPod {
		return nil, fmt.Errorf("stale after is %v: it must be between 1s and %v", o.StaleAfter, keepPod)
	}
	return &View{window: o.Window, staleAfter: o.StaleAfter, nodes: make(map[string]*node), pods: make(map[podName][]*pod)}, nil
}

// Pod returns the load of a pod, averaged over the view's window. It is false when the pod is not reported, when its data is
// stale, or when the utilization of any device it holds is not known or was so too long ago.
func (v *View) Pod(namespace, name string, now time.Time) (PodLoad, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	newest := v.newest(v.pods[podName{namespace, name}], now)
	if newest == nil {
		return PodLoad{}, false
	}
	return newest.load(v.window, v.staleAfter)
}

// PodSince is Pod on one node, averaged over the given window (at most 2 minutes; 0 is the view's own) that ends with the node's
// newest batch, and over no more than what lies after since. While nothing does, settled is false and since is not heeded. Only
// the named node is asked: an agent is believed about the pods that run where it does.
func (v *View) PodSince(namespace, name, nodeName string, window time.Duration, since, now time.Time) (load PodLoad, settled, ok bool) {
	if window == 0 {
		window = v.window
	}
	window = min(window, keepPoints)
	v.mu.RLock()
	defer v.mu.RUnlock()
	n := v.nodes[nodeName]
	if n == nil {
		return PodLoad{}, false, false
	}
	newest := n.pods[podName{namespace, name}]
	if newest == nil || !v.fresh(newest.end, newest.received, now) {
		return PodLoad{}, false, false
	}
	if load, ok = newest.load(min(window, newest.end.Sub(since)), v.staleAfter); ok {
		return load, true, true
	}
	load, ok = newest.load(window, v.staleAfter)
	return load, false, ok
}

// Pods returns the load of every pod that has one, by namespace and name.
func (v *View) Pods(now time.Time) []NamespacedPodLoad {
	v.mu.RLock()
	defer v.mu.RUnlock()
	out := make([]NamespacedPodLoad, 0, len(v.pods))
	for key, entries := range v.pods {
		p := v.newest(entries, now)
		if p == nil {
			continue
		}
		if load, ok := p.load(v.window, v.staleAfter); ok {
			out = append(out, NamespacedPodLoad{key.namespace, key.name, p.node, load})
		}
	}
	slices.SortFunc(out, func(a, b NamespacedPodLoad) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// Node returns the state of one node; false when it was not heard of within the last hour.
func (v *View) Node(name string, now time.Time) (NodeState, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n, ok := v.nodes[name]
	if !ok {
		return NodeState{}, false
	}
	return v.state(name, n, now), true
}

// Nodes returns the state of every node heard of within the last hour, by name.
func (v *View) Nodes(now time.Time) []NodeState {
	v.mu.RLock()
	defer v.mu.RUnlock()
	out := make([]NodeState, 0, len(v.nodes))
	for name, n := range v.nodes {
		out = append(out, v.state(name, n, now))
	}
	slices.SortFunc(out, func(a, b NodeState) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

func (v *View) state(name string, n *node, now time.Time) NodeState {
	return NodeState{
		Node: name, LastBatch: n.end, Received: n.received, Stale: !v.fresh(n.end, n.received, now),
		OwnersKnown: n.ownersKnown, Problems: n.problems, Devices: n.devices,
	}
}

// newest returns the fresh entry of a pod that appeared last, nil when there is none.
func (v *View) newest(entries []*pod, now time.Time) *pod {
	var out *pod
	for _, p := range entries {
		if v.fresh(p.end, p.received, now) && (out == nil || p.since.After(out.since)) {
			out = p
		}
	}
	return out
}

// fresh asks both clocks: a backlog that drains arrives now but tells of the past; a node whose clock is ahead goes on looking
// young after it fell silent.
func (v *View) fresh(end, received, now time.Time) bool {
	return now.Sub(end) <= v.staleAfter && now.Sub(received) <= v.staleAfter
}

// load sums over the pod's devices; false when a device has no utilization within the window, or none that is young enough.
// While the driver does not tell who of several used a device, batches come and its utilization does not.
func (p *pod) load(window, staleAfter time.Duration) (PodLoad, bool) {
	out := PodLoad{GPUs: len(p.devices), At: p.end}
	for _, d := range p.devices {
		mean, ok := d.mean(p.end.Add(-window).UnixMilli())
		if !ok || d.newest() < p.end.Add(-staleAfter).UnixMilli() {
			return PodLoad{}, false
		}
		out.BusyGPUs += mean
		out.MemoryUsedBytes += d.memoryUsed
		out.MemoryTotalBytes += d.memoryTotal
	}
	return out, len(p.devices) > 0
}

// newest is the end of the last point, in Unix milliseconds; there must be one.
func (d *device) newest() int64 { return d.points[len(d.points)-1].end }

// mean weighs each point by how much of it lies after the given moment.
func (d *device) mean(after int64) (float64, bool) {
	var sum, weight float64
	for _, p := range d.points {
		if w := float64(p.end - max(p.start, after)); w > 0 {
			sum += w * p.utilization
			weight += w
		}
	}
	if weight == 0 {
		return math.NaN(), false
	}
	return sum / weight, true
}
