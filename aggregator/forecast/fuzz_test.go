package forecast

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	fuzzSteps = []time.Duration{time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 45 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}
	fuzzZones = []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca", "Pacific/Apia",
		"Asia/Kathmandu", "Antarctica/Troll", "Pacific/Kwajalein", "Asia/Tehran", "Asia/Manila"}
	fuzzLevels = []float64{1e-9, 0.1, 0.5, 0.95, 1 - 1e-9}
)

// fuzzValue is a random demand, or none that is known.
func fuzzValue(r *rand.Rand, missing uint8, scale float64) float64 {
	switch {
	case r.IntN(256) < int(missing):
		return nan
	case r.IntN(20) == 0:
		return scale * 1e3 * r.Float64()
	}
	return scale * float64(r.IntN(4))
}

// fuzzSeries is one of random length, step, gaps and values, a part of them saturated.
func fuzzSeries(r *rand.Rand, n int, step, missing uint8, scale float64) Series {
	s := series(fuzzSteps[int(step)%len(fuzzSteps)], n%6000, func(int) float64 { return fuzzValue(r, missing, scale) })
	if r.IntN(3) == 0 {
		s.Saturated = make([]bool, len(s.Values))
		for i, often := 0, r.IntN(5); i < len(s.Saturated); i++ {
			s.Saturated[i] = r.IntN(4) < often
		}
	}
	return s
}

// fuzzCalendar gives it a random calendar, and an end near a moment.
func fuzzCalendar(t testing.TB, r *rand.Rand, s Series, near int64) Series {
	s.End = time.Unix(near, r.Int64N(2)*r.Int64N(1e9))
	switch k := r.IntN(len(fuzzZones) + 2); {
	case k < len(fuzzZones):
		s.Calendar.Location = zone(t, fuzzZones[k])
		if _, change := s.End.In(s.Calendar.Location).ZoneBounds(); !change.IsZero() { // about where it changes
			s.End = change.Add(time.Duration(r.IntN(200)-60) * s.Step)
		}
	case k == len(fuzzZones):
		s.Calendar.Location = time.FixedZone("", r.IntN(200000)-100000)
	}
	if r.IntN(2) == 0 {
		s.Calendar.Days = map[Date]time.Weekday{}
		for range r.IntN(20) {
			year, month, day := s.End.AddDate(0, 0, r.IntN(50)-30).Date()
			s.Calendar.Days[Date{year, month, day}] = time.Weekday(r.IntN(7))
		}
	}
	if r.IntN(50) == 0 {
		s.Calendar.Days = map[Date]time.Weekday{{r.IntN(4000) - 1000, time.Month(r.IntN(15)), r.IntN(40)}: time.Weekday(r.IntN(9) - 1)}
	}
	return s
}

// named tells whether an error is of one of the three kinds.
func named(err error) bool {
	return errors.Is(err, ErrShortHistory) || errors.Is(err, ErrStaleHistory) || errors.Is(err, ErrInvalid)
}

func seeds(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(seed, uint16(100*seed), uint8(seed), uint8(10*seed), 1.0, int64(1774746000+3600*(seed-15)))
	}
	f.Add(uint64(1), uint16(3000), uint8(2), uint8(0), 1e8, int64(-1<<40))
	f.Add(uint64(2), uint16(3000), uint8(2), uint8(0), 0.0, int64(1<<40))
}

// FuzzPredict makes series of random length, step, gaps and values; whatever comes back must be sane or a named error.
func FuzzPredict(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, uint16(100*seed), uint8(seed), uint8(10*seed), 1.0)
	}
	f.Add(uint64(55), uint16(492), uint8(0x95), uint8(0xb3), 69.28571428571429) // quantiles that are equal but for rounding
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, step, missing uint8, scale float64) {
		r := rand.New(rand.NewPCG(seed, 1))
		fuzzForecast(t, r, fuzzSeries(r, int(n), step, missing, scale))
	})
}

// FuzzCalendar forecasts series of any calendar.
func FuzzCalendar(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, step, missing uint8, scale float64, near int64) {
		r := rand.New(rand.NewPCG(seed, 2))
		fuzzForecast(t, r, fuzzCalendar(t, r, fuzzSeries(r, int(n), step, missing, scale), near))
	})
}

func fuzzForecast(t *testing.T, r *rand.Rand, s Series) {
	horizon := min(1+r.IntN(int(maxHorizon/s.Step)), 2000)
	got, err := Predict(s, horizon, fuzzLevels)
	if err == nil {
		sound(t, got, s.End, horizon)
	} else if !named(err) {
		t.Errorf("error without a kind: %v", err)
	}
}

// FuzzTracker adds steps, some of them saturated, until the Tracker is due, and forecasts from a random moment after each.
func FuzzTracker(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, step, missing uint8, scale float64, near int64) {
		r := rand.New(rand.NewPCG(seed, 3))
		s := fuzzCalendar(t, r, fuzzSeries(r, int(n), step, missing, scale), near)
		horizon := min(1+r.IntN(int(maxHorizon/s.Step)), 500)
		tracker, err := Track(s, horizon, fuzzLevels)
		if err != nil {
			if !named(err) {
				t.Errorf("error without a kind: %v", err)
			}
			return
		}
		for i := 0; ; i++ {
			now, since := s.End.Add(time.Duration(i)*s.Step), time.Duration(r.Int64N(int64(s.Step)))
			if r.IntN(4) == 0 {
				since = s.Step - 1
			}
			sound(t, tracker.Forecast(0, math.NaN()), now, horizon)
			sound(t, tracker.Forecast(since, fuzzValue(r, missing, math.Abs(scale))), now.Add(since), horizon)
			if tracker.Due() {
				return
			}
			add := tracker.Add
			if r.IntN(3) == 0 {
				add = tracker.AddSaturated
			}
			if err := add(fuzzValue(r, missing, scale)); err != nil && !named(err) {
				t.Errorf("error without a kind: %v", err)
			} else if err != nil {
				return
			}
		}
	})
}
