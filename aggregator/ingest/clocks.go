package ingest

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// A window ends when its node's clock says, and what may be stored is judged by the clock here. Nobody here can tell which of the
// two is wrong, so what is ahead of the clock here is kept as long as time alone, or a clock that is set right, can still help.
//
//	ahead by up to 5 min → stored
//	up to 90 min         → shown live, deferred: its agent keeps it and sends it again
//	more                 → refused

// classFuture is of refusals that the clock here is the reason for.
const classFuture = "future"

const (
	// maxAhead is how far a node's clock may be ahead of the one here.
	maxAhead = 5 * time.Minute
	// farAhead is how long agents keep a frame unless they are told otherwise: what is no further ahead, the clock here has reached
	// by then even when nobody sets it. What is further would in the end be dropped, and hold up until then what came after it.
	farAhead = 90 * time.Minute
	// closeEnough is how near clocks must be to be called right again: one that wanders about maxAhead is not told of each time.
	closeEnough = maxAhead / 2
)

const (
	// earlyAgain and earlyAtMost bound the pause until what is early is sent again: when the clock here is set, the backlog is not
	// to wait for long, and until then agents are not to send it again and again.
	earlyAgain, earlyAtMost = time.Second, 30 * time.Second
	// noPause is for the first time: the frames before it may be stored by now, and a pause is for all of them.
	noPause = time.Millisecond
)

// standing is what the end of a window is by the clock here.
type standing uint8

const (
	inTime standing = iota
	early
	tooEarly
)

func standingOf(end, now time.Time) standing {
	switch ahead := end.Sub(now); {
	case ahead <= maxAhead:
		return inTime
	case ahead <= farAhead:
		return early
	}
	return tooEarly
}

// describe says what is wrong, by both clocks, and what to do.
func (s standing) describe(node string, end, now time.Time) string {
	allowed := fmt.Sprintf("at most %v is stored, so it has to wait", maxAhead)
	if s == tooEarly {
		allowed = fmt.Sprintf("what is up to %v ahead may wait", farAhead)
	}
	return fmt.Sprintf("window ends at %s by the clock of node %q, %v ahead of the aggregator's clock, by which it is %s: %s; "+
		"one of the clocks is wrong, check NTP on the node and on that of the aggregator", end.UTC().Format(time.RFC3339), shorten(node),
		end.Sub(now).Round(time.Second), now.UTC().Format(time.RFC3339), allowed)
}

// pauseFor is after how long a frame that is early may come again: when the clock here has reached it, within bounds.
func pauseFor(end, now time.Time, first bool) time.Duration {
	if first {
		return noPause
	}
	return min(max(end.Sub(now)-maxAhead, earlyAgain), earlyAtMost)
}

// clocks remembers which nodes' clocks are ahead, so that each is told of once however often its agent comes back.
type clocks struct {
	mu    sync.Mutex
	ahead map[string]standing
}

func newClocks() *clocks { return &clocks{ahead: map[string]standing{}} }

// note is told of every frame that comes for the first time: those sent again are of a time that may be over.
func (c *clocks) note(log *slog.Logger, node string, is standing, end, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case is == c.ahead[node] || is == inTime && end.Sub(now) > closeEnough:
	case is == inTime:
		delete(c.ahead, node)
		log.Info("the clocks of the node and of the aggregator agree again", "ahead", end.Sub(now).Round(time.Millisecond))
	case is == early:
		c.ahead[node] = is
		log.Warn("batches are ahead of the aggregator's clock; they are shown, and kept by the agent until they can be stored",
			"reason", is.describe(node, end, now))
	default:
		c.ahead[node] = is
		log.Warn("batches are too far ahead of the aggregator's clock; they are refused and lost", "reason", is.describe(node, end, now))
	}
}
