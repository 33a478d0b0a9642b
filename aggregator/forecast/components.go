package forecast

import (
	"math"
	"time"
)

// component is one cheap path: what it expects at lead j (0 = the first step) of a forecast that begins at step at.o.
type component func(h *history, at *origin, j int) float64

// origin is the beginning of a forecast, in the past (a backtest) or at the end of the history, with the levels at that moment.
type origin struct {
	o      int
	weight float64 // in the backtest: recent ones count more
	last   float64 // mean of the last ten minutes

	// Mean of what is left of recent demand when the shape of the day is taken off, weights halving with the given half-life.
	slow15m, slow2h, slow12h float64 // shape: slow profile
	mid15m, mid2h            float64 // shape: mid profile
}

const (
	quarter = 15 * time.Minute
	twoHour = 2 * time.Hour
	halfDay = 12 * time.Hour
)

// components returns the paths that the history can feed.
func (h *history) components() []component {
	if !h.seasonal {
		return []component{
			func(_ *history, at *origin, _ int) float64 { return at.last },
			func(_ *history, at *origin, _ int) float64 { return at.slow15m },
			func(_ *history, at *origin, _ int) float64 { return at.slow2h },
			func(_ *history, at *origin, _ int) float64 { return at.slow12h },
		}
	}
	list := []component{
		func(_ *history, at *origin, _ int) float64 { return at.last },
		yesterday,
		func(h *history, at *origin, j int) float64 { return h.ring(h.median, at.o, j) },
		func(h *history, at *origin, j int) float64 { return h.ring(h.fast, at.o, j) },
		func(h *history, at *origin, j int) float64 { return h.ring(h.mid, at.o, j) },
		func(h *history, at *origin, j int) float64 { return h.ring(h.weekly, at.o, j) },
		func(h *history, at *origin, j int) float64 { return h.shape(h.slow, at.o, j) + at.slow15m },
		func(h *history, at *origin, j int) float64 { return h.shape(h.slow, at.o, j) + at.slow2h },
		func(h *history, at *origin, j int) float64 { return h.shape(h.slow, at.o, j) + at.slow12h },
		func(h *history, at *origin, j int) float64 { return h.shape(h.mid, at.o, j) + at.mid15m },
		func(h *history, at *origin, j int) float64 { return h.shape(h.mid, at.o, j) + at.mid2h },
	}
	if len(h.y) >= 8*h.day {
		list = append(list, sameWeekday, yesterdayAndWeekday, lastWeekAtThisLevel)
	}
	return list
}

// enter computes the levels of a forecast that begins at step o.
func (h *history) enter(o int) origin {
	at := origin{o: o, last: h.recent(o, max(1, int(10*time.Minute/h.step)))}
	at.slow15m = h.residue(h.slow, o, quarter)
	at.slow2h = h.residue(h.slow, o, twoHour)
	at.slow12h = h.residue(h.slow, o, halfDay)
	if h.seasonal {
		at.mid15m = h.residue(h.mid, o, quarter)
		at.mid2h = h.residue(h.mid, o, twoHour)
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

// residue is the level of recent demand once the shape of the day is taken off it. It looks back eight half-lives (what is older
// has less than 1/256 of the weight), at most three days. Unknown values have no weight; where nothing is known, it is the
// profile's own level.
func (h *history) residue(p profile, o int, halfLife time.Duration) float64 {
	n := min(o, 3*h.day, max(1, int(8*halfLife/h.step)))
	factor := math.Exp2(-float64(h.step) / float64(halfLife))
	sum, weight := 0.0, 0.0
	for i := o - n; i < o; i++ {
		sum, weight = sum*factor, weight*factor
		if !h.known[i] {
			continue
		}
		v := h.y[i]
		if h.seasonal {
			v -= h.shape(p, o, (i-o+3*h.day)%h.day)
		}
		sum, weight = sum+v, weight+1
	}
	switch {
	case weight > 1e-9:
		return sum / weight
	case h.seasonal:
		return p.mean(o-h.day, o)
	}
	return h.y[o-1]
}

// ring is a profile at lead j, the day repeating.
func (h *history) ring(p profile, o, j int) float64 { return p.round(o, h.day, j%h.day, h.around) }

// shape is a profile at lead j less its mean.
func (h *history) shape(p profile, o, j int) float64 { return h.ring(p, o, j) - p.mean(o-h.day, o) }

// back is the step so many days before lead j, or the latest before o that is a multiple of it; negative when that is too early.
func (h *history) back(o, j, days int) int {
	period := days * h.day
	return o + j%period - period
}

func yesterday(h *history, at *origin, j int) float64 { return h.y[h.back(at.o, j, 1)] }

// sameWeekday is the mean of the last three same weekdays; before there is one, yesterday.
func sameWeekday(h *history, at *origin, j int) float64 {
	i := h.back(at.o, j, 7)
	if i < 0 {
		return yesterday(h, at, j)
	}
	return h.weekdays.mean(max(0, i-h.around), min(at.o, i+h.around+1))
}

func yesterdayAndWeekday(h *history, at *origin, j int) float64 {
	i := h.back(at.o, j, 7)
	if i < 0 {
		return yesterday(h, at, j)
	}
	week := h.y[i]
	if before := i - 7*h.day; before >= 0 {
		week = (week + h.y[before]) / 2
	}
	return (yesterday(h, at, j) + week) / 2
}

// lastWeekAtThisLevel moves last week by what yesterday's mean differs from that of its weekday.
func lastWeekAtThisLevel(h *history, at *origin, j int) float64 {
	i, o, d := h.back(at.o, j, 7), at.o, h.day
	if i < 0 || o < 8*d {
		return yesterday(h, at, j)
	}
	return h.level.mean(max(0, i-h.around), min(o, i+h.around+1)) + h.level.mean(o-d, o) - h.level.mean(o-8*d, o-7*d)
}
