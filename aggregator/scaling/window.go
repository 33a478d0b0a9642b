package scaling

import "time"

// windowSize bounds the memory of a Window. An hour of decisions every two seconds is 1800; only falling ones are kept apart.
const windowSize = 512

// Window remembers the recommendations of the last while for one workload, to answer "what was the most that was needed?".
// The zero value is ready for use. It is not safe for concurrent use.
//
// It keeps only recommendations larger than every later one: an earlier, smaller one can never be the largest again.
type Window struct {
	kept   []recorded // oldest and largest first
	seeded bool
}

type recorded struct {
	at       time.Time
	replicas int32
}

// seed records the current replicas as the first recommendation (horizontal.go, recordInitialRecommendation).
func (w *Window) seed(now time.Time, current int32) {
	if !w.seeded {
		w.seeded = true
		w.add(now, current)
	}
}

// add records a recommendation made at now. A clock that went back counts as standing still.
func (w *Window) add(now time.Time, replicas int32) {
	if n := len(w.kept); n > 0 && w.kept[n-1].at.After(now) {
		now = w.kept[n-1].at
	}
	for len(w.kept) > 0 && w.kept[len(w.kept)-1].replicas <= replicas {
		w.kept = w.kept[:len(w.kept)-1]
	}
	if len(w.kept) == windowSize {
		// Remember the newest kept one as if it were made now: longer than asked is the safe side.
		w.kept[windowSize-1].at = now
		return
	}
	w.kept = append(w.kept, recorded{now, replicas})
}

// max is the largest recommendation since now-length, that moment included; 0 when there is none.
func (w *Window) max(now time.Time, length time.Duration) int32 {
	cutoff := now.Add(-length)
	old := 0
	for old < len(w.kept) && w.kept[old].at.Before(cutoff) {
		old++
	}
	w.kept = append(w.kept[:0], w.kept[old:]...)
	if len(w.kept) == 0 {
		return 0
	}
	return w.kept[0].replicas
}
