// Package accuracy compares what was forecast of a workload's demand with what came.
//
//	forecast made at t, lead L ─► waits as that of minute t+L ─────────┐
//	mean demand of the five minutes up to t+L, the end of its step ────┴─► sums of the hour ─► Score over a day, a week
//
// A minute without a demand, or for which nothing was forecast, is left out; it does not count as zero. There is no clock and no
// I/O, and a forecast or a demand costs the same however long the record goes back.
package accuracy

import (
	"math"
	"time"
)

// The levels that are compared: the median as the point forecast, and one that GPUs are kept ready by, which is Upper where nobody
// wants another.
const (
	Median = 0.5
	Upper  = 0.95
)

const (
	// kept is how far back a score can look.
	kept = 7 * 24 * time.Hour
	// late is how long after its minute a demand may come and still be compared: it takes up to two minutes.
	late = 10 * time.Minute
	// span is how many minutes a forecast speaks of: its step.
	span = 5
	// leastShare is the part of a score's time of which minutes must have been compared for it to be told.
	leastShare = 0.25
)

// Point is what was forecast of the mean demand over the five minutes that end with one, in busy GPUs. NaN means that nothing was.
type Point struct{ Median, Upper float64 }

// Score is how good forecasts were. What is divided by the demand is NaN where there was none.
type Score struct {
	// Minutes is how many were compared: the mean demand of each and the four before it, as far as that is known.
	Minutes int
	// WAPE is Σ|demand − median| / Σ demand (weighted absolute percentage error).
	WAPE float64
	// Pinball is the mean over both levels q of 2·Σ max(q·(demand−f), (q−1)·(demand−f)) / Σ demand, where f is the forecast at q:
	// the mean weighted quantile loss of the M5 and GIFT-Eval benchmarks.
	Pinball float64
	// Coverage is the share of them in which demand was at or under the upper level, which is as much when the forecast is right
	// about its doubt.
	Coverage float64
	// Bias is Σ(median − demand) / Σ demand: above 0 too much was forecast.
	Bias float64
}

// Record is that of one workload. It is used by one goroutine at a time.
type Record struct {
	leads []comparison
	// newest is the minute of the last demand.
	newest int64
	// recent has at m modulo its length the newest such minute whose demand is known.
	recent [span]demand
}

// demand is that of one minute.
type demand struct {
	minute int64
	gpus   float64
}

// comparison is that of one lead.
type comparison struct {
	ahead int64   // minutes
	upper float64 // level
	// waiting are forecasts of the minutes up to last; that of minute m is at m modulo its length.
	waiting []waiting
	last    int64
	// hours is at h modulo its length what came of hour h.
	hours [int(kept/time.Hour) + 1]sums
}

// waiting takes half of a Point's room: a record has fifteen hundred.
type waiting struct{ median, upper float32 }

// sums are those of the minutes compared in one hour, of which there are 60 at most.
type sums struct {
	hour                      int32 // since the Unix epoch
	minutes, under            uint16
	demand, missed, off, loss float32 // missed is Σ|…|, off the same with its sign, loss of both levels
}

// New returns an empty record of forecasts so far ahead, in whole minutes, with an upper level between 0 and 1.
func New(leads []time.Duration, upper float64) *Record {
	r := &Record{leads: make([]comparison, len(leads)), newest: math.MinInt64}
	for i, lead := range leads {
		r.leads[i] = comparison{ahead: int64(lead / time.Minute), upper: upper, waiting: make([]waiting, (lead+late)/time.Minute), last: math.MinInt64}
	}
	return r
}

// Forecast takes what a forecast that was made at a full minute says at each lead. Forecasts come in the order of time; of two at
// one time the later stands.
func (r *Record) Forecast(made time.Time, points []Point) {
	for i := range r.leads {
		r.leads[i].expect(made.Unix()/60+r.leads[i].ahead, points[i])
	}
}

func (c *comparison) expect(minute int64, p Point) {
	if minute < c.last {
		return
	}
	n := int64(len(c.waiting))
	none := waiting{float32(math.NaN()), float32(math.NaN())}
	for m := max(c.last+1, minute-n+1); m < minute; m++ { // for these nothing was forecast
		c.waiting[m%n] = none
	}
	c.last = minute
	c.waiting[minute%n] = waiting{float32(p.Median), float32(p.Upper)}
}

// Demand takes the demand, in busy GPUs, of the minute that ended. Demands come in the order of time; one at or before the last is
// known already.
func (r *Record) Demand(ended time.Time, gpus float64) {
	minute := ended.Unix() / 60
	if minute <= r.newest || math.IsNaN(gpus) {
		return
	}
	r.newest = minute
	r.recent[minute%span] = demand{minute, gpus}
	sum, known := 0.0, 0
	for _, d := range r.recent {
		if d.minute > minute-span {
			sum, known = sum+d.gpus, known+1
		}
	}
	for i := range r.leads {
		r.leads[i].compare(minute, sum/float64(known))
	}
}

func (c *comparison) compare(minute int64, gpus float64) {
	n := int64(len(c.waiting))
	if minute > c.last || minute <= c.last-n {
		return
	}
	w := c.waiting[minute%n]
	median, upper := float64(w.median), float64(w.upper)
	if math.IsNaN(median) || math.IsNaN(upper) {
		return
	}
	hour := hourOf(minute)
	s := &c.hours[int(hour)%len(c.hours)]
	if s.hour != hour {
		*s = sums{hour: hour}
	}
	s.minutes++
	if gpus <= upper {
		s.under++
	}
	s.demand += float32(gpus)
	s.missed += float32(math.Abs(gpus - median))
	s.off += float32(median - gpus)
	s.loss += float32(pinball(Median, gpus-median) + pinball(c.upper, gpus-upper))
}

// hourOf is that in which a minute lies that ended at its number.
func hourOf(minute int64) int32 { return int32((minute - 1) / 60) }

// pinball is the quantile loss of a level when the demand was more than forecast by so much.
func pinball(level, more float64) float64 { return max(level*more, (level-1)*more) }

// Score tells how good forecasts at the lead of that number were over the time before now, a number of whole hours of which the one
// that now is in counts as the last. It returns false when less than a quarter of that time could be compared.
func (r *Record) Score(lead int, over time.Duration, now time.Time) (Score, bool) {
	last := int32(now.Unix() / 3600)
	first := last - int32(over/time.Hour) + 1
	var minutes, under int
	var demand, missed, off, loss float64
	for i := range r.leads[lead].hours {
		if s := &r.leads[lead].hours[i]; s.hour >= first && s.hour <= last {
			minutes, under = minutes+int(s.minutes), under+int(s.under)
			demand, missed, off, loss = demand+float64(s.demand), missed+float64(s.missed), off+float64(s.off), loss+float64(s.loss)
		}
	}
	if minutes == 0 || float64(minutes) < leastShare*over.Minutes() {
		return Score{}, false
	}
	if demand == 0 {
		demand = math.NaN()
	}
	return Score{
		Minutes: minutes, WAPE: missed / demand, Pinball: loss / demand, // 2/2: twice the loss, the mean of two levels
		Coverage: float64(under) / float64(minutes), Bias: off / demand,
	}, true
}
