package simulate

import (
	"math"
	"testing"
	"time"
)

func TestThePlanIsAQuantileOfTheSameMinuteOnSevenDays(t *testing.T) {
	// Each day a GPU more, so that the days' values of a minute are 1 to 7: the 95 % quantile is 6.7.
	before := busyMinutes(7, func(at time.Time) float64 { return 8 - math.Ceil(start.Sub(at).Hours()/24) })
	a := peer(t, "ahpa-like", options(before, tide(time.Hour)))
	if got := decide(a, steady(0, 4, 2)); got != 14 {
		t.Errorf("%d pods, want those of 6.7 GPUs", got)
	}
	// Days of which nothing is known do not count; with four of seven there is no plan.
	for i := range 3 * dayMinutes {
		before[i+dayMinutes] = math.NaN()
	}
	if got := decide(peer(t, "ahpa-like", options(before, tide(time.Hour))), steady(0, 4, 2)); got != 14 { // 1, 5, 6 and 7: 6.85
		t.Errorf("%d pods of four days", got)
	}
	before[0], before[4*dayMinutes] = math.NaN(), math.NaN()
	o := options(before, tide(time.Hour))
	o.Ahead = 0
	if got := decide(peer(t, "ahpa-like", o), steady(0, 4, 2)); got != 4 {
		t.Errorf("%d pods of two days, want what the load asks for", got)
	}
}

func TestThePlanBeginsAStartupBeforeARise(t *testing.T) {
	noon := func(at time.Time) float64 {
		if at.Hour() == 12 {
			return 8
		}
		return 1
	}
	trace := Trace{Start: start}
	for i := range int(24 * time.Hour / step) {
		trace.Offered = append(trace.Offered, noon(start.Add(time.Duration(i)*step)))
	}
	var began, ended time.Time
	r, err := Run(world(), trace, peer(t, "ahpa-like", options(busyMinutes(7, noon), trace)), func(v View) {
		if v.Replicas == 16 {
			ended = v.Now
			if began.IsZero() {
				began = v.Now
			}
		}
	})
	if err != nil || r.Short != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if early := start.Add(12 * time.Hour).Sub(began); early < 3*time.Minute || early > 4*time.Minute {
		t.Errorf("it begins %v before", early)
	}
	if late := ended.Sub(start.Add(13 * time.Hour)); late < 4*time.Minute || late > 6*time.Minute { // the stabilization window
		t.Errorf("it ends %v after", late)
	}
}

func TestTheLoadCountsWhenItIsMoreThanPlannedAndAloneInTheFirstWeek(t *testing.T) {
	flatly := func(time.Time) float64 { return 1 }
	if got := decide(peer(t, "ahpa-like", options(busyMinutes(7, flatly), tide(time.Hour))), steady(0, 10, 8)); got != 16 {
		t.Errorf("%d pods of a load that is more than planned, want 16", got)
	}
	most := func(time.Time) float64 { return 8 }
	if got := decide(peer(t, "ahpa-like", options(busyMinutes(6, most), tide(time.Hour))), steady(0, 2, 1)); got != 2 {
		t.Errorf("%d pods after six days", got)
	}
}

func TestThePlanFollowsTheWeekWhereThatTellsMore(t *testing.T) {
	weekend := func(at time.Time) float64 {
		if at.Weekday() == time.Saturday || at.Weekday() == time.Sunday {
			return 1
		}
		return 4
	}
	o := options(busyMinutes(21, weekend), tide(time.Hour)) // Monday: yesterday was a Sunday
	a := peer(t, "ahpa-like", o).(*ahpaLike)
	if got := decide(a, steady(0, 8, 4)); got != 8 || a.period != weekMinutes {
		t.Errorf("%d pods on a Monday, with a period of %d minutes", got, a.period)
	}
	if a := peer(t, "ahpa-like", options(busyMinutes(21, daily), tide(time.Hour))).(*ahpaLike); decide(a, steady(0, 8, 4)) == 0 || a.period != dayMinutes {
		t.Errorf("days that are the same have a period of %d minutes", a.period)
	}
}
