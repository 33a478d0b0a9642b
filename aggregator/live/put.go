package live

import (
	"slices"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// Put takes a frame that arrived now, and keeps it: nobody may change its values afterwards. What is newest is told by the
// sequence and not by the clock, which may have been set back. An older frame changes nothing of now and fills in what
// [View.PodBetween] tells of then; one that came before changes nothing. Without known owners a frame changes the node's state
// only; with them, a pod it does not list is gone.
func (v *View) Put(f telemetry.Frame, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now.Sub(v.pruned) >= pruneEvery {
		v.prune(now)
	}
	n := v.nodes[f.Node]
	if n == nil {
		n = &node{plan: &plan{}}
		v.nodes[f.Node] = n
	}
	m, newer := n.place(f, now, v.staleAfter)
	w := n.window(f, m)
	if newer {
		n.newest, n.received = f, now
	}
	if newer && f.OwnersKnown {
		n.listing, n.listed = f, now
		v.list(n, w.plan, appearance{m, f.End})
	}
	n.keep(w)
	if v.surge != nil && newer && f.OwnersKnown {
		n.surges(v.surge)
	}
}

// place puts a frame among those that have arrived and reports whether it is newer than all of them. Of an agent that starts
// anew everything is newer, even if the one before had a clock that was ahead. What is left of that one's is older, unless
// it is the other that has fallen silent.
func (n *node) place(f telemetry.Frame, now time.Time, staleAfter time.Duration) (m mark, newer bool) {
	switch {
	case f.Session == n.session && n.epoch > 0:
		return mark{n.epoch, f.Sequence}, f.Sequence > n.newest.Sequence
	case f.Session == n.former && n.epoch > 1 && now.Sub(n.received) <= staleAfter:
		return mark{n.epoch - 1, f.Sequence}, false
	}
	n.former, n.session = n.session, f.Session
	n.epoch++
	return mark{n.epoch, f.Sequence}, true
}

// list makes a plan's pods those of a node: new ones appear by the given frame. Called with the lock held.
func (v *View) list(n *node, next *plan, by appearance) {
	if next == n.plan {
		return
	}
	since := make([]appearance, len(next.pods))
	gone := n.plan.pods
	for i := range next.pods {
		pod := next.pods[i].podName
		for len(gone) > 0 && gone[0].compare(pod) < 0 {
			v.unlist(gone[0].podName, n)
			gone = gone[1:]
		}
		if len(gone) > 0 && gone[0].podName == pod {
			since[i] = n.since[len(n.plan.pods)-len(gone)]
			gone = gone[1:]
			continue
		}
		since[i] = by
		v.pods[pod] = append(v.pods[pod], n)
	}
	for _, pod := range gone {
		v.unlist(pod.podName, n)
	}
	n.plan, n.since = next, since
}

// unlist forgets that a node lists a pod. Called with the lock held.
func (v *View) unlist(pod podName, n *node) {
	rest := slices.DeleteFunc(v.pods[pod], func(other *node) bool { return other == n })
	if len(rest) == 0 {
		delete(v.pods, pod)
		return
	}
	v.pods[pod] = rest
}

// prune drops pods and nodes that have not been reported for long. Called with the lock held.
func (v *View) prune(now time.Time) {
	v.pruned = now
	for name, n := range v.nodes {
		if now.Sub(n.listed) > keepPod {
			v.list(n, &plan{}, appearance{})
		}
		if now.Sub(n.received) > keepNode {
			delete(v.nodes, name)
		}
	}
}
