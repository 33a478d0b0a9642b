package simulate

import (
	"math"
	"time"
)

// ahpaLike is Alibaba Cloud's AHPA as far as its documentation goes (alibabacloud.com/help/en/cs/user-guide, ahpa-overview-1 and
// deploy-ahpa): it wants a week of history, finds the period, plans minute by minute at a quantile of 95 %, begins
// scaleUpForward (what a pod takes to start) before a rise, and takes the larger of what the plan and what the load asks for, within the
// bounds and with a stabilization window of 300 s. How it forecasts is not published in a form that could be followed (AAAI 2023,
// doi 10.1609/aaai.v37i13.26852, tells of a robust decomposition); here the plan for a minute is the quantile of that minute on the past
// seven days, or in the past four weeks when a week ago tells more than a day ago. What the load asks for is an HPA's arithmetic.
type ahpaLike struct {
	Minutes
	PeerOptions
	reactive HPA

	period int       // minutes; 0 is not yet looked for
	until  time.Time // when it is looked for again
	plan   []float64 // busy GPUs of the minutes from now to Ahead from now; NaN where there is no plan
	next   int       // the minute after them
}

const (
	ahpaQuantile = 0.95
	dayMinutes   = 24 * 60
	weekMinutes  = 7 * dayMinutes
	ahpaWeeks    = 4
)

// Decide takes the larger of both recommendations.
func (a *ahpaLike) Decide(v View) int32 {
	want, _ := a.reactive.proposed(v)
	if busy, known := highest(a.planned(v.Now)); known {
		want = max(want, a.clamp(a.pods(busy)))
	}
	return a.reactive.stabilized(v.Now, a.clamp(float64(want)))
}

// planned is the plan from now until a pod that is made now would be ready.
func (a *ahpaLike) planned(now time.Time) []float64 {
	if len(a.Busy) < weekMinutes {
		return nil
	}
	if !now.Before(a.until) {
		a.period, a.until = a.found(), now.Add(24*time.Hour)
		a.plan = nil
	}
	from, to := a.index(now), a.index(now.Add(a.Ahead))
	if a.plan == nil {
		a.next = from
	}
	for ; a.next <= to; a.next++ {
		a.plan = append(a.plan, a.quantile(a.next))
	}
	a.plan = a.plan[len(a.plan)-(to-from+1):]
	return a.plan
}

// quantile is the plan for a minute; NaN when less than half of what it would look at is known.
func (a *ahpaLike) quantile(minute int) float64 {
	cycles := 7
	if a.period == weekMinutes {
		cycles = min(ahpaWeeks, len(a.Busy)/weekMinutes)
	}
	var past [7]float64
	known := past[:0]
	for i := 1; i <= cycles; i++ {
		if busy := a.at(minute - i*a.period); !math.IsNaN(busy) {
			known = append(known, busy)
		}
	}
	if 2*len(known) < cycles {
		return math.NaN()
	}
	return quantileOf(known, ahpaQuantile)
}

// found is the period whose last cycle tells more of the last week: a day, or a week when two are known.
func (a *ahpaLike) found() int {
	if len(a.Busy) < 2*weekMinutes || a.missed(dayMinutes) <= a.missed(weekMinutes) {
		return dayMinutes
	}
	return weekMinutes
}

// missed is the mean error of the last week, had it been like the cycle before.
func (a *ahpaLike) missed(period int) float64 {
	sum, n := 0.0, 0
	for i := len(a.Busy) - weekMinutes; i < len(a.Busy); i++ {
		if off := math.Abs(a.at(i) - a.at(i-period)); !math.IsNaN(off) {
			sum, n = sum+off, n+1
		}
	}
	return sum / float64(n)
}
