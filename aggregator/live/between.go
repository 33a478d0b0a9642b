package live

import "time"

// Reports says how much of what a node had to say of a stretch of time has arrived.
type Reports string

const (
	// ReportsComplete means: all of it. Whoever has that sees the same, however late any of it came.
	ReportsComplete Reports = "complete"
	// ReportsRestarted means: all of it, except for what an agent that ended meanwhile may have left to be sent by the next.
	ReportsRestarted Reports = "restarted"
	// ReportsMissing means: some may be under way, or is lost.
	ReportsMissing Reports = "missing"
	// ReportsSilent means: none, and the node had fallen silent long before.
	ReportsSilent Reports = "silent"
)

// Stretch is what one pod did with its GPUs on one node between two moments.
type Stretch struct {
	Reports Reports
	// Known is false when the pod held no device, or when of one it held the utilization is not known; the rest is zero then.
	Known bool
	// GPUs is how many devices the pod held for as long as it held any, and BusyGPUs the sum over its devices of their mean
	// utilization meanwhile.
	GPUs     int
	BusyGPUs float64
	// Held is for how long it held any.
	Held time.Duration
}

// PodBetween tells what a pod did on one node between two moments of the node's clock, not more than two minutes ago: also a pod
// that is gone since. Only the named node is asked, as of [View.PodSince].
func (v *View) PodBetween(namespace, name, nodeName string, from, to time.Time) Stretch {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n := v.nodes[nodeName]
	if n == nil || from.Sub(n.newest.End) > keepWindows {
		return Stretch{Reports: ReportsSilent}
	}
	out := Stretch{Reports: n.reports(from.UnixMilli(), to.UnixMilli())}
	if out.Reports == ReportsMissing {
		return out
	}
	shares := n.shares(podName{namespace, name}, from.UnixMilli(), to.UnixMilli(), mark{})
	longest := 0.0
	for _, s := range shares {
		if s.known == 0 {
			return out
		}
		longest = max(longest, s.held)
	}
	for _, s := range shares {
		if s.held == longest {
			out.GPUs++
		}
		out.BusyGPUs += s.busy / s.known * s.held / longest
	}
	out.Known, out.Held = len(shares) > 0, time.Duration(longest)*time.Millisecond
	return out
}

// reports says whether all frames that have something to say of the time between two moments (Unix milliseconds) have arrived.
// Where windows do not touch, either none was sampled between them, or one that was is not here.
func (n *node) reports(from, to int64) Reports {
	last := len(n.windows) - 1
	if last < 0 || n.windows[last].end < to {
		return ReportsMissing
	}
	out := ReportsComplete
	for i := last; i >= 0 && n.windows[i].start > from; i-- {
		if i == 0 {
			return ReportsMissing
		}
		w, before := &n.windows[i], &n.windows[i-1]
		switch gap := min(w.start, to) - max(before.end, from); {
		case gap <= 0 || w.follows(before.mark):
		case w.begins():
			out = ReportsRestarted
		default:
			return ReportsMissing
		}
	}
	return out
}
