package forecast

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

// zone is a time zone by its IANA name.
func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// lived is the mean demand of people who live by a clock, of so many steps before at and, in actual, after it.
func lived(at time.Time, step time.Duration, before, after int, demand func(local time.Time) float64, l *time.Location) (s Series, actual []float64) {
	s = Series{End: at, Step: step, Calendar: Calendar{Location: l}}
	for i := -before; i < after; i++ {
		v, parts := 0.0, int(max(10*time.Minute, min(step, time.Hour))/(10*time.Minute))
		for k := range parts {
			v += demand(at.Add(time.Duration(i)*step+time.Duration(k)*10*time.Minute).In(l)) / float64(parts)
		}
		if i < 0 {
			s.Values = append(s.Values, v)
		} else {
			actual = append(actual, v)
		}
	}
	return s, actual
}

func TestCalendarThatSaysNothingChangesNothing(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	s := series(10*time.Minute, 20*144, daily(1))
	s.Values[2000] = nan
	want := predict(t, s, 2*144)
	monday := Date{2026, time.March, 2} // of the forecast
	for name, c := range map[string]Calendar{
		"a clock that never changes":        {Location: time.FixedZone("", 12345)},
		"a clock that changes later":        {Location: berlin},
		"a Monday like a Monday":            {Days: map[Date]time.Weekday{monday: time.Monday}},
		"a day out of sight":                {Days: map[Date]time.Weekday{{2026, time.April, 3}: time.Sunday, {2026, time.January, 1}: time.Sunday}},
		"a location and a day out of sight": {Location: berlin, Days: map[Date]time.Weekday{{2025, time.December, 25}: time.Sunday}},
	} {
		s.Calendar = c
		got := predict(t, s, 2*144)
		if !slices.Equal(got.Mean, want.Mean) || !slices.EqualFunc(got.Quantiles, want.Quantiles, slices.Equal) {
			t.Errorf("%s: the forecast differs", name)
		}
	}
}

func TestCalendarMustHaveDaysThatAre(t *testing.T) {
	s := series(10*time.Minute, 200, daily(0))
	for want, days := range map[string]map[Date]time.Weekday{
		"calendar.days[2026-02-30] is no day":                                        {{2026, time.February, 30}: time.Sunday},
		"calendar.days[2026-13-01] is no day":                                        {{2026, 13, 1}: time.Sunday},
		"calendar.days[2026-12-25] is 7; it must be a weekday, from 0 (Sunday) to 6": {{2026, time.December, 25}: 7},
		"calendar.days[2026-12-25] is -1":                                            {{2026, time.December, 25}: -1},
	} {
		s.Calendar.Days = days
		if _, err := Predict(s, 1, levels); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
}

// wave is high in the afternoon; restful is so on working days alone, of which that Wednesday is none.
func wave(local time.Time) float64 {
	return 10 + 5*math.Sin(2*math.Pi*(float64(local.Hour())+float64(local.Minute())/60-9)/24)
}

func restful(local time.Time) float64 {
	y, m, d := local.Date()
	if w := local.Weekday(); w == time.Saturday || w == time.Sunday || (Date{y, m, d}) == wednesday {
		return 0.2 * wave(local)
	}
	return wave(local)
}

func TestTrackerWithACalendarForecastsWhatPredictDoes(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	spring, autumn := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		at   time.Time
		days map[Date]time.Weekday
		room int // steps until it is due
	}{
		"after spring":          {spring.Add(5 * time.Hour), nil, 6},
		"half an hour before":   {spring.Add(-30 * time.Minute), nil, 3},
		"days before autumn":    {autumn.Add(-30 * time.Hour), nil, 6},
		"before autumn":         {autumn.Add(-20 * time.Minute), nil, 2},
		"in the middle of it":   {autumn.Add(20 * time.Minute), nil, 6},
		"a holiday begins":      {time.Date(2026, 11, 17, 22, 40, 0, 0, time.UTC), map[Date]time.Weekday{wednesday: time.Sunday}, 2},
		"a holiday ends":        {time.Date(2026, 11, 18, 22, 40, 0, 0, time.UTC), map[Date]time.Weekday{wednesday: time.Sunday}, 2},
		"in a holiday":          {time.Date(2026, 11, 18, 11, 0, 0, 0, time.UTC), map[Date]time.Weekday{wednesday: time.Sunday}, 6},
		"a holiday, then clock": {autumn.Add(-20 * time.Hour), map[Date]time.Weekday{{2026, time.October, 26}: time.Sunday}, 6},
	} {
		demand := wave
		if c.days != nil {
			demand = restful
		}
		whole, _ := lived(c.at.Add(time.Duration(c.room)*10*time.Minute), 10*time.Minute, 15*144+c.room, 0, demand, berlin)
		whole.Calendar.Days = c.days
		past, n := whole, len(whole.Values)-c.room
		past.End, past.Values = c.at, whole.Values[:n]
		tracker := track10(t, past, 160)
		for i := 0; ; i++ {
			now := whole
			now.End, now.Values = c.at.Add(time.Duration(i)*whole.Step), whole.Values[:n+i]
			want, err := Predict(now, 160, levels)
			if err != nil {
				t.Fatal(err)
			}
			got := tracker.Forecast(0, math.NaN())
			if len(got.Mean) != 160 || !got.Start.Equal(want.Start) || !got.LastKnown.Equal(want.LastKnown) || !got.LastKnown.Equal(got.Start) {
				t.Fatalf("%s: %d steps from %s, known until %s", name, len(got.Mean), got.Start, got.LastKnown)
			}
			tolerance := 1e-3
			if i > 0 { // shapes, weights and doubt are of the history before
				tolerance = 0.1
			}
			for l := range levels[:4] { // the p99 hangs on single misses
				off := 0.0
				for k := range got.Mean {
					off += math.Abs(got.Quantiles[l][k]-want.Quantiles[l][k]) / 160
				}
				if off > tolerance {
					t.Errorf("%s, %d steps later: quantile %g is off by %g", name, i, levels[l], off)
				}
			}
			if due := !got.Start.Before(tracker.Until()); due != tracker.Due() {
				t.Errorf("%s, %d steps later: until %s", name, i, tracker.Until())
			}
			if tracker.Due() {
				if i != c.room {
					t.Errorf("%s: due after %d steps, want %d", name, i, c.room)
				}
				break
			}
			if err := tracker.Add(whole.Values[n+i]); err != nil {
				t.Fatal(err)
			}
		}
	}
}
