package workload

import (
	"slices"
	"time"
)

// minute is one that is being added up, or waits for what is still to arrive.
type minute struct {
	end time.Time
	// looks is at how many of its slices the pods were looked at.
	looks   int
	demands map[ID]*[slicesPerMinute]sliceDemand
}

// sliceDemand is the demand of one workload in one slice. Zero means that it cannot be known.
type sliceDemand struct {
	state sliceState
	// pods are whose loads it is made of, as long as it waits for them.
	pods []Pod
	// busyGPUs and ready are a [Demand]'s, when it is known.
	busyGPUs, ready float64
}

type sliceState uint8

const (
	// sliceUnknown means: no replica can know it.
	sliceUnknown sliceState = iota
	// sliceWaiting means: something is still to arrive.
	sliceWaiting
	// sliceMissing means: something never arrived here. It may have elsewhere.
	sliceMissing
	sliceKnown
)

// look notes which pods each workload has, for the slice that ended. Without a look at the slice before, at the start or after the
// machine stood still, nobody can say which pods ended in it: then it only serves the next.
func (r *Recorder) look(end, now time.Time) {
	since := end.Sub(r.looked)
	switch {
	case since < 0 && -since <= waitUntil:
		return // the clock was set back a little, and catches up
	case since < 0:
		r.forget(end)
	}
	before := r.before
	r.looked, r.before = end, nil
	if now.Sub(end) > lookUntil {
		return
	}
	workloads := r.opts.Workloads()
	if workloads == nil {
		return
	}
	r.before = make(map[ID][]Pod, len(workloads))
	for _, w := range workloads {
		r.before[w.ID] = w.Pods
	}
	if before == nil || since != slice {
		return
	}
	m := r.minuteOf(end)
	m.looks++
	for _, w := range workloads {
		demand := m.demands[w.ID]
		if demand == nil {
			demand = &[slicesPerMinute]sliceDemand{}
			m.demands[w.ID] = demand
		}
		demand[slicesPerMinute-1-int(m.end.Sub(end)/slice)] = sliceDemand{state: sliceWaiting, pods: withEnded(w.Pods, before[w.ID])}
	}
}

// forget gives up what waits: it is of a time that comes again. Of what only waits to be written, the minutes that come again whole.
func (r *Recorder) forget(now time.Time) {
	waiting := len(r.unwritten)
	r.unwritten = slices.DeleteFunc(r.unwritten, func(p point) bool { return !p.end.Before(now.Add(recordEvery)) })
	r.results.WithLabelValues("unknown").Add(float64(waiting - len(r.unwritten)))
	for _, m := range r.minutes {
		r.results.WithLabelValues("unknown").Add(float64(len(m.demands)))
	}
	r.minutes = nil
}

// minuteOf is the minute that a slice is of.
func (r *Recorder) minuteOf(sliceEnd time.Time) *minute {
	end := sliceEnd.Add(recordEvery - 1).Truncate(recordEvery)
	if n := len(r.minutes); n > 0 && r.minutes[n-1].end.Equal(end) {
		return r.minutes[n-1]
	}
	m := &minute{end: end, demands: make(map[ID]*[slicesPerMinute]sliceDemand)}
	r.minutes = append(r.minutes, m)
	return m
}

// withEnded adds to the pods of a workload those that were there before and have ended since, in an order that every replica has.
func withEnded(pods, before []Pod) []Pod {
	out := pods
	for _, pod := range before {
		stays := slices.ContainsFunc(pods, func(p Pod) bool { return p.Name == pod.Name && p.Node == pod.Node })
		if pod.State == Unready || stays {
			continue
		}
		if len(out) == len(pods) {
			out = slices.Clone(pods)
		}
		pod.State = Gone
		out = append(out, pod)
	}
	return out
}

// settle looks whether what the slices of a workload wait for has arrived.
func (r *Recorder) settle(id ID, demand *[slicesPerMinute]sliceDemand, minuteEnd, now time.Time) {
	for i := range demand {
		if demand[i].state != sliceWaiting {
			continue
		}
		end := minuteEnd.Add(-time.Duration(slicesPerMinute-1-i) * slice)
		last := now.Sub(end) >= waitUntil
		settled := demandOf(id.Namespace, demand[i].pods, r.opts.Load, end, last)
		switch {
		case settled.state == sliceWaiting && !last:
			continue
		case settled.state == sliceWaiting:
			settled.state = sliceMissing
		case settled.state == sliceKnown && end.After(r.latest[id].At):
			r.latest[id] = Demand{ID: id, BusyGPUs: settled.busyGPUs, Pods: settled.ready, At: end}
		}
		demand[i] = settled
	}
}

// demandOf adds up the work that a workload's pods did in the slice that ended. It is known when there was a ready pod and the load
// of every ready pod is known, on each of its devices: one lost device hides a part of the demand. Starting pods are left out,
// and of a pod that became ready within the slice only the part since then counts: what a pod computes while it warms up is not
// demand. Pods on their way out still finish theirs, so theirs counts for as long as they held devices, where it is known; that
// of a node which died under them never will be. What an agent that was started anew may have left to send is waited for until
// the last time this is asked.
func demandOf(namespace string, pods []Pod, loadOf loadOf, end time.Time, last bool) sliceDemand {
	var out sliceDemand
	for _, pod := range pods {
		if pod.State == Unready || !pod.ReadySince.Before(end) {
			continue
		}
		from := end.Add(-slice)
		if pod.ReadySince.After(from) {
			from = pod.ReadySince
		}
		load := loadOf(namespace, pod.Name, pod.Node, from, end)
		if last && load.Reports == ReportsRestarted {
			load.Reports = ReportsComplete
		}
		switch {
		case load.Reports == ReportsSilent && pod.State == Gone:
		case load.Reports != ReportsComplete:
			return sliceDemand{state: sliceWaiting, pods: pods}
		case pod.State == Gone && load.Known:
			out.busyGPUs += load.BusyGPUs * load.Held.Seconds() / slice.Seconds()
		case pod.State == Gone:
		case !load.Known || float64(load.GPUs) < pod.GPUs:
			return sliceDemand{state: sliceUnknown}
		default:
			out.busyGPUs += load.BusyGPUs * end.Sub(from).Seconds() / slice.Seconds()
			out.ready++
		}
	}
	if out.ready > 0 {
		out.state = sliceKnown
	}
	return out
}

// mean is that of the slices that are known: waiting as long as one waits, missing when one is missing, and unknown when too few are
// known.
func mean(demand *[slicesPerMinute]sliceDemand) (busyGPUs, pods float64, state sliceState) {
	n, missing := 0.0, false
	for _, s := range demand {
		switch s.state {
		case sliceWaiting:
			return 0, 0, sliceWaiting
		case sliceMissing:
			missing = true
		case sliceKnown:
			busyGPUs, pods, n = busyGPUs+s.busyGPUs, pods+s.ready, n+1
		}
	}
	switch {
	case missing:
		return 0, 0, sliceMissing
	case n < neededSlices:
		return 0, 0, sliceUnknown
	}
	return busyGPUs / n, pods / n, sliceKnown
}
