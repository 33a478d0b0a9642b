package live

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// node is what one node said. A pod belongs to its node: a StatefulSet's pod of the same name that comes up elsewhere is
// another one.
type node struct {
	// newest is the newest frame, received when it arrived.
	newest   telemetry.Frame
	received time.Time
	// listing is the newest frame that says who holds which device, and listed when it arrived; plan reads it. Before there is
	// one the plan is empty.
	listing telemetry.Frame
	listed  time.Time
	plan    *plan
	// since is when each of the plan's pods appeared.
	since []appearance
	// session is the agent's, the epoch-th that was believed; former the one before.
	session, former string
	epoch           uint32
	// windows are those of the last two minutes that have arrived, by mark.
	windows []window
}

// mark puts a node's frames in the order in which they were sampled, whatever its clock did meanwhile.
type mark struct {
	epoch    uint32
	sequence uint64
}

func (m mark) compare(o mark) int {
	return cmp.Or(cmp.Compare(m.epoch, o.epoch), cmp.Compare(m.sequence, o.sequence))
}

// follows reports whether no frame was sampled between the two.
func (m mark) follows(o mark) bool { return m.epoch == o.epoch && m.sequence == o.sequence+1 }

// begins reports whether the frame is the first of a run of the agent: each run counts from one in the lower half of its
// sequences, be it in a session of its own or in one that goes on.
func (m mark) begins() bool { return uint32(m.sequence) == 1 }

// appearance is the frame from which on a pod was listed without a break.
type appearance struct {
	mark
	end time.Time
}

// window is what is kept of a frame: the utilization of the plan's devices.
type window struct {
	mark
	start, end  int64 // Unix milliseconds
	plan        *plan // nil when it was not known who holds which device
	utilization []float64
}

// window returns what is to be kept of a frame. Its plan is that of a window before when the layout is.
func (n *node) window(f telemetry.Frame, m mark) window {
	w := window{mark: m, start: f.Start.UnixMilli(), end: f.End.UnixMilli()}
	if !f.OwnersKnown {
		return w
	}
	w.plan = n.plan
	for i := len(n.windows) - 1; i >= 0 && w.plan.layout != f.Layout; i-- {
		if n.windows[i].plan != nil {
			w.plan = n.windows[i].plan
		}
	}
	if w.plan.layout != f.Layout {
		w.plan = newPlan(f.Layout)
	}
	w.utilization = w.plan.utilization(f.Values)
	return w
}

// keep puts a window where it belongs, unless it is there already, and forgets what is older than two minutes or was overtaken:
// what lies ahead of the newest window was told by a clock that has been set back since.
func (n *node) keep(w window) {
	i, there := slices.BinarySearchFunc(n.windows, w.mark, func(w window, m mark) int { return w.compare(m) })
	if there {
		return
	}
	n.windows = slices.Insert(n.windows, i, w)
	newest := n.newest.End.UnixMilli()
	oldest := newest
	if len(n.plan.pods) > 0 { // their load is told as long as they are listed
		oldest = n.listing.End.UnixMilli()
	}
	oldest = min(oldest, newest) - keepWindows.Milliseconds()
	// Copied down in place, so that the memory is that of the windows kept.
	n.windows = slices.DeleteFunc(n.windows, func(w window) bool { return w.end <= oldest || w.start >= newest })
	n.windows = slices.Delete(n.windows, 0, max(0, len(n.windows)-mostWindows))
}

// share is what one device of a pod did over a stretch of time.
type share struct {
	uuid string
	// busy is the sum of utilization × milliseconds over the known ones, held how many milliseconds the pod held the device.
	busy, known, held float64
	// newest is the end of the last window in which the utilization is known, in Unix milliseconds.
	newest int64
}

// shares says what a pod's devices did between two moments (Unix milliseconds), as far as windows from a mark on tell; those
// come first that it held last. A window counts for the part that lies between the moments, and ends where a later one begins. When
// what arrived makes no difference, not even to the order in which is added up.
func (n *node) shares(name podName, from, to int64, since mark) []share {
	var out []share
	var current *plan
	var devices []held
	var first uint32
	later := int64(math.MaxInt64)
	for i := len(n.windows) - 1; i >= 0 && later > from; i-- {
		w := &n.windows[i]
		if w.compare(since) < 0 {
			break
		}
		ms := float64(min(w.end, to, later) - max(w.start, from))
		later = min(later, w.start)
		if ms <= 0 || w.plan == nil {
			continue
		}
		if w.plan != current {
			current = w.plan
			devices, first = current.of(name)
		}
		for j := range devices {
			var at int
			out, at = place(out, devices[j].uuid, j)
			out[at].add(w.utilization[int(first)+j], ms, w.end)
		}
	}
	return out
}

// place finds a device's share, most likely where guessed, and makes room for it when there is none yet.
func place(shares []share, uuid string, guess int) ([]share, int) {
	if guess < len(shares) && shares[guess].uuid == uuid {
		return shares, guess
	}
	if i := slices.IndexFunc(shares, func(s share) bool { return s.uuid == uuid }); i >= 0 {
		return shares, i
	}
	return append(shares, share{uuid: uuid}), len(shares)
}

// add counts so many milliseconds of a window that ended then; those of later windows were added before.
func (s *share) add(utilization, ms float64, end int64) {
	s.held += ms
	if math.IsNaN(utilization) {
		return
	}
	if s.known == 0 {
		s.newest = end
	}
	s.known += ms
	s.busy += utilization * ms
}
