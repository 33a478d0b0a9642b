package forecast

import (
	"math"
	"time"
)

// history is the part of a series that a forecast rests on: from the first known point of the last 28 days to the newest known
// one. Every array is built from the past only, so that a backtest which stands at step o and looks below o sees no future.
type history struct {
	y        []float64 // demand; gaps filled from the past
	known    []bool    // false where y is filled
	count    int       // known points
	gap      int       // steps after the newest known one
	missing  int       // of them, those of which the series itself knows nothing; the others are on named days
	day      int       // steps in a day
	step     time.Duration
	seasonal bool // a day is known
	weeks    bool // eight days are known: the same weekday and the level a week before it
	around   int  // profiles are smoothed over this many steps to each side: 15 minutes

	value    profile // y itself
	fast     profile // mean over past days at the same time of day, half-life 0.7 days
	mid      profile // half-life 2 days
	slow     profile // half-life 6 days
	weekly   profile // half-life 8 days, the same weekday five times
	median   profile // median of seven days
	weekdays profile // mean over the last three same weekdays

	almanac    *almanac    // of whose ordinary days this is the history; nil when all are
	saturation *saturation // nil when no step was saturated

	levels         [levelCount]level
	moved          float64       // how many times demand is what it was before it moved to a new level; 1 when it did not
	now            *follower     // after the last step
	ratio          level         // recent demand by what the slow profile expected of it, half-life 2 hours
	cycle          cycle         // that no profile of the day holds
	cycles, beyond []float64     // mean of cycles, and of what they add to the slow profile
	strongest      time.Duration // period of the strongest pattern; 0 = none
}

func newHistory(s Series) *history {
	v := s.Values[max(0, len(s.Values)-int(maxHistory/s.Step)):]
	h := &history{moved: 1, day: int(24 * time.Hour / s.Step), step: s.Step, around: int(15 * time.Minute / s.Step)}
	for len(v) > 0 && math.IsNaN(v[len(v)-1]) {
		v = v[:len(v)-1]
		h.gap++
	}
	for len(v) > 0 && math.IsNaN(v[0]) {
		v = v[1:]
	}
	h.known = make([]bool, len(v))
	for i := range v {
		if !math.IsNaN(v[i]) {
			h.known[i] = true
			h.count++
		}
	}
	h.y = make([]float64, len(v))
	copy(h.y, v)
	if s.Saturated != nil {
		newest := len(s.Values) - h.gap
		h.mark(s.Saturated[newest-len(v) : newest])
	}
	h.seasonal = h.knowsADay()
	h.weeks = h.seasonal && len(v) >= 8*h.day
	h.forgetSpikes()
	h.fill()
	if h.saturation != nil {
		h.unclip()
	}
	if h.seasonal {
		h.lift()
	}
	h.findCycles()
	h.repeat()
	h.follow()
	return h
}

// lift brings what came before a move to the new level, so that the shape of the day is known there too.
func (h *history) lift() {
	times, from := h.move()
	if times == 1 {
		return
	}
	h.moved = times
	for i := range from {
		h.y[i] = min(maxValue, h.y[i]*times)
	}
	h.saturation.scale(from, times)
	h.fill()
}

// knowsADay tells whether the known points add up to a day and touch three quarters of its hours.
func (h *history) knowsADay() bool {
	hour := max(1, int(time.Hour/h.step))
	hours := (h.day + hour - 1) / hour
	covered, seen := 0, make([]bool, hours)
	for i, known := range h.known {
		if slot := i % h.day / hour; known && !seen[slot] {
			seen[slot] = true
			covered++
		}
	}
	return h.count >= h.day && 4*covered >= 3*hours
}

// fill gives gaps the mean of what is known at the same time on earlier days (half-life 2 days), or the value before, and builds
// the profiles of the day.
func (h *history) fill() {
	n, d := len(h.y), h.day
	fast, mid, slow := newDecay(0.7, d), newDecay(2, d), newDecay(6, d)
	days, weeks := newDecay(8, d), newDecay(8.0/7, 7*d)
	more := 4 * math.Exp2(-6.0/8)
	for _, p := range []*profile{&h.value, &h.fast, &h.mid, &h.slow, &h.weekly, &h.median, &h.weekdays} {
		*p = newProfile(n)
	}
	week := make([]lastSeven, d)
	for i := range h.y {
		if !h.known[i] {
			if m, ok := mid.at(i); h.seasonal && ok {
				h.y[i] = m
			} else if i > 0 {
				h.y[i] = h.y[i-1]
			}
		}
		v, known := h.y[i], h.known[i]
		h.value.push(i, v)
		if !h.seasonal {
			continue
		}
		h.fast.push(i, fast.push(i, v, known))
		h.mid.push(i, mid.push(i, v, known))
		h.slow.push(i, slow.push(i, v, known))
		days.push(i, v, known)
		sum, weight := days.sum[i%d], days.weight[i%d]
		weeks.push(i, v, known)
		if i >= 6*d { // the weekday of the coming day, which at step i is that of i-6 days, five times
			k := (i - 6*d) % (7 * d)
			sum, weight = sum+more*weeks.sum[k], weight+more*weeks.weight[k]
		}
		if weight > 1e-9 {
			v = sum / weight
		}
		h.weekly.push(i, v)
		if i >= n-(backtestDays+9)*d { // no origin looks at medians of before
			v = week[i%d].push(h.y[i])
		}
		h.median.push(i, v)
		sum, k := 0.0, 0
		for ; k < 3 && i-7*k*d >= 0; k++ {
			sum += h.y[i-7*k*d]
		}
		h.weekdays.push(i, sum/float64(k))
	}
}

// ring is a profile at lead j of a forecast that begins at step o, the day repeating.
func (h *history) ring(p profile, o, j int) float64 { return p.round(o, h.day, j%h.day, h.around) }
