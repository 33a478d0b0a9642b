// Package capacity knows which GPUs of the cluster are free, and how many more pods of a kind could be scheduled now.
//
//	nodes ─┐
//	       ├─► totals by node, priority and resource ─┬─► Room: pods of a shape that fit
//	pods ──┘   (at most once a second)                └─► Totals: GPUs by type
//	forecasts of workloads ─► Outlook: GPUs they will need, by type
//
// Room looks at what kube-scheduler's filters look at first: readiness, cordons, taints, nodeSelector, required node affinity, and
// the requests of CPU, memory, pods and extended resources, those of pods of a lower priority left out, for they would give way. It
// does not look at pod affinity, topology spread, volumes, host ports, quotas, or ephemeral storage, so that fewer pods may fit than it says.
package capacity

import (
	"iter"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Pod is what a pod takes of its node, or is about to take of one.
type Pod struct {
	// Node is empty while the scheduler has not looked at the pod yet.
	Node        string
	Priority    int32
	CPUMilli    int64
	MemoryBytes int64
	// Shape is all that it asks of a node, with what it requests in its containers; nil when it asks for no GPU.
	Shape *corev1.PodSpec
}

// Options is what a Cluster needs.
type Options struct {
	// Nodes are those that offer GPUs; false while they are not known.
	Nodes func() ([]*corev1.Node, bool)
	// Pods goes through the pods of the cluster that have a node or are about to get one.
	Pods func() iter.Seq[Pod]
	// Changes is another number after each change of either.
	Changes func() uint64
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// lookEvery is how long a look at the cluster stands: pods come and go all the time in a large one.
const lookEvery = time.Second

// Cluster answers from a look at all nodes and pods that is at most a second old. It is safe for concurrent use.
type Cluster struct {
	opts Options

	mu      sync.Mutex
	last    *look // nil while nothing is known
	at      time.Time
	changes uint64
}

// New returns a Cluster.
func New(opts Options) *Cluster {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Cluster{opts: opts}
}

// Room is what the cluster has for more pods of a shape.
type Room struct {
	// Pods is how many more could be scheduled now, up to as many as were asked for.
	Pods int32
	// Known is false while the cluster is not known, and for pods whose GPUs come by ResourceClaims, which are not counted.
	Known bool
	// Type is that of their GPUs, such as "NVIDIA-A100-SXM4-80GB".
	Type string
	// FreeGPUs is how many GPUs are free on the nodes that they may run on, also where not enough are together for a pod.
	FreeGPUs int64
}

// Room tells how many more pods of a shape could be scheduled now, up to most, beside those that the scheduler is about to look at. A
// node that such pods run on says which type their GPUs are; "" where none does.
func (c *Cluster) Room(shape *corev1.PodSpec, node string, most int32) Room {
	if shape == nil {
		return Room{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.look() {
		return Room{}
	}
	return c.last.room(shape, node, most)
}

// Total is what there is of a type of GPU.
type Total struct {
	Type string
	// Allocatable is what the nodes offer, Requested what pods on them ask for, and Free what could be asked for now: on nodes that
	// are ready and not cordoned.
	Allocatable, Requested, Free int64
}

// Totals tells of each type of GPU, by name; nil while the cluster is not known.
func (c *Cluster) Totals() []Total {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.look() {
		return nil
	}
	return c.last.totals()
}

// look renews the last look when it is a second old and something has changed. c.mu is held.
func (c *Cluster) look() bool {
	now := c.opts.Now()
	if c.last != nil && now.Sub(c.at) < lookEvery && !now.Before(c.at) {
		return true
	}
	changes := c.opts.Changes()
	if c.last != nil && changes == c.changes {
		c.at = now
		return true
	}
	nodes, known := c.opts.Nodes()
	if !known {
		c.last = nil
		return false
	}
	c.last, c.at, c.changes = lookAt(nodes, c.opts.Pods()), now, changes
	return true
}
