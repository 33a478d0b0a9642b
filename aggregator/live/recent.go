package live

import "math"

// A step of load is a tenth of the average a second after it, and all of it ten seconds after. The newest two reports tell more, and
// less surely: what they tell is RecentBusyGPUs.

// epsilon keeps just half of a rise from being less by rounding.
const epsilon = 1e-9

// recent is what the plan's i-th pod does by its newest two reports: the newest, if the one before it bears it out. A step falls somewhere
// within a report, which then shows some part of it, half on average: so the one before must show at least half of the rise above the
// average of what came before both. If it does not, there is no rise until the next report tells: part of one would add some of the
// replicas, and the rest would wait until these have settled. False when, from a moment on (Unix milliseconds), there are not three
// reports that know the utilization of all its devices.
func (n *node) recent(i int, from int64) (float64, bool) {
	var newest, before, sum, duration float64
	reports := 0
	for j := len(n.windows) - 1; j >= 0; j-- {
		w := &n.windows[j]
		if w.start < from || w.compare(n.since[i].mark) < 0 {
			break
		}
		if w.plan == nil {
			continue
		}
		busy := w.busy(n.plan, n.plan.pods[i])
		if math.IsNaN(busy) {
			return 0, false
		}
		switch reports++; reports {
		case 1:
			newest = busy
		case 2:
			before = busy
		default:
			sum += busy * float64(w.end-w.start)
			duration += float64(w.end - w.start)
		}
	}
	if duration <= 0 {
		return 0, false
	}
	base := sum / duration
	if rise := newest - base; rise > 0 && before-base < rise/2-epsilon {
		return base, true
	}
	return newest, true
}

// busy is the sum of the utilization of a pod's devices, as a plan lists them; NaN where one is not known or the pod held more or fewer.
func (w *window) busy(p *plan, pod listing) float64 {
	if w.plan != p {
		i, listed := w.plan.find(pod.podName)
		if !listed || w.plan.pods[i].end-w.plan.pods[i].first != pod.end-pod.first {
			return math.NaN()
		}
		pod = w.plan.pods[i]
	}
	sum := 0.0
	for _, u := range w.utilization[pod.first:pod.end] {
		sum += u
	}
	return sum
}

// surge is by how much of its devices a pod must be busier in each of two reports, in the first of them by half as much, for anybody to
// be told.
const surge = 0.1

// surges calls a function for each listed pod that is busier in the newest two reports than in the one before them.
func (n *node) surges(found func(namespace, pod string)) {
	last := len(n.windows) - 1
	if last < 2 {
		return
	}
	newest, before, base := &n.windows[last], &n.windows[last-1], &n.windows[last-2]
	if newest.plan == nil || newest.plan != before.plan || before.plan != base.plan {
		return // who holds what has just changed: nothing to compare
	}
	for _, pod := range newest.plan.pods {
		was := base.busy(base.plan, pod)
		least := surge * float64(pod.end-pod.first)
		if newest.busy(base.plan, pod)-was >= least && before.busy(base.plan, pod)-was >= least/2 {
			found(pod.namespace, pod.name)
		}
	}
}
