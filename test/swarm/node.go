package swarm

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// NodeOptions say what a node has.
type NodeOptions struct {
	// GPUs is how many; 0 means 8.
	GPUs int
	// Full gives every metric of the catalogue; otherwise each GPU has 12 values and its pod 8.
	Full bool
	// PodLife is how long a pod lives on average; 0 is for ever.
	PodLife time.Duration
	// Calm keeps every pod as busy as it is at first.
	Calm bool
	// PodsPerWorkload is how many pods of a workload there are, one after the other over all nodes; 0 means 40.
	PodsPerWorkload int
}

// Workload is the number of the workload that a GPU's pods are of, by the GPU's number over all nodes.
func (o NodeOptions) Workload(gpu int) int { return gpu / cmp.Or(o.PodsPerWorkload, podsPerWorkload) }

// WorkloadName is what a workload is called: its namespace, that of its Deployment, and that of the Deployment's ReplicaSet.
func WorkloadName(workload int) (namespace, deployment, replicaSet string) {
	return fmt.Sprintf("team-%d", workload/workloadsPerNamespace), fmt.Sprintf("model-%d", workload), fmt.Sprintf("model-%d-7d9f8b6c5d", workload)
}

// Values is how many values a frame has while every GPU has its pod.
func (o NodeOptions) Values() int {
	return NewNode("", "", 0, 0, o).Next(time.UnixMilli(0), time.UnixMilli(1000)).Layout.Len()
}

// Node makes up what the agent of one node reports: a pod on each GPU, busy as it likes, in the steps in which drivers count. A pod that
// ended leaves its GPU free for one window, and another comes.
type Node struct {
	// Name and Session are those of its frames.
	Name, Session string
	options       NodeOptions
	number        int
	random        *rand.Rand
	gpus          []gpu
	held          []int // GPU of each use
	framer        telemetry.Framer
	layout        *telemetry.Layout
	sequence      uint64
	pods          int // how many there were
}

// The workloads of a swarm: as many pods of each, one after the other over all nodes, and as many workloads in each namespace.
const (
	podsPerWorkload       = 40
	workloadsPerNamespace = 50
)

// NewNode makes the node with this number in a swarm.
func NewNode(name, session string, number int, seed uint64, o NodeOptions) *Node {
	if o.GPUs == 0 {
		o.GPUs = 8
	}
	n := &Node{Name: name, Session: session, options: o, number: number, random: rand.New(rand.NewPCG(seed, uint64(number)+1))}
	for i := range o.GPUs {
		n.gpus = append(n.gpus, newGPU(n.random, fmt.Sprintf("GPU-%08x-%04x-4000-8000-%012x", n.random.Uint32(), i, number), i))
		n.create(&n.gpus[i])
	}
	return n
}

// create puts a new pod on a GPU.
func (n *Node) create(g *gpu) {
	namespace, _, set := WorkloadName(n.options.Workload(n.number*n.options.GPUs + g.device.Index))
	n.pods++
	g.pod = telemetry.Pod{
		Namespace: namespace, Name: fmt.Sprintf("%s-%s-%03d", set, n.Name, n.pods),
		UID:            fmt.Sprintf("%08x-0000-4000-8000-%08x%04x", n.random.Uint32(), n.number, n.pods),
		ControllerKind: "ReplicaSet", ControllerName: set, Known: true, Ready: true,
	}
	g.begin(n.random)
}

// Pods are those that have a GPU now.
func (n *Node) Pods() []telemetry.Pod {
	var pods []telemetry.Pod
	for i := range n.gpus {
		if n.gpus[i].pod.Name != "" {
			pods = append(pods, n.gpus[i].pod)
		}
	}
	return pods
}

// Next is what happened in the window since the one before.
func (n *Node) Next(start, end time.Time) telemetry.Frame {
	n.sequence++
	changed := n.layout == nil
	for i := range n.gpus {
		g := &n.gpus[i]
		switch {
		case g.pod.Name == "":
			n.create(g)
			changed = true
		case n.options.PodLife > 0 && n.random.Float64() < end.Sub(start).Seconds()/n.options.PodLife.Seconds():
			g.end()
			changed = true
		}
		g.advance(n.random, end.Sub(start).Seconds())
		if n.options.Calm {
			g.mean, g.peak = g.low, g.low
		}
	}
	if changed {
		f := n.framer.Frame(n.batch(start, end))
		n.layout = f.Layout
		return f
	}
	f := telemetry.Frame{Node: n.Name, Session: n.Session, Sequence: n.sequence, Start: start, End: end, OwnersKnown: true,
		Layout: n.layout, Values: make([]float64, 0, n.layout.Len())}
	for i := range n.layout.Columns {
		c := &n.layout.Columns[i]
		d := c.Metric.Definition()
		for _, slot := range c.Slots {
			f.Values = append(f.Values, d.Round(n.value(c.Kind, c.Metric, slot)))
		}
	}
	return f
}

func (n *Node) value(kind telemetry.ColumnKind, m telemetry.Metric, slot uint32) float64 {
	switch kind {
	case telemetry.UsageColumn:
		return n.gpus[n.held[slot]].usage(m)
	case telemetry.UnattributedColumn:
		return n.gpus[slot].unattributed(m)
	}
	return n.gpus[slot].reading(m)
}

// batch is the window in the words from which layouts are made.
func (n *Node) batch(start, end time.Time) telemetry.Batch {
	b := telemetry.Batch{Node: n.Name, Session: n.Session, Sequence: n.sequence, Start: start, End: end, OwnersKnown: true}
	n.held = n.held[:0]
	for i := range n.gpus {
		g := &n.gpus[i]
		r := telemetry.Reading{Device: g.device, Values: telemetry.Values{}}
		u := telemetry.Usage{Owner: telemetry.Owner{Namespace: g.pod.Namespace, Pod: g.pod.Name, Container: "model"}, DeviceUUID: g.device.UUID,
			Attribution: telemetry.AttributionExclusive, Values: telemetry.Values{}}
		if n.options.Full {
			r.Unattributed = telemetry.Values{}
		}
		for _, d := range telemetry.Catalogue() {
			if n.options.Full || ofDevice[d.Metric] {
				r.Values[d.Metric] = g.reading(d.Metric)
			}
			if d.Split != telemetry.SplitNone && (n.options.Full || ofPod[d.Metric]) {
				u.Values[d.Metric] = g.usage(d.Metric)
			}
			if n.options.Full && d.Split.Sums() {
				r.Unattributed[d.Metric] = g.unattributed(d.Metric)
			}
		}
		b.Readings = append(b.Readings, r)
		if g.pod.Name != "" {
			b.Usages, b.Pods = append(b.Usages, u), append(b.Pods, g.pod)
			n.held = append(n.held, i)
		}
	}
	return b
}
