package forecast

import (
	"fmt"
	"time"
)

const (
	leastScale = 0.01
	mostScale  = 100
)

// Calendar is what is known of the days of a series. The zero Calendar is a clock that never changes and no special days.
type Calendar struct {
	// Location is whose clock the people live by who make the demand; nil is UTC. Its days begin at its midnight, and where its
	// clocks change, habits move with them.
	Location *time.Location
	// Days are those on which demand resembles that of another weekday than their own: a holiday is like a Sunday.
	Days map[Date]time.Weekday
	// Scales are how many times the demand of a day is what it would be else, 0.01 to 100: that of a sale is 3 times a Friday's. A day
	// may be like another weekday and scaled too.
	Scales map[Date]float64
}

// Date is a day of a Calendar's Location.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// DateOf is the day of t where t's location is.
func DateOf(t time.Time) Date {
	year, month, day := t.Date()
	return Date{Year: year, Month: month, Day: day}
}

// number counts days from 1970-01-01; it is false when there is no such day.
func (d Date) number() (int, bool) {
	t := time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC)
	return int(t.Unix() / (24 * 60 * 60)), d == DateOf(t)
}

// String is the date as in 2026-12-25.
func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, int(d.Month), d.Day) }

func (c Calendar) check() error {
	for date, like := range c.Days {
		if _, ok := date.number(); !ok {
			return fmt.Errorf("%w: calendar.days[%s] is no day; it must be one that there is", ErrInvalid, date)
		}
		if like < time.Sunday || like > time.Saturday {
			return fmt.Errorf("%w: calendar.days[%s] is %d; it must be a weekday, from 0 (Sunday) to 6", ErrInvalid, date, int(like))
		}
	}
	for date, times := range c.Scales {
		if _, ok := date.number(); !ok {
			return fmt.Errorf("%w: calendar.scales[%s] is no day; it must be one that there is", ErrInvalid, date)
		}
		if !(times >= leastScale && times <= mostScale) {
			return fmt.Errorf("%w: calendar.scales[%s] is %g; it must be from %g to %g", ErrInvalid, date, times, leastScale, float64(mostScale))
		}
	}
	return nil
}

// almanac is what a Calendar means to one series. The method works on days of 24 hours that are all ordinary: the almanac makes the
// history one of such days, and what was forecast one of the days to come. A nil almanac changes nothing.
type almanac struct {
	step   time.Duration
	clock  clock
	scales *scales
	days   *days
}

// newAlmanac returns the almanac of a series, and the series as the method takes it.
func newAlmanac(s Series, horizon int) (*almanac, Series) {
	if s.Calendar.Location == nil && len(s.Calendar.Days) == 0 && len(s.Calendar.Scales) == 0 {
		return nil, s
	}
	older := max(0, len(s.Values)-int(maxHistory/s.Step))
	s.Values, s.Saturated = s.Values[older:], s.Saturated[min(older, len(s.Saturated)):]
	reach := horizon + perLook(s.Step) + 1 // of what a Tracker may come to forecast, a part of a step later
	a := &almanac{step: s.Step, clock: newClock(s, reach)}
	s.Values = a.clock.wall(s.Values, s.Step)
	s.Saturated = a.clock.saturated(s.Saturated, s.Step)
	if a.scales = newScales(s, a.steps(0, reach)); a.scales != nil {
		s.Values = a.scales.unscaled(s.Values)
	}
	if a.days = newDays(s, a.steps(0, reach)); a.days != nil {
		s.Values = a.days.ordinary(s.Values)
	}
	if a.clock == nil && a.scales == nil && a.days == nil {
		return nil, s
	}
	return a, s
}

// steps is how many steps the method has to forecast for n to come, the first of which is the first-th after the history.
func (a *almanac) steps(first, n int) int {
	if a == nil || a.clock == nil {
		return n
	}
	return a.clock.steps(first+n, a.step) - first
}

// until is how many of n steps after the history are alike: no offset changes, no named day begins or ends. At least one.
func (a *almanac) until(n int) int {
	if a == nil {
		return n
	}
	if a.days != nil {
		n = a.days.until(n)
	}
	return a.clock.until(n, a.step)
}

// usual is what a value of the i-th step after the history says of an ordinary day; NaN is nothing.
func (a *almanac) usual(i int, v float64) float64 {
	if a == nil {
		return v
	}
	if a.scales != nil {
		v = min(maxValue, v/a.scales.of(i))
	}
	if a.days == nil {
		return v
	}
	return a.days.usual(i, v)
}

// real turns what the method forecast into n steps of the days to come. The first is the first-th after the history, bands are
// [level][step].
func (a *almanac) real(first, n int, levels, mean []float64, bands [][]float64) []float64 {
	if a == nil {
		return mean
	}
	if a.days != nil {
		a.days.put(first, levels, mean, bands)
	}
	if a.scales != nil {
		a.scales.put(first, mean, bands)
	}
	if a.clock != nil {
		mean = a.clock.real(mean, first, n, a.step)
		for l := range bands {
			bands[l] = a.clock.real(bands[l], first, n, a.step)
		}
	}
	return mean
}
