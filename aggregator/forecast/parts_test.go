package forecast

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestTrackerFollowsPartsOfAStepUntilItIsOver(t *testing.T) {
	for name, n := range map[string]int{"seasonal": 10 * 144, "level": 60} {
		before := track10(t, series(10*time.Minute, n, daily(1)), 144)
		for range 5 {
			if err := before.Add(2); err != nil {
				t.Fatal(err)
			}
		}
		whole := track10(t, series(10*time.Minute, n, daily(1)), 144)
		for range 5 {
			_ = whole.Add(2)
		}
		_ = whole.Add(9)
		want, was := whole.Forecast(0, nan), before.Forecast(0, nan)
		for _, minutes := range []time.Duration{1, 5, 9} {
			got := before.Forecast(minutes*time.Minute, 9)
			if now := was.Start.Add(minutes * time.Minute); !got.Start.Equal(now) || !got.LastKnown.Equal(now) || got.History != was.History+minutes*time.Minute {
				t.Errorf("%s after %d minutes: from %s, known until %s, %s of history", name, minutes, got.Start, got.LastKnown, got.History)
			}
			if !(got.Mean[0] > was.Mean[0] && got.Mean[0] < want.Mean[0]) {
				t.Errorf("%s after %d minutes at 9: %g is next, want more than %g and less than %g", name, minutes, got.Mean[0], was.Mean[0], want.Mean[0])
			}
			was.Mean[0], got.Start = got.Mean[0], end
			sane(t, got, 144)
		}
		for i, v := range before.Forecast(10*time.Minute-time.Second, 9).Mean {
			if !near(v, want.Mean[i], 0.02*want.Mean[i]) {
				t.Fatalf("%s when it is nearly over: step %d is %g, want %g", name, i, v, want.Mean[i])
			}
		}
		if silent := before.Forecast(5*time.Minute, nan); !silent.LastKnown.Equal(end.Add(50*time.Minute)) || silent.History != was.History {
			t.Errorf("%s when nothing is known of it: known until %s", name, silent.LastKnown)
		}
	}
}

func TestTrackerForecastsBetweenTwoStepsWhatLiesBetween(t *testing.T) {
	tracker := track10(t, series(10*time.Minute, 10*144, daily(1)), 144)
	for range 6 { // all that it takes
		if err := tracker.Add(nan); err != nil {
			t.Fatal(err)
		}
	}
	full, half := tracker.Forecast(0, nan), tracker.Forecast(5*time.Minute, nan)
	for i := range 143 {
		if want := (full.Mean[i] + full.Mean[i+1]) / 2; !near(half.Mean[i], want, 0.15) {
			t.Errorf("step %d is %g, want %g", i, half.Mean[i], want)
		}
	}
}

// When a step is all but over, its part says what the whole step will: of any series, with any calendar.
func TestTrackerForecastsAtTheEndOfAStepWhatItDoesAfterIt(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 77))
		s := fuzzSeries(r, r.IntN(6000), uint8(1+r.IntN(7)), uint8(r.IntN(60)), 1)
		if most := int(40 * 24 * time.Hour / s.Step); len(s.Values) > most {
			s.Values, s.Saturated = s.Values[:most], s.Saturated[:min(most, len(s.Saturated))]
		}
		s = fuzzCalendar(t, r, s, 1774746000+r.Int64N(300*24*60*60))
		tracker, err := Track(s, 1+r.IntN(min(300, int(maxHorizon/s.Step))), levels)
		if err != nil {
			continue
		}
		for range r.IntN(tracker.room) {
			if err := tracker.Add(s.Values[r.IntN(len(s.Values))]); err != nil {
				t.Fatal(err)
			}
		}
		v := s.Values[r.IntN(len(s.Values))]
		got := tracker.Forecast(s.Step-1, v)
		if err := tracker.Add(v); err != nil {
			t.Fatal(err)
		}
		want := tracker.Forecast(0, nan)
		if (want.LastKnown.Sub(got.LastKnown)).Abs() > 1 || (want.History-got.History).Abs() > 1 {
			t.Errorf("seed %d: known until %s, %s of history; want %s, %s", seed, got.LastKnown, got.History, want.LastKnown, want.History)
		}
		for l, level := range levels {
			tolerance := 0.1 * slices.Max(want.Quantiles[len(levels)-1])
			for i, v := range want.Quantiles[l] {
				if !near(got.Quantiles[l][i], v, tolerance) {
					t.Fatalf("seed %d, steps of %s: quantile %g of step %d is %g, want %g", seed, s.Step, level, i, got.Quantiles[l][i], v)
				}
			}
		}
	}
}

// Parts of a step of a holiday count as its whole steps do: they are known, and no history of ordinary days.
func TestTrackerForecastsPartsOfAStepOnNamedDays(t *testing.T) {
	s := resting(1, 10)
	year, month, day := s.End.Date()
	s.Calendar.Days[Date{year, month, day}] = time.Sunday
	holiday := track10(t, s, 8)
	got := holiday.Forecast(time.Hour, 10)
	if now := s.End.Add(time.Hour); !got.LastKnown.Equal(now) {
		t.Errorf("known until %s, want %s", got.LastKnown, now)
	}
	if want := holiday.Forecast(0, nan).History; got.History != want {
		t.Errorf("%s of history, want %s", got.History, want)
	}
	delete(s.Calendar.Days, Date{year, month, day})
	s.Calendar.Days[Date{year, month, day + 1}] = time.Sunday
	tracker := track10(t, s, 8)
	whole, part := tracker.Forecast(0, nan), tracker.Forecast(s.Step-time.Minute, nan)
	for i := range 7 {
		if want := whole.Mean[i+1]; !near(part.Mean[i], want, 0.02*want) {
			t.Errorf("when the first step is nearly over, step %d is %g, want %g", i, part.Mean[i], want)
		}
	}
}
