package forecast

import (
	"math"
	"time"
)

// Components: cheap paths into the coming day. The last four need eight days of history.
const (
	lastLevel = iota // mean of the last ten minutes
	yesterday
	medianDay
	fastDay
	midDay
	weeklyDay
	slow15m // shape of the slow profile at the level of the last 15 minutes …
	slow2h
	slow12h
	mid5m
	mid2h
	slowScaled // slow profile times what demand has recently been of it
	sameWeekday
	yesterdayAndWeekday
	lastWeekLevel  // last week's day moved by what yesterday's mean differs from that of its weekday
	lastWeekScaled // the same, multiplied

	componentCount
	withoutWeeks = sameWeekday
	withoutShape = 4 // of a history without a shape of the day
)

// names of the components, as a Forecast tells them.
var names = [componentCount]string{
	"last level", "yesterday", "median day", "fast day", "mid day", "weekly day",
	"slow shape at 15 m level", "slow shape at 2 h level", "slow shape at 12 h level", "mid shape at 5 m level", "mid shape at 2 h level",
	"slow day scaled", "same weekday", "yesterday and weekday", "last week at this level", "last week scaled",
}

// levelNames are those of a history without a shape.
var levelNames = [withoutShape]string{"last level", "15 m level", "2 h level", "12 h level"}

// Levels: means of what is left of demand when the shape of the day is taken off, weights halving with a half-life.
const (
	levelSlow15m = iota
	levelSlow2h
	levelSlow12h
	levelMid5m
	levelMid2h
	levelCount
)

var halfLives = [levelCount]time.Duration{15 * time.Minute, 2 * time.Hour, 12 * time.Hour, 5 * time.Minute, 2 * time.Hour}

// level[o] is a level of the steps before o.
type level []float64

// follower keeps the levels and the ratio up to date.
type follower struct {
	keep, sums, weights [levelCount]float64
	was, expected       float64
}

func newFollower(step time.Duration) *follower {
	f := &follower{}
	for k, halfLife := range halfLives {
		f.keep[k] = math.Exp2(-float64(step) / float64(halfLife))
	}
	return f
}

// add takes a value and what was expected of its time of day: the slow profile, and the shapes of the slow and of the mid one. A
// value that is not known only ages the others.
func (f *follower) add(v float64, known bool, slow, slowShape, midShape float64) {
	for k := range f.sums {
		f.sums[k], f.weights[k] = f.sums[k]*f.keep[k], f.weights[k]*f.keep[k]
		if known {
			shape := slowShape
			if k >= levelMid5m {
				shape = midShape
			}
			f.sums[k], f.weights[k] = f.sums[k]+v-shape, f.weights[k]+1
		}
	}
	f.was, f.expected = f.was*f.keep[levelSlow2h], f.expected*f.keep[levelSlow2h]
	if known && slow > 0 {
		f.was, f.expected = f.was+v, f.expected+slow
	}
}

// within is the follower for one value that lasted only part of a step: it ages and weighs as much less. What is divided here is what
// a whole value weighs more than that part; levels and ratio do not change with it.
func (f follower) within(part float64) follower {
	for k := range f.keep {
		f.keep[k] = math.Pow(f.keep[k], part)
		f.sums[k], f.weights[k] = f.sums[k]/part, f.weights[k]/part
	}
	f.was, f.expected = f.was/part, f.expected/part
	return f
}

// level returns a level, or the fallback when nothing is known.
func (f *follower) level(k int, fallback float64) float64 {
	if f.weights[k] > 1e-9 {
		return f.sums[k] / f.weights[k]
	}
	return fallback
}

// ratio is how many times demand is what the slow profile expected of it.
func (f *follower) ratio() float64 {
	if f.expected > 1e-9 {
		return min(4, max(0.25, f.was/f.expected))
	}
	return 1
}

// follow computes the levels. The shape that is taken off a step is the one known a day before it.
func (h *history) follow() {
	n, d := len(h.y), h.day
	for k := range h.levels {
		h.levels[k] = make(level, n+1)
	}
	h.ratio = make(level, n+1)
	h.now = newFollower(h.step)
	for i, v := range h.y {
		var slow, slowShape, midShape float64
		if h.seasonal && i >= d {
			from, to := max(0, i-d-h.around), min(i, i-d+h.around+1)
			slow = h.slow.mean(from, to)
			slowShape = slow - h.slow.mean(i-d, i)
			midShape = h.mid.mean(from, to) - h.mid.mean(i-d, i)
		}
		h.now.add(v, h.known[i], slow, slowShape, midShape)
		for k := range h.levels {
			h.levels[k][i+1] = h.now.level(k, v)
		}
		h.ratio[i+1] = h.now.ratio()
	}
}

// origin is the beginning of a forecast, in the past (a backtest) or at the end of the history, with what it knows.
type origin struct {
	o                 int
	weight            float64 // in the backtest: recent ones count more
	leads             int     // leads of the backtest that lie within the history
	last              float64 // mean of the last ten minutes
	slowMean, midMean float64
	weekMove          float64 // yesterday's mean less that of its weekday a week before
	weekRatio         float64
}

// enter stands at step o.
func (h *history) enter(o int) origin {
	at := origin{o: o, last: h.recent(o, max(1, int(10*time.Minute/h.step))), weekRatio: 1}
	d := h.day
	if h.seasonal {
		at.slowMean, at.midMean = h.slow.mean(o-d, o), h.mid.mean(o-d, o)
	}
	if h.weeks && o >= 8*d {
		now, then := h.value.mean(o-d, o), h.value.mean(o-8*d, o-7*d)
		at.weekMove = now - then
		if then > 0 {
			at.weekRatio = min(3, max(1.0/3, now/then))
		}
	}
	return at
}

// recent is the mean of the known values among the last n before o, or the filled value before o.
func (h *history) recent(o, n int) float64 {
	sum, known := 0.0, 0
	for i := max(0, o-n); i < o; i++ {
		if h.known[i] {
			sum += h.y[i]
			known++
		}
	}
	if known == 0 {
		return h.y[o-1]
	}
	return sum / float64(known)
}

// components is the number of paths that the history can feed, those of a cycle included.
func (h *history) components() int {
	if h.cycle.steps > 0 {
		return h.usual() + cycleCount
	}
	return h.usual()
}

// usual is the number of paths without those of a cycle.
func (h *history) usual() int {
	switch {
	case !h.seasonal:
		return withoutShape
	case !h.weeks:
		return withoutWeeks
	}
	return componentCount
}

// name of a component, as a Forecast tells it.
func (h *history) name(c int) string {
	switch usual := h.usual(); {
	case !h.seasonal:
		return levelNames[c]
	case c >= usual:
		return cycleNames[c-usual]
	}
	return names[c]
}

// paths writes what each component expects at lead j (0 = the first step) to dst, which has room for all that there are.
func (h *history) paths(at *origin, j int, dst []float64) {
	o, d := at.o, h.day
	dst[lastLevel] = at.last
	if !h.seasonal {
		dst[1], dst[2], dst[3] = h.levels[levelSlow15m][o], h.levels[levelSlow2h][o], h.levels[levelSlow12h][o]
		return
	}
	before := h.y[o-d+j%d]
	slow, mid := h.ring(h.slow, o, j), h.ring(h.mid, o, j)
	slowShape, midShape := slow-at.slowMean, mid-at.midMean
	dst[yesterday] = before
	dst[medianDay] = h.ring(h.median, o, j)
	dst[fastDay] = h.ring(h.fast, o, j)
	dst[midDay] = mid
	dst[weeklyDay] = h.ring(h.weekly, o, j)
	dst[slow15m] = slowShape + h.levels[levelSlow15m][o]
	dst[slow2h] = slowShape + h.levels[levelSlow2h][o]
	dst[slow12h] = slowShape + h.levels[levelSlow12h][o]
	dst[mid5m] = midShape + h.levels[levelMid5m][o]
	dst[mid2h] = midShape + h.levels[levelMid2h][o]
	dst[slowScaled] = slow * h.ratio[o]
	if h.weeks {
		h.weekPaths(at, j, before, dst)
	}
	if h.cycle.steps > 0 {
		h.cyclePaths(o, j, slow, dst[h.usual():])
	}
	for c, v := range dst {
		if v < 0 {
			dst[c] = 0
		}
	}
}

// weekPaths are those that look a week back; before there is one, they are yesterday.
func (h *history) weekPaths(at *origin, j int, before float64, dst []float64) {
	o, d := at.o, h.day
	if o < 7*d {
		dst[sameWeekday], dst[yesterdayAndWeekday], dst[lastWeekLevel], dst[lastWeekScaled] = before, before, before, before
		return
	}
	i := o - 7*d + j%(7*d) // the same weekday
	end := o - 6*d + j%(7*d)/d*d
	week := h.y[i]
	if i >= 7*d {
		week = (week + h.y[i-7*d]) / 2
	}
	smooth := h.ring(h.value, end, j)
	dst[sameWeekday] = h.ring(h.weekdays, end, j)
	dst[yesterdayAndWeekday] = (before + week) / 2
	dst[lastWeekLevel] = smooth + at.weekMove
	dst[lastWeekScaled] = smooth * at.weekRatio
}
