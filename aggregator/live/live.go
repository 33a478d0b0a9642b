// Package live answers "now" from memory: the newest load of every pod and the state of every node. Nothing here waits for a
// disk.
//
//	telemetry.Frame → Put → per node the newest frame, and the windows of the last minutes → Pod, Pods, PodBetween, Nodes
//	                        (what of a frame is a pod's: a plan, made once for each layout)
//
// What is not known is absent: a pod that nobody reports, whose data is old, or one of whose devices was not measured has no
// load, which is not a load of 0.
package live

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// Defaults and bounds.
const (
	DefaultWindow     = 10 * time.Second
	DefaultStaleAfter = 30 * time.Second
	// keepWindows is the longest stretch that can be averaged over.
	keepWindows = 2 * time.Minute
	// mostWindows of one node are kept: more than an agent that reports each 100 ms has in that time.
	mostWindows = 2048
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
	// Surge is told of a pod whose newest two reports say that it is busier than before by a tenth of its devices: whoever looks now
	// sees it. It is called for each report that says so, and must return at once and not call the view. Nil means nobody is told.
	Surge func(namespace, pod string)
}

// PodLoad is what one pod does with its GPUs.
type PodLoad struct {
	// GPUs is how many devices the pod holds.
	GPUs int
	// BusyGPUs is the sum over its devices of the mean utilization over the averaging window: 0 to GPUs.
	BusyGPUs float64
	// RecentBusyGPUs is the same by the newest two reports alone, as far as these agree; only when HasRecent, which needs three
	// reports of the time averaged over. Noise is in it undamped. Only PodSince tells it.
	RecentBusyGPUs float64
	HasRecent      bool
	// MemoryUsedBytes and MemoryTotalBytes are sums over its devices in the newest batch; NaN when any device lacks the value.
	MemoryUsedBytes, MemoryTotalBytes float64
	// At is the end of the newest window.
	At time.Time
}

// Pod is a pod that holds GPUs on a node.
type Pod struct {
	Namespace, Name, Node string
	// GPUs is how many devices it holds.
	GPUs int
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

	newest telemetry.Frame
}

// Readings are what the newest batch said of the node's devices.
func (s NodeState) Readings() []telemetry.Reading { return s.newest.Batch().Readings }

// View holds the newest state. Its methods may be called at the same time.
type View struct {
	window, staleAfter time.Duration
	surge              func(namespace, pod string)

	mu    sync.RWMutex
	nodes map[string]*node
	// pods finds a pod by name: one entry for each node that lists it, nearly always one.
	pods   map[podName][]*node
	pruned time.Time
}

type podName struct{ namespace, name string }

// New returns an empty view.
func New(o Options) (*View, error) {
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	if o.StaleAfter == 0 {
		o.StaleAfter = DefaultStaleAfter
	}
	if o.Window < time.Second || o.Window > keepWindows {
		return nil, fmt.Errorf("averaging window is %v: it must be between 1s and %v", o.Window, keepWindows)
	}
	if o.StaleAfter < time.Second || o.StaleAfter > keepPod {
		return nil, fmt.Errorf("stale after is %v: it must be between 1s and %v", o.StaleAfter, keepPod)
	}
	return &View{window: o.Window, staleAfter: o.StaleAfter, surge: o.Surge, nodes: make(map[string]*node), pods: make(map[podName][]*node)}, nil
}

// Pod returns the load of a pod, averaged over the view's window. It is false when the pod is not reported, when its data is
// stale, or when the utilization of any device it holds is not known or was so too long ago.
func (v *View) Pod(namespace, name string, now time.Time) (PodLoad, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n, i := v.newest(podName{namespace, name}, now)
	if n == nil {
		return PodLoad{}, false
	}
	return n.load(i, v.window, v.staleAfter)
}

// PodSince is Pod on one node, averaged over the given window (at most 2 minutes; 0 is the view's own) that ends with the node's
// newest batch, and over no more than what lies after since. While nothing does, settled is false and since is not heeded. Only
// the named node is asked: an agent is believed about the pods that run where it does.
func (v *View) PodSince(namespace, name, nodeName string, window time.Duration, since, now time.Time) (load PodLoad, settled, ok bool) {
	if window == 0 {
		window = v.window
	}
	window = min(window, keepWindows)
	v.mu.RLock()
	defer v.mu.RUnlock()
	n := v.nodes[nodeName]
	if n == nil || !v.fresh(n.listing.End, n.listed, now) {
		return PodLoad{}, false, false
	}
	i, listed := n.plan.find(podName{namespace, name})
	if !listed {
		return PodLoad{}, false, false
	}
	window, whole := min(window, n.listing.End.Sub(since)), window
	if load, ok = n.load(i, window, v.staleAfter); ok {
		load.RecentBusyGPUs, load.HasRecent = n.recent(i, n.listing.End.Add(-window).UnixMilli())
		return load, true, true
	}
	load, ok = n.load(i, whole, v.staleAfter)
	return load, false, ok
}

// Pods returns every pod that holds GPUs on a node heard of since, by namespace and name: what it does may be known or not. A pod
// is gone once its node reports without it.
func (v *View) Pods(since time.Time) []Pod {
	type place struct {
		Pod
		appeared time.Time
	}
	places := map[podName]place{}
	v.each(func(n *node) {
		if n.received.Before(since) {
			return
		}
		for i, pod := range n.plan.pods {
			// One that is listed by two nodes has moved to where it appeared last.
			if had, ok := places[pod.podName]; !ok || n.since[i].end.After(had.appeared) {
				places[pod.podName] = place{Pod{pod.namespace, pod.name, n.newest.Node, int(pod.end - pod.first)}, n.since[i].end}
			}
		}
	})
	out := make([]Pod, 0, len(places))
	for _, p := range places {
		out = append(out, p.Pod)
	}
	slices.SortFunc(out, func(a, b Pod) int { return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name)) })
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
	return v.state(n, now), true
}

// Nodes returns the state of every node heard of within the last hour, by name.
func (v *View) Nodes(now time.Time) []NodeState {
	var out []NodeState
	v.each(func(n *node) { out = append(out, v.state(n, now)) })
	slices.SortFunc(out, func(a, b NodeState) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// each calls a function for every node, with the lock held for one at a time: a look at ten thousand nodes lets batches through.
func (v *View) each(f func(*node)) {
	v.mu.RLock()
	all := slices.Collect(maps.Values(v.nodes))
	v.mu.RUnlock()
	for _, n := range all {
		v.mu.RLock()
		f(n)
		v.mu.RUnlock()
	}
}

func (v *View) state(n *node, now time.Time) NodeState {
	f := n.newest
	return NodeState{
		Node: f.Node, LastBatch: f.End, Received: n.received, Stale: !v.fresh(f.End, n.received, now),
		OwnersKnown: f.OwnersKnown, Problems: f.Problems, newest: f,
	}
}

// newest returns the node on which a pod appeared last, of those that are fresh, and the pod's place in its plan; nil when there
// is none.
func (v *View) newest(pod podName, now time.Time) (newest *node, at int) {
	for _, n := range v.pods[pod] {
		if !v.fresh(n.listing.End, n.listed, now) {
			continue
		}
		i, listed := n.plan.find(pod)
		if listed && (newest == nil || n.since[i].end.After(newest.since[at].end)) {
			newest, at = n, i
		}
	}
	return newest, at
}

// fresh asks both clocks: a backlog that drains arrives now but tells of the past; a node whose clock is ahead goes on looking
// young after it fell silent.
func (v *View) fresh(end, received, now time.Time) bool {
	return now.Sub(end) <= v.staleAfter && now.Sub(received) <= v.staleAfter
}

// gap is how long batches may come without the utilization of a device, or as long as two of them are; the average of before has to do
// meanwhile. The driver does not always tell at once who of several used a device. When it goes on, the device may be lost: what it did
// is not what it does.
const gap = 3 * time.Second

// load sums over the devices of the plan's i-th pod; false when a device has no utilization within the window, or none that is
// young enough.
func (n *node) load(i int, window, staleAfter time.Duration) (PodLoad, bool) {
	pod := n.plan.pods[i]
	end := n.listing.End.UnixMilli()
	shares := n.shares(pod.podName, end-window.Milliseconds(), end, n.since[i].mark)
	out := PodLoad{GPUs: int(pod.end - pod.first), At: n.listing.End}
	oldest := end - min(staleAfter, max(gap, 2*n.listing.End.Sub(n.listing.Start))).Milliseconds()
	for j, d := range n.plan.devices[pod.first:pod.end] {
		_, at := place(shares, d.uuid, j)
		if at == len(shares) || shares[at].known == 0 || shares[at].newest < oldest {
			return PodLoad{}, false
		}
		out.BusyGPUs += shares[at].busy / shares[at].known
		out.MemoryUsedBytes += n.plan.sum(n.listing.Values, d.memoryUsed)
		out.MemoryTotalBytes += n.plan.largest(n.listing.Values, d.memoryTotal)
	}
	return out, true
}
