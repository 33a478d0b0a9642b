package forecast

import (
	"errors"
	"math"
	"math/rand/v2"
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

// office is high from nine to six.
func office(local time.Time) float64 {
	if h := local.Hour(); h >= 9 && h < 18 {
		return 10
	}
	return 2
}

// farthest is the largest distance of two paths.
func farthest(a, b []float64) float64 {
	most := 0.0
	for i := range a {
		most = max(most, math.Abs(a[i]-b[i]))
	}
	return most
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

func TestHabitsMoveWithTheClock(t *testing.T) {
	for name, c := range map[string]struct {
		zone   string
		change time.Time // in UTC
		step   time.Duration
	}{
		"spring":                        {"Europe/Berlin", time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC), 10 * time.Minute},
		"autumn":                        {"Europe/Berlin", time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC), 10 * time.Minute},
		"spring, hours":                 {"America/New_York", time.Date(2026, 3, 8, 7, 0, 0, 0, time.UTC), time.Hour},
		"autumn, hours of a half":       {"America/St_Johns", time.Date(2026, 11, 1, 4, 30, 0, 0, time.UTC), time.Hour},
		"half an hour, spring":          {"Australia/Lord_Howe", time.Date(2026, 10, 3, 15, 30, 0, 0, time.UTC), 10 * time.Minute},
		"half an hour, autumn":          {"Australia/Lord_Howe", time.Date(2026, 4, 4, 15, 0, 0, 0, time.UTC), 10 * time.Minute},
		"half an hour, steps of hours":  {"Australia/Lord_Howe", time.Date(2026, 4, 4, 15, 0, 0, 0, time.UTC), time.Hour},
		"back and forth within a month": {"Africa/Casablanca", time.Date(2026, 3, 22, 2, 0, 0, 0, time.UTC), 10 * time.Minute},
	} {
		for _, ago := range []time.Duration{12 * time.Hour, 0, 20 * time.Minute, 5 * 24 * time.Hour, -20 * time.Minute, -6 * time.Hour, -30 * time.Hour} {
			at := c.change.Add(ago)
			day := int(24 * time.Hour / c.step)
			s, actual := lived(at, c.step, 28*day, 2*day, office, zone(t, c.zone))
			f, err := Predict(s, 2*day, levels)
			if err != nil {
				t.Fatal(err)
			}
			told := 0.0
			for i, m := range f.Mean {
				told += math.Abs(m-actual[i]) / float64(len(actual))
			}
			s.Calendar = Calendar{}
			if f, err = Predict(s, 2*day, levels); err != nil {
				t.Fatal(err)
			}
			untold := 0.0
			for i, m := range f.Mean {
				untold += math.Abs(m-actual[i]) / float64(len(actual))
			}
			if !(told < 0.4 && told <= untold) {
				t.Errorf("%s, %v after the change: off by %.3f of 2 to 10, untold %.3f", name, ago, told, untold)
			}
		}
	}
}

func TestSkippedHoursAreMissingAndThoseThatComeTwiceAreOne(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	s := Series{End: time.Date(2026, 3, 29, 3, 0, 0, 0, time.UTC), Step: time.Hour, Values: []float64{1, 2, 3, 4, 5, 6}, Calendar: Calendar{Location: berlin}}
	if got, want := newClock(s, 1).wall(s.Values, s.Step), []float64{1, 2, 3, 4, nan, 5, 6}; !same(got, want) {
		t.Errorf("spring: %v, want %v", got, want)
	}
	s.End = time.Date(2026, 10, 25, 3, 0, 0, 0, time.UTC)
	if got, want := newClock(s, 1).wall(s.Values, s.Step), []float64{1, 2, 3, 4.5, 6}; !same(got, want) {
		t.Errorf("autumn: %v, want %v", got, want)
	}
	if got, want := newClock(s, 1).saturated([]bool{true, false, false, true, false, false}, s.Step), []bool{true, false, false, true, false}; !slices.Equal(got, want) {
		t.Errorf("autumn, saturated: %v, want %v", got, want)
	}
}

// same compares values of which some are missing.
func same(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return x == y || math.IsNaN(x) && math.IsNaN(y) })
}

func TestLongestHorizonCrossesAClockChange(t *testing.T) {
	for _, change := range []time.Time{time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC)} {
		for _, step := range []time.Duration{time.Hour, 6 * time.Hour, 24 * time.Hour} {
			at := change.Add(-7 * 24 * time.Hour)
			horizon := int(maxHorizon / step)
			s, _ := lived(at, step, 28*int(24*time.Hour/step), 0, office, zone(t, "Europe/Berlin"))
			f, err := Predict(s, horizon, levels)
			if err != nil {
				t.Fatal(err)
			}
			sound(t, f, at, horizon)
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

// working is demand of working days, with a tenth of it at weekends and noise of a tenth.
func working(seed uint64) func(local time.Time) float64 {
	r := rand.New(rand.NewPCG(seed, 9))
	return func(local time.Time) float64 {
		v := 50 + 40*math.Sin(2*math.Pi*(float64(local.Hour())-9)/24)
		if w := local.Weekday(); w == time.Saturday || w == time.Sunday {
			v /= 10
		}
		return v * (1 + 0.1*r.NormFloat64())
	}
}

// holidays are demand of working days, and of a Sunday on a date.
func holidays(seed uint64, date Date) func(local time.Time) float64 {
	demand := working(seed)
	return func(local time.Time) float64 {
		if y, m, d := local.Date(); (Date{y, m, d}) == date {
			local = local.AddDate(0, 0, -int(local.Weekday()))
		}
		return demand(local)
	}
}

// wednesday is the day after the forecasts that are made for it.
var wednesday = Date{2026, time.November, 18}

// holiday is a series that ends so long after the midnight before Wednesday in Berlin, which is a holiday, and two days to come.
func holiday(t *testing.T, seed uint64, after time.Duration, days int) (Series, []float64) {
	t.Helper()
	berlin := zone(t, "Europe/Berlin")
	at := time.Date(2026, 11, 18, 0, 0, 0, 0, berlin).Add(after)
	s, actual := lived(at, time.Hour, 24*days, 48, holidays(seed, wednesday), berlin)
	s.Calendar.Days = map[Date]time.Weekday{wednesday: time.Sunday}
	return s, actual
}

func TestHolidayIsForecastLikeTheSundaysBefore(t *testing.T) {
	for _, after := range []time.Duration{-18 * time.Hour, 0, 10 * time.Hour, 20 * time.Hour, 30 * time.Hour} {
		var told, untold []float64
		covered, n := 0, 0
		for seed := range uint64(10) {
			s, actual := holiday(t, seed, after, 28)
			f, err := Predict(s, 48, deciles)
			if err != nil {
				t.Fatal(err)
			}
			l, sum := loss(actual, f.Quantiles)
			told = append(told, l/sum)
			for i, y := range actual {
				if n++; y >= f.Quantiles[0][i] && y <= f.Quantiles[8][i] {
					covered++
				}
			}
			s.Calendar = Calendar{}
			if f, err = Predict(s, 48, deciles); err != nil {
				t.Fatal(err)
			}
			l, sum = loss(actual, f.Quantiles)
			untold = append(untold, l/sum)
		}
		slices.Sort(told)
		slices.Sort(untold)
		share := float64(covered) / float64(n)
		t.Logf("%v into the holiday: median loss %.3f, untold %.3f; %.0f %% between the outer deciles", after, told[5], untold[5], 100*share)
		if !(told[5] < 0.7*untold[5]) {
			t.Errorf("%v into the holiday: loss is %.3f, untold %.3f", after, told[5], untold[5])
		}
		if share < 0.75 {
			t.Errorf("%v into the holiday: %.0f %% lie between the outer deciles", after, 100*share)
		}
	}
}

func TestPastHolidayTeachesOrdinaryDaysNothing(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	at := time.Date(2026, 11, 19, 0, 0, 0, 0, berlin)
	s, _ := lived(at, time.Hour, 24*28, 0, holidays(1, wednesday), berlin)
	usual, actual := lived(at, time.Hour, 24*28, 24, working(1), berlin)
	s.Calendar.Days = map[Date]time.Weekday{wednesday: time.Sunday}
	got, err := Predict(s, 24, levels)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Predict(usual, 24, levels)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got.Mean {
		if !near(got.Mean[i], want.Mean[i], 0.15*want.Mean[i]+1) {
			t.Errorf("step %d is %g, with an ordinary Wednesday before %g; it was %g", i, got.Mean[i], want.Mean[i], actual[i])
		}
	}
}

func TestHolidaysAreNotKnownAsOrdinaryDaysButForTheLastDay(t *testing.T) {
	at := time.Date(2026, 11, 19, 0, 0, 0, 0, time.UTC)
	s, _ := lived(at, 6*time.Hour, 4*28, 0, func(local time.Time) float64 {
		switch y, m, d := local.Date(); {
		case local.Weekday() == time.Sunday, Date{y, m, d} == wednesday, Date{y, m, d} == Date{2026, 11, 10}:
			return 10
		}
		return 50
	}, time.UTC)
	s.Values[len(s.Values)-1] = nan
	s.Calendar.Days = map[Date]time.Weekday{wednesday: time.Sunday, {2026, time.November, 10}: time.Sunday}
	a, got := newAlmanac(s, 1)
	if a == nil {
		t.Fatal("nothing is named")
	}
	for i, v := range got.Values {
		switch {
		case i == len(s.Values)-1, i >= len(s.Values)-4*9 && i < len(s.Values)-4*8:
			if !math.IsNaN(v) {
				t.Errorf("step %d is %g, want it missing", i, v)
			}
		case i >= len(s.Values)-4:
			if !near(v, 50, 10) {
				t.Errorf("step %d of the holiday is %g, on an ordinary day 50", i, v)
			}
		case v != s.Values[i]:
			t.Errorf("step %d is %g, it was %g", i, v, s.Values[i])
		}
	}
}

func TestTrackerTakesWhatIsNewOnAHolidayForWhatItIs(t *testing.T) {
	r, level, berlin := rand.New(rand.NewPCG(4, 4)), 50.0, zone(t, "Europe/Berlin")
	at := time.Date(2026, 11, 18, 1, 0, 0, 0, berlin)
	whole, _ := lived(at, 10*time.Minute, 28*144, 0, func(local time.Time) float64 {
		level = max(10, level+r.NormFloat64())
		if y, m, d := local.Date(); local.Weekday() == time.Sunday || (Date{y, m, d}) == wednesday {
			return level / 5
		}
		return level
	}, berlin)
	whole.Calendar.Days = map[Date]time.Weekday{wednesday: time.Sunday}
	n := len(whole.Values) - 6
	past := whole
	past.End, past.Values = at.Add(-time.Hour), whole.Values[:n]
	tracker := track10(t, past, 2*144)
	for _, v := range whole.Values[n:] {
		if err := tracker.Add(v); err != nil {
			t.Fatal(err)
		}
	}
	want, err := Predict(whole, 2*144, levels)
	if err != nil {
		t.Fatal(err)
	}
	got := tracker.Forecast()
	for _, i := range []int{0, 60, 140, 200} {
		if !near(got.Mean[i], want.Mean[i], 0.25*want.Mean[i]) {
			t.Errorf("step %d is %g, of the whole series %g", i, got.Mean[i], want.Mean[i])
		}
	}
}

func TestHolidayOfAKindThatWasNotSeenIsAnOrdinaryDayInDoubt(t *testing.T) {
	s, _ := holiday(t, 1, 0, 2) // Monday and Tuesday
	f, err := Predict(s, 48, levels)
	if err != nil {
		t.Fatal(err)
	}
	s.Calendar.Days = nil
	plain, err := Predict(s, 48, levels)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.Mean, plain.Mean) {
		t.Error("the mean differs though no Sunday was seen")
	}
	for i := range 24 {
		if got, before := f.Quantiles[3][i]-f.Quantiles[0][i], plain.Quantiles[3][i]-plain.Quantiles[0][i]; !(got > before && got > 0.5*f.Mean[i]) {
			t.Errorf("step %d: the p95 lies %g above the median, of an ordinary day %g", i, got, before)
		}
		if f.Quantiles[3][24+i] != plain.Quantiles[3][24+i] {
			t.Errorf("step %d is of the day after, and differs", 24+i)
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
		"a holiday begins":      {time.Date(2026, 11, 17, 22, 40, 0, 0, time.UTC), map[Date]time.Weekday{wednesday: time.Sunday}, 6},
		"a holiday ends":        {time.Date(2026, 11, 18, 22, 40, 0, 0, time.UTC), map[Date]time.Weekday{wednesday: time.Sunday}, 6},
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
			got := tracker.Forecast()
			if len(got.Mean) != 160 || !got.Start.Equal(want.Start) || !got.LastKnown.Equal(want.LastKnown) {
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
