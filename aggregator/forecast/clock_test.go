package forecast

import (
	"math"
	"slices"
	"testing"
	"time"
)

// office is high from nine to six.
func office(local time.Time) float64 {
	if h := local.Hour(); h >= 9 && h < 18 {
		return 10
	}
	return 2
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
