package live

import (
	"math"
	"slices"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// Put takes a batch that arrived now. One that is not newer than what is known of its node changes nothing: batches are sent
// again after a broken stream. Without known owners it changes the node's state only; with them, a pod it does not list is gone.
func (v *View) Put(b telemetry.Batch, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now.Sub(v.pruned) >= pruneEvery {
		v.prune(now)
	}
	n := v.nodes[b.Node]
	if n == nil {
		n = &node{pods: make(map[podName]*pod)}
		v.nodes[b.Node] = n
	}
	if !b.End.After(n.end) {
		return
	}
	n.end, n.received = b.End, now
	n.ownersKnown, n.problems, n.devices = b.OwnersKnown, b.Problems, b.Readings
	if !b.OwnersKnown {
		return
	}
	listed := v.take(n, b, now)
	for key, p := range n.pods {
		if !listed[key] {
			v.drop(n, key, p)
		}
	}
}

// drop forgets a pod of a node. Called with the lock held.
func (v *View) drop(n *node, key podName, p *pod) {
	delete(n.pods, key)
	rest := slices.DeleteFunc(v.pods[key], func(other *pod) bool { return other == p })
	if len(rest) == 0 {
		delete(v.pods, key)
		return
	}
	v.pods[key] = rest
}

// take folds the usages of a batch into the node's pods and returns which pods it lists.
func (v *View) take(n *node, b telemetry.Batch, now time.Time) map[podName]bool {
	// Several containers of a pod may use the same device; each has a part of it.
	usages := make(map[podName]map[string]telemetry.Values, len(b.Usages))
	for _, u := range b.Usages {
		key := podName{u.Owner.Namespace, u.Owner.Pod}
		if usages[key] == nil {
			usages[key] = make(map[string]telemetry.Values, 1)
		}
		usages[key][u.DeviceUUID] = together(usages[key][u.DeviceUUID], u.Values)
	}
	listed := make(map[podName]bool, len(usages))
	for key, devices := range usages {
		listed[key] = true
		p := n.pods[key]
		if p == nil {
			p = &pod{node: b.Node, since: b.End, devices: make(map[string]*device, len(devices))}
			n.pods[key] = p
			v.pods[key] = append(v.pods[key], p)
		}
		p.end, p.received = b.End, now
		for uuid := range p.devices {
			if _, held := devices[uuid]; !held {
				delete(p.devices, uuid)
			}
		}
		for uuid, values := range devices {
			if p.devices[uuid] == nil {
				p.devices[uuid] = &device{}
			}
			p.devices[uuid].take(values, b.Start, b.End)
		}
	}
	return listed
}

// together merges what two containers of a pod used of one device. Parts add up, and with one of them unknown so is the sum.
// Of what has no sum, peaks and what there is, the larger stands.
func together(a, b telemetry.Values) telemetry.Values {
	if a == nil {
		return b
	}
	out := make(telemetry.Values, len(a))
	for m, x := range a {
		y, both := b[m]
		switch {
		case !m.Definition().Split.Sums():
			out[m] = max(x, y)
		case both:
			out[m] = x + y
		}
	}
	for m, y := range b {
		if _, both := a[m]; !both && !m.Definition().Split.Sums() {
			out[m] = y
		}
	}
	return out
}

func (d *device) take(values telemetry.Values, start, end time.Time) {
	d.memoryUsed, d.memoryTotal = orNaN(values, telemetry.MemoryUsed), orNaN(values, telemetry.MemoryTotal)
	oldest := end.Add(-keepPoints).UnixMilli()
	drop := 0
	for drop < len(d.points) && d.points[drop].end <= oldest {
		drop++
	}
	// Copied down in place, so that the memory is that of the points kept.
	d.points = d.points[:copy(d.points, d.points[drop:])]
	if utilization, ok := values[telemetry.UtilizationMean]; ok {
		d.points = append(d.points, point{start.UnixMilli(), end.UnixMilli(), utilization})
	}
}

func orNaN(values telemetry.Values, m telemetry.Metric) float64 {
	if v, ok := values[m]; ok {
		return v
	}
	return math.NaN()
}

// prune drops pods and nodes that have not been reported for long. Called with the lock held.
func (v *View) prune(now time.Time) {
	v.pruned = now
	for name, n := range v.nodes {
		for key, p := range n.pods {
			if now.Sub(p.received) > keepPod {
				v.drop(n, key, p)
			}
		}
		if now.Sub(n.received) > keepNode {
			delete(v.nodes, name)
		}
	}
}
