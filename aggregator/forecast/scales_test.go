package forecast

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// sale is a series that ends so long after the midnight before Wednesday in Berlin, a day on which there is so many times the demand.
func sale(t *testing.T, after time.Duration, times float64) Series {
	t.Helper()
	berlin, demand := zone(t, "Europe/Berlin"), working(5)
	at := time.Date(2026, 11, 18, 0, 0, 0, 0, berlin).Add(after).UTC()
	s, _ := lived(at, 10*time.Minute, 21*144, 0, func(local time.Time) float64 {
		v := demand(local)
		if y, m, d := local.Date(); (Date{y, m, d}) == wednesday {
			return v * times
		}
		return v
	}, berlin)
	return s
}

func ofTwoDays(t *testing.T, s Series) Forecast {
	t.Helper()
	f, err := Predict(s, 288, levels)
	if err != nil {
		t.Fatal(err)
	}
	sound(t, f, s.End, 288)
	return f
}

// expectSame compares two forecasts but for what rounding does, where one is so many times the other on that Wednesday.
func expectSame(t *testing.T, got, want Forecast, times float64) {
	t.Helper()
	berlin := zone(t, "Europe/Berlin")
	for i := range want.Mean {
		expected := 1.0
		if y, m, d := want.Start.Add(time.Duration(i) * want.Step).In(berlin).Date(); (Date{y, m, d}) == wednesday {
			expected = times
		}
		if !near(got.Mean[i], expected*want.Mean[i], 1e-6*got.Mean[i]+1e-9) {
			t.Fatalf("step %d is %g, want %g times %g", i, got.Mean[i], expected, want.Mean[i])
		}
		for l := range want.Levels {
			if g, w := got.Quantiles[l][i], want.Quantiles[l][i]; !near(g, expected*w, 1e-6*g+1e-9) {
				t.Fatalf("the p%g of step %d is %g, want %g times %g", 100*want.Levels[l], i, g, expected, w)
			}
		}
	}
}

func TestAScaledDayIsForecastSoManyTimesAndTheOthersAsTheyWere(t *testing.T) {
	for _, times := range []float64{0.01, 0.5, 1, 3, 100} {
		s := sale(t, -10*time.Hour, 1)
		want := ofTwoDays(t, s)
		s.Calendar.Scales = map[Date]float64{wednesday: times}
		expectSame(t, ofTwoDays(t, s), want, times)
	}
}

func TestAPastScaledDayTeachesTheOthersNothing(t *testing.T) {
	for _, after := range []time.Duration{10 * time.Hour, 24 * time.Hour, 60 * time.Hour} {
		want := ofTwoDays(t, sale(t, after, 1))
		s := sale(t, after, 3)
		s.Calendar.Scales = map[Date]float64{wednesday: 3}
		expectSame(t, ofTwoDays(t, s), want, 3)
	}
}

func TestADayMayBeLikeAnotherAndScaled(t *testing.T) {
	s := sale(t, -10*time.Hour, 1)
	s.Calendar.Days = map[Date]time.Weekday{wednesday: time.Sunday}
	want := ofTwoDays(t, s)
	s.Calendar.Scales = map[Date]float64{wednesday: 2}
	expectSame(t, ofTwoDays(t, s), want, 2)
}

// What is added is taken as what the whole would have been: across the midnights at which the day begins and ends.
func TestATrackerScalesWhatIsAddedAndForecast(t *testing.T) {
	for _, after := range []time.Duration{-30 * time.Minute, 12 * time.Hour, 23*time.Hour + 30*time.Minute} {
		plain, scaled := sale(t, after+time.Hour, 1), sale(t, after+time.Hour, 3)
		n := len(plain.Values) - 6
		added, more := plain.Values[n:], scaled.Values[n:]
		for _, s := range []*Series{&plain, &scaled} {
			s.End, s.Values = s.End.Add(-time.Hour), s.Values[:n]
		}
		scaled.Calendar.Scales = map[Date]float64{wednesday: 3}
		a, b := track10(t, plain, 288), track10(t, scaled, 288)
		for i := range added {
			expectSame(t, b.Forecast(0, math.NaN()), a.Forecast(0, math.NaN()), 3)
			if err := errors.Join(a.Add(added[i]), b.Add(more[i])); err != nil {
				t.Fatal(err)
			}
		}
		expectSame(t, b.Forecast(0, math.NaN()), a.Forecast(0, math.NaN()), 3)
	}
}

func TestScalesMustBeOfDaysThatAre(t *testing.T) {
	s := series(10*time.Minute, 200, daily(0))
	for want, scales := range map[string]map[Date]float64{
		"calendar.scales[2026-02-30] is no day":                           {{2026, time.February, 30}: 2},
		"calendar.scales[2026-12-25] is 0; it must be from 0.01 to 100":   {{2026, time.December, 25}: 0},
		"calendar.scales[2026-12-25] is 101; it must be from 0.01 to 100": {{2026, time.December, 25}: 101},
		"calendar.scales[2026-12-25] is NaN":                              {{2026, time.December, 25}: nan},
	} {
		s.Calendar.Scales = scales
		if _, err := Predict(s, 1, levels); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
}
