package forecast

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

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

// resting is a series of three weeks and some days until a midnight, with 50 on working days and 10 on Sundays, and on days that are
// named to be like Sundays: so many days ago, 1 is the last.
func resting(ago ...int) Series {
	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC) // a Friday begins
	days := map[Date]time.Weekday{}
	for _, n := range ago {
		year, month, day := at.AddDate(0, 0, -n).Date()
		days[Date{year, month, day}] = time.Sunday
	}
	s, _ := lived(at, 6*time.Hour, 4*28, 0, func(local time.Time) float64 {
		year, month, day := local.Date()
		if _, named := days[Date{year, month, day}]; named || local.Weekday() == time.Sunday {
			return 10
		}
		return 50
	}, time.UTC)
	s.Calendar.Days = days
	return s
}

func TestHolidaysSayNothingOfOrdinaryDays(t *testing.T) {
	s := resting(1, 10)
	a, got := newAlmanac(s, 1)
	if a == nil {
		t.Fatal("nothing is named")
	}
	for i, v := range got.Values {
		switch ago := (len(got.Values)-1-i)/4 + 1; {
		case ago == 1 || ago == 10:
			if !math.IsNaN(v) {
				t.Errorf("%d days ago was a holiday, and %g is taken as known", ago, v)
			}
		case v != s.Values[i]:
			t.Errorf("%d days ago %g is taken for %g", ago, v, s.Values[i])
		}
	}
	f, err := Predict(s, 4, levels)
	if err != nil {
		t.Fatal(err)
	}
	if !f.LastKnown.Equal(s.End) {
		t.Errorf("a holiday is known, but the newest known step ended at %s", f.LastKnown)
	}
	if !near(f.Mean[2], 50, 5) {
		t.Errorf("the day after a holiday is forecast at %g, want 50", f.Mean[2])
	}
}

func TestHolidaysThatGoOnForLongAreStillForecastFrom(t *testing.T) {
	s := resting(1, 2, 3, 4, 8, 9)
	_, got := newAlmanac(s, 1)
	for i, v := range got.Values[len(got.Values)-4:] {
		if !near(v, 50, 5) {
			t.Errorf("step %d of the last day is taken for %g of an ordinary day, want 50", i, v)
		}
	}
	year, month, day := s.End.Date()
	s.Calendar.Days[Date{year, month, day}] = time.Sunday
	f, err := Predict(s, 8, levels)
	if err != nil {
		t.Fatal(err)
	}
	if !near(f.Mean[2], 10, 3) || !near(f.Mean[6], 50, 15) { // the second is a Saturday
		t.Errorf("a fifth day like a Sunday and the one after it are forecast at %g and %g, want 10 and 50", f.Mean[2], f.Mean[6])
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
