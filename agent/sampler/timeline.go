package sampler

import "time"

const (
	// resolution is the precision of window bounds on the wire.
	resolution = time.Millisecond
	// followBack is the step back of the wall clock from which on it is followed at once. The aggregator takes nothing from
	// further in the future than this, so nothing it holds is then overlapped.
	followBack = 5 * time.Minute
)

// instant is one moment on both clocks: the wall clock, which people set and NTP corrects, and the time since the sampler
// began, which only goes on.
type instant struct {
	wall    time.Time
	elapsed time.Duration
}

// timeline gives windows their bounds on the wall clock. Their lengths come from the clock that only goes on. Every window
// ends after it starts, and starts no earlier than the one before ended:
//
//	the wall clock …        | the windows …
//	goes on                 | follow each other without a gap
//	jumps ahead             | leave a gap; none is longer than it was
//	jumps back, up to 5 min | run at half speed from where they were until the clock has caught up
//	jumps back further      | start anew at the clock, as after a restart: the one case in which one starts before another ended
type timeline struct {
	last time.Time // end of the window before; zero at first
}

// window returns the bounds of a window that lasted from opened to closed.
func (t *timeline) window(opened time.Duration, closed instant) (start, end time.Time) {
	length := max(closed.elapsed-opened, resolution)
	end = closed.wall.Truncate(resolution)
	if t.last.IsZero() || t.last.Sub(end) > followBack {
		t.last = end
		return end.Add(-length).Truncate(resolution), end
	}
	if slowest := t.last.Add(max(length/2, resolution)).Truncate(resolution); end.Before(slowest) {
		end = slowest
	}
	// Up to half a window of difference is the clock being trimmed, or rounding: no gap worth showing.
	start = t.last
	if from := end.Add(-length).Truncate(resolution); from.Sub(t.last) > length/2 {
		start = from
	}
	t.last = end
	return start, end
}
