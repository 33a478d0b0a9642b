package capacity

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// look is the cluster as it was at one moment.
type look struct {
	nodes     []*node // with GPUs, by name
	byName    map[string]*node
	templates map[*corev1.PodSpec]*template
	free      map[wanted][]*node
	types     map[wanted]string // whatever the priority
}

// wanted is a resource as pods of a priority see it that may run somewhere.
type wanted struct {
	resource corev1.ResourceName
	priority int32
	where    string
}

// lookAt adds up what pods take of the nodes, and places those that are about to be scheduled, the most important first.
func lookAt(nodes []*corev1.Node, pods iter.Seq[Pod]) *look {
	l := &look{byName: make(map[string]*node, len(nodes)), templates: map[*corev1.PodSpec]*template{}, free: map[wanted][]*node{}, types: map[wanted]string{}}
	for _, n := range nodes {
		l.byName[n.Name] = newNode(n)
	}
	l.nodes = slices.SortedFunc(maps.Values(l.byName), func(a, b *node) int { return cmp.Compare(a.Name, b.Name) })
	var coming []Pod
	for pod := range pods {
		switch n := l.byName[pod.Node]; {
		case n != nil && pod.Shape != nil:
			n.take(pod.Priority, l.template(pod.Shape).requests)
		case n != nil:
			n.take(pod.Priority, []request{{corev1.ResourceCPU, pod.CPUMilli}, {corev1.ResourceMemory, pod.MemoryBytes}, {corev1.ResourcePods, 1}})
		case pod.Node == "" && pod.Shape != nil:
			coming = append(coming, pod)
		}
	}
	slices.SortStableFunc(coming, func(a, b Pod) int { return cmp.Compare(b.Priority, a.Priority) })
	for _, pod := range coming {
		l.place(pod)
	}
	clear(l.free) // it has changed
	return l
}

// place has a pod take of the first node that it fits on.
func (l *look) place(pod Pod) {
	t := l.template(pod.Shape)
	if t.claims || len(t.gpus) == 0 {
		return
	}
	for _, n := range l.withFree(t) {
		if n.fits(t) > 0 {
			n.take(pod.Priority, t.requests)
			return
		}
	}
}

// withFree are the nodes that pods of a template may run on and that have GPUs free for them, looked up once for all that ask the
// same: thousands of workloads share a few kinds of node.
func (l *look) withFree(t *template) []*node {
	w := wanted{t.gpus[0].resource, t.priority, t.where}
	found, looked := l.free[w]
	if !looked {
		for _, n := range l.nodes {
			if n.open && n.free(w.priority, w.resource) > 0 && t.mayRunOn(n) {
				found = append(found, n)
			}
		}
		l.free[w] = found
	}
	return found
}

func (l *look) template(shape *corev1.PodSpec) *template {
	t := l.templates[shape]
	if t == nil {
		t = newTemplate(shape)
		l.templates[shape] = t
	}
	return t
}

func (l *look) room(shape *corev1.PodSpec, on string, most int32) Room {
	t := l.template(shape)
	if t.claims || len(t.gpus) == 0 {
		return Room{}
	}
	gpu := t.gpus[0].resource
	out := Room{Known: true, Type: l.typeOf(t, on)}
	if most <= 0 {
		return out
	}
	for _, n := range l.withFree(t) {
		out.FreeGPUs += n.free(t.priority, gpu)
		out.Pods += int32(min(n.fits(t), int64(most-out.Pods)))
		if out.Pods == most {
			break
		}
	}
	return out
}

// typeOf is the type of the GPUs that pods of a template have: on the node that one of them runs on, else on the first that they may.
func (l *look) typeOf(t *template, on string) string {
	gpu := t.gpus[0].resource
	if n := l.byName[on]; n != nil {
		return n.gpuType(gpu)
	}
	w := wanted{resource: gpu, where: t.where}
	if l.types[w] == "" {
		l.types[w] = string(gpu)
		for _, n := range l.nodes {
			if n.allocatable[gpu] > 0 && t.mayRunOn(n) {
				l.types[w] = n.gpuType(gpu)
				break
			}
		}
	}
	return l.types[w]
}

func (l *look) totals() []Total {
	byType := map[string]*Total{}
	for _, n := range l.nodes {
		for resource, offered := range n.allocatable {
			if !isGPU(resource) || offered == 0 {
				continue
			}
			name := n.gpuType(resource)
			if byType[name] == nil {
				byType[name] = &Total{Type: name}
			}
			free := n.free(lowest, resource)
			byType[name].Allocatable += offered
			byType[name].Requested += offered - free
			if n.open {
				byType[name].Free += max(free, 0)
			}
		}
	}
	out := make([]Total, 0, len(byType))
	for _, name := range slices.Sorted(maps.Keys(byType)) {
		out = append(out, *byType[name])
	}
	return out
}
