package forecast

import (
	"math"
	"slices"
	"time"
)

const (
	spikeTimes = 3.0           // a spike is so many times what any other day saw around that time …
	spikeFloor = 1.5           // … and so many times the mean of all that is known
	spikeLasts = 3 * time.Hour // at most
	spikeDays  = 4             // of history without which there is no usual
	spikeRare  = 4             // days of history to a spike, at least: what comes more often, and regularly, is a habit

	moveLeast  = 1.5  // a new level is so many times the old …
	moveMost   = 3.2  // … at most: beyond, it is no level but an incident, or a workload that sleeps
	moveBeyond = 0.8  // at least so much of how far off, by the logarithm, any stretch of the two weeks before was
	moveApart  = 0.65 // by how much each quarter of it may differ, by how far off the whole is
)

// moveLasts are the stretches that are looked at for a new level, in hours; the longest that fits counts. What is younger than
// half a day is more often over tomorrow than not.
var moveLasts = [...]int{24, 18, 12}

// forgetSpikes takes as not known what is no habit: a stretch of up to three hours, over by now, in which demand went far beyond
// anything seen within an hour of that time on any other day. A burst that comes each day is kept, and so are one that still lasts and
// those that come regularly: what runs every 35 hours meets a time of day once in weeks.
func (h *history) forgetSpikes() {
	hour := max(1, int(time.Hour/h.step))
	if len(h.y) < spikeDays*h.day || h.day%hour != 0 {
		return
	}
	limit := h.limits(hour)
	start, longest := -1, int(spikeLasts/h.step)
	var spikes [][2]int
	for i, v := range h.y {
		switch {
		case !h.known[i]:
		case v > limit[i/hour]:
			if start < 0 {
				start = i
			}
		case start >= 0:
			if i-start <= longest {
				spikes = append(spikes, [2]int{start, i})
			}
			start = -1
		}
	}
	if len(spikes) > max(2, len(h.y)/h.day/spikeRare) && regular(spikes, hour) {
		return
	}
	for _, s := range spikes {
		for k := s[0]; k < s[1]; k++ {
			if h.known[k] {
				h.known[k] = false
				h.count--
			}
		}
	}
}

// regular tells whether two of three spikes ([from, to) each) come as long after the one before as is usual, to the hour.
func regular(spikes [][2]int, hour int) bool {
	var apart []int
	for i := 1; i < len(spikes); i++ {
		apart = append(apart, spikes[i][0]-spikes[i-1][0])
	}
	slices.Sort(apart)
	usual, same := apart[len(apart)/2], 0
	for _, a := range apart {
		if max(a-usual, usual-a) <= hour {
			same++
		}
	}
	return 3*same >= 2*len(apart)
}

// limits are what a spike exceeds, in each hour of the history.
func (h *history) limits(hour int) []float64 {
	top, sum := make([]float64, (len(h.y)+hour-1)/hour), 0.0
	for i, v := range h.y {
		if h.known[i] {
			top[i/hour] = max(top[i/hour], v)
			sum += v
		}
	}
	type peak struct {
		first, second float64 // the highest of all days, and of the others
		at            int
	}
	peaks := make([]peak, h.day/hour)
	for b := range top {
		around := 0.0
		for _, v := range top[max(0, b-1):min(len(top), b+2)] {
			around = max(around, v)
		}
		switch p := &peaks[b%len(peaks)]; {
		case around > p.first:
			*p = peak{around, p.first, b}
		case around > p.second:
			p.second = around
		}
	}
	limit := make([]float64, len(top))
	for b := range limit {
		p := peaks[b%len(peaks)]
		if p.at == b {
			p.first = p.second
		}
		limit[b] = max(spikeTimes*p.first, spikeFloor*sum/float64(h.count))
	}
	return limit
}

// move finds a new level: the newest stretch all along which demand was a multiple of what the slow profile expected, about as far
// off as it ever was or farther. It returns the multiple and the first step of the stretch; 1 when there is none. Only upward:
// to expect too much costs less than to expect too little.
func (h *history) move() (times float64, from int) {
	n, hour := len(h.y), int(time.Hour/h.step)
	if n < 7*h.day || hour == 0 {
		return 1, n
	}
	for _, hours := range moveLasts {
		k := hours * hour
		far, ok := h.off(n-k, n)
		if !ok || far < math.Log(moveLeast) || far > math.Log(moveMost) || !h.steady(far, n-k, n) {
			continue
		}
		if far > moveBeyond*h.usualMove(k) && !h.habit(far, n-k, n) {
			return math.Exp(far), n - k
		}
	}
	return 1, n
}

// steady tells whether each quarter of a stretch is about as far off as the whole.
func (h *history) steady(far float64, from, to int) bool {
	quarter := (to - from) / 4
	for i := from; i+quarter <= to; i += max(1, quarter) {
		if off, ok := h.off(i, i+quarter); !ok || math.Abs(off-far) > moveApart*far {
			return false
		}
	}
	return true
}

// habit tells whether a week before the stretch demand was at least half as far off: a weekend is no new level.
func (h *history) habit(far float64, from, to int) bool {
	week := 7 * h.day
	if from-week < h.day {
		return false
	}
	off, ok := h.off(from-week, to-week)
	return ok && off > far/2
}

// usualMove is the farthest off that demand was over k steps of the two weeks before the newest k steps.
func (h *history) usualMove(k int) float64 {
	n, usual := len(h.y), 0.0
	for o := n - k; o-k >= max(2*h.day, n-15*h.day); o -= max(1, k/2) {
		if r, ok := h.off(o-k, o); ok {
			usual = max(usual, math.Abs(r))
		}
	}
	return usual
}

// off is the logarithm of demand by what the slow profile expected of it a day before, over the steps [from, to); false when half
// of it is not known, or one of them is nothing. A day lies before from.
func (h *history) off(from, to int) (float64, bool) {
	was, expected, known := 0.0, 0.0, 0
	for i := from; i < to; i++ {
		if h.known[i] {
			known++
			was += h.y[i]
			expected += h.slow.mean(max(0, i-h.day-h.around), min(i, i-h.day+h.around+1))
		}
	}
	if 2*known < to-from || was <= 0 || expected <= 0 {
		return 0, false
	}
	return math.Log(was / expected), true
}
