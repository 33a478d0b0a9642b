package scaling

import "time"

// windowSize bounds what a Window remembers of each kind. An hour of decisions every two seconds is 1800; only those that are
// the most or the fewest of all that came later are kept apart.
const windowSize = 512

// longestStabilization is how far back recommendations are remembered; the Horizontal Pod Autoscaler allows no longer window.
const longestStabilization = time.Hour

// Window remembers, for one workload, what was recommended and how its replicas changed over the last while. The zero value is
// ready for use. It is not safe for concurrent use.
type Window struct {
	largest  extreme  // recommendations
	smallest extreme  // recommendations, negative
	changes  []change // of the replicas, oldest first
	current  int32    // replicas when last seen
	seeded   bool
}

// extreme answers what the largest of the last while was. It keeps only what is larger than all that came later: an earlier,
// smaller one can never be the largest again.
type extreme []recorded // oldest and largest first

type recorded struct {
	at       time.Time
	replicas int32
}

// change is by how much the replicas of a workload were changed, by whomever.
type change struct {
	at time.Time
	by int32
}

// see takes note of the replicas that are set now. The first time it counts as a recommendation (horizontal.go,
// recordInitialRecommendation); after that, as a change when they differ.
func (w *Window) see(now time.Time, current int32) {
	switch {
	case !w.seeded:
		w.seeded = true
		w.add(now, current)
	case current != w.current:
		w.changed(now, current-w.current)
	}
	w.current = current
}

func (w *Window) changed(now time.Time, by int32) {
	n := len(w.changes)
	if n > 0 && w.changes[n-1].at.After(now) {
		now = w.changes[n-1].at
	}
	old := 0
	for old < n && w.changes[old].at.Before(now.Add(-longestPeriod)) {
		old++
	}
	w.changes = append(w.changes[:0], w.changes[old:]...)
	if len(w.changes) == windowSize { // the oldest counts for longer than asked: changes are then slower, not faster
		w.changes[1].by += w.changes[0].by
		w.changes = append(w.changes[:0], w.changes[1:]...)
	}
	w.changes = append(w.changes, change{now, by})
}

// before is how many replicas there were a period ago, as far as it is remembered.
func (w *Window) before(now time.Time, period time.Duration, current int32) float64 {
	began := float64(current)
	for _, c := range w.changes {
		if c.at.After(now.Add(-period)) {
			began -= float64(c.by)
		}
	}
	return began
}

// add records a recommendation made at now.
func (w *Window) add(now time.Time, replicas int32) {
	w.largest.add(now, replicas)
	w.smallest.add(now, -replicas)
}

// max is the largest recommendation since now-length, that moment included; false when there is none.
func (w *Window) max(now time.Time, length time.Duration) (int32, bool) {
	return w.largest.since(now.Add(-length))
}

// min is the smallest.
func (w *Window) min(now time.Time, length time.Duration) (int32, bool) {
	replicas, ok := w.smallest.since(now.Add(-length))
	return -replicas, ok
}

// add keeps what was recommended at now. A clock that went back counts as standing still.
func (e *extreme) add(now time.Time, replicas int32) {
	kept := *e
	if n := len(kept); n > 0 && kept[n-1].at.After(now) {
		now = kept[n-1].at
	}
	// What has scrolled out must go: it would fill the memory, and the newest that is kept then stand for ever.
	old := 0
	for old < len(kept) && kept[old].at.Before(now.Add(-longestStabilization)) {
		old++
	}
	kept = append(kept[:0], kept[old:]...)
	for len(kept) > 0 && kept[len(kept)-1].replicas <= replicas {
		kept = kept[:len(kept)-1]
	}
	if len(kept) == windowSize {
		// Remember the newest kept one as if it were made now: longer than asked is the safe side.
		kept[windowSize-1].at = now
	} else {
		kept = append(kept, recorded{now, replicas})
	}
	*e = kept
}

// since is the largest that was kept from a moment on.
func (e *extreme) since(cutoff time.Time) (int32, bool) {
	for _, r := range *e {
		if !r.at.Before(cutoff) {
			return r.replicas, true
		}
	}
	return 0, false
}

// until is when so many or more were last recommended. There is such a moment.
func (e *extreme) until(replicas int32) (last time.Time) {
	for _, r := range *e {
		if r.replicas >= replicas {
			last = r.at
		}
	}
	return last
}
