package controller

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// remembered is a memory of a world's workload.
type remembered struct {
	*world
	t        *testing.T
	calendar forecast.Calendar
	gpus     float64 // of a pod; 0 = unknown
	memory
}

func remember(t *testing.T, demand func(time.Time) float64) *remembered {
	w := newWorld(1, 0.2)
	w.demand = demand
	return &remembered{world: w, t: t}
}

// at forecasts so long after noon.
func (r *remembered) at(after time.Duration) (forecast.Forecast, error) {
	q := task{history: r.world, workload: r.target.Workload, levels: levels(0.95), calendar: r.calendar, gpusPerPod: r.gpus, turns: make(chan struct{}, 1)}
	r.forecast, r.err = r.follow(r.t.Context(), q, noon.Add(after))
	return r.forecast, r.err
}

func (r *remembered) must(after time.Duration) forecast.Forecast {
	r.t.Helper()
	f, err := r.at(after)
	if err != nil {
		r.t.Fatalf("after %v: %v", after, err)
	}
	return f
}

// looks is how often the whole history was read.
func (r *remembered) looks() (n int) {
	for _, span := range r.reads {
		if span >= historyLength {
			n++
		}
	}
	return n
}

func TestTheWholeHistoryIsLookedAtOnceAnHourAndElseWhatIsNew(t *testing.T) {
	r := remember(t, workday(days(14)))
	for minute := range 3 * 60 {
		f := r.must(time.Duration(minute) * time.Minute)
		if now := noon.Add(time.Duration(minute) * time.Minute); !f.Start.Equal(now) || !f.LastKnown.Equal(now) || f.Step != wideStep || len(f.Mean) != 288 {
			t.Fatalf("minute %d: %d steps of %v from %v, known until %v", minute, len(f.Mean), f.Step, f.Start, f.LastKnown)
		}
	}
	if n := r.looks(); n != 4 { // the first, and three in the workload's own minute
		t.Errorf("%d looks in three hours, want 4", n)
	}
	for _, span := range r.reads {
		if span < historyLength && span > wideStep+nearbyBefore {
			t.Errorf("%v were read between two looks", span)
		}
	}
}

func TestBetweenTwoLooksTheForecastIsThatOfTheWholeHistory(t *testing.T) {
	tide := func(at time.Time) float64 { return 3 + 2*math.Sin(2*math.Pi*float64(at.Unix()%86400)/86400) }
	r := remember(t, tide)
	for minute := range 59 {
		got := r.must(time.Duration(minute) * time.Minute)
		for i, v := range got.Mean {
			if want := tide(got.Start.Add(time.Duration(i)*wideStep + wideStep/2)); math.Abs(v-want) > 0.05 {
				t.Fatalf("after %d minutes step %d is %g, want %g", minute, i, v, want)
			}
		}
	}
}

func TestThereIsAForecastInEachMinuteWhileAHolidayBegins(t *testing.T) {
	r := remember(t, workday(days(14)))
	r.calendar.Location = time.FixedZone("", int((11*time.Hour+37*time.Minute)/time.Second)) // midnight is 23 minutes after noon
	year, month, day := noon.In(r.calendar.Location).AddDate(0, 0, 1).Date()
	r.calendar.Days = map[forecast.Date]time.Weekday{{Year: year, Month: month, Day: day}: (noon.In(r.calendar.Location).Weekday() + 3) % 7}
	for minute := range 60 {
		r.must(time.Duration(minute) * time.Minute)
	}
	if n := r.looks(); n > 3 {
		t.Errorf("%d looks in an hour", n)
	}
}

func TestAMinuteOfNewDemandMovesTheForecast(t *testing.T) {
	r := remember(t, func(at time.Time) float64 {
		if at.Before(noon.Add(10 * time.Minute)) {
			return 2
		}
		return 6
	})
	r.must(0)
	last := r.must(10 * time.Minute).Mean[0]
	for minute := 11; minute <= 20; minute++ {
		next := r.must(time.Duration(minute) * time.Minute).Mean[0]
		if next <= last {
			t.Errorf("after %d minutes at 6 GPUs %g are forecast, before the last of them it was %g", minute-10, next, last)
		}
		last = next
	}
}

func TestTheFirstForecastComesWithTheTenthMinute(t *testing.T) {
	r := remember(t, workday(noon))
	for minute := range 10 {
		if _, err := r.at(time.Duration(minute) * time.Minute); !errors.Is(err, forecast.ErrShortHistory) {
			t.Fatalf("with %d minutes: error is %v", minute, err)
		}
	}
	for minute := 10; minute < 3*60; minute++ {
		f := r.must(time.Duration(minute) * time.Minute)
		if f.Method != forecast.MethodLevel || f.History != time.Duration(minute)*time.Minute {
			t.Fatalf("with %d minutes: %s from %v", minute, f.Method, f.History)
		}
		if want := 10 * wideStep; (f.Step == wideStep) != (f.History >= want) {
			t.Fatalf("with %d minutes: steps of %v, want wide ones from %v on", minute, f.Step, want)
		}
	}
}

func TestTheForecastActsAsSoonAsADayIsKnown(t *testing.T) {
	r := remember(t, workday(days(1).Add(7*time.Minute)))
	for minute := range 20 {
		f := r.must(time.Duration(minute) * time.Minute)
		if seasonal := f.Method == forecast.MethodSeasonal; seasonal != (f.History >= actsAfter) {
			t.Errorf("after %d minutes: %s from %v", minute, f.Method, f.History)
		}
	}
	if r.forecast.Method != forecast.MethodSeasonal {
		t.Errorf("%s with %v", r.forecast.Method, r.forecast.History)
	}
}

func TestMinutesThatComeLateCountAtTheNextLook(t *testing.T) {
	late := func(at time.Time) bool { return !at.Before(noon) && at.Before(noon.Add(30*time.Minute)) }
	arrived := false
	r := remember(t, func(at time.Time) float64 {
		if late(at) && !arrived {
			return math.NaN()
		}
		return 2
	})
	r.must(0)
	before := r.must(30 * time.Minute)
	if !before.LastKnown.Equal(noon) || before.History >= historyLength+wideStep*12 {
		t.Errorf("while they are away: known until %v, %v of history", before.LastKnown, before.History)
	}
	arrived = true
	for minute := 31; minute <= 90; minute++ {
		if f := r.must(time.Duration(minute) * time.Minute); r.looks() > 1 {
			if known := f.Start.Truncate(wideStep); f.History < historyLength || f.LastKnown.Before(known) {
				t.Errorf("after a look: %v of history until %v", f.History, f.LastKnown)
			}
			return
		}
	}
	t.Error("there was no look within an hour")
}

func TestMinutesThatAnotherAggregatorHadCountAtOnce(t *testing.T) {
	missed := func(at time.Time) bool { return !at.Before(noon.Add(-6*time.Hour)) && at.Before(noon) }
	r := remember(t, func(at time.Time) float64 {
		if missed(at) {
			return math.NaN()
		}
		return 2
	})
	if f := r.must(time.Minute); f.History >= historyLength {
		t.Errorf("without them: %v of history", f.History)
	}
	missed = func(time.Time) bool { return false }
	r.world.filled++
	if f := r.must(2 * time.Minute); f.History < historyLength {
		t.Errorf("with them: %v of history", f.History)
	}
	r.must(3 * time.Minute)
	if r.looks() != 2 {
		t.Errorf("%d looks, want 2", r.looks())
	}
}

func TestWhoStartsLaterForecastsTheSame(t *testing.T) {
	noisy := func(at time.Time) float64 {
		minute := float64(at.Unix() / 60)
		return 5 + 4*math.Sin(2*math.Pi*minute/1440) + math.Sin(minute*minute)
	}
	clocks := forecast.Calendar{Location: time.FixedZone("", int((11*time.Hour+37*time.Minute)/time.Second))} // midnight is 23 minutes after noon
	year, month, day := noon.In(clocks.Location).AddDate(0, 0, 1).Date()
	clocks.Days = map[forecast.Date]time.Weekday{{Year: year, Month: month, Day: day}: time.Sunday}
	for name, calendar := range map[string]forecast.Calendar{"ordinary days": {}, "a holiday begins": clocks} {
		t.Run(name, func(t *testing.T) {
			long := remember(t, noisy)
			long.calendar = calendar
			for minute := range 100 {
				want := long.must(time.Duration(minute) * time.Minute)
				if minute < 60 || minute%7 > 0 { // it has had an own minute by then
					continue
				}
				fresh := remember(t, noisy)
				fresh.calendar = calendar
				if got := fresh.must(time.Duration(minute) * time.Minute); !reflect.DeepEqual(got, want) {
					t.Fatalf("after %d minutes %.6g and %.6g of history %v are forecast; who was there before says %.6g and %.6g of %v", minute,
						got.Mean[0], got.Quantiles[0][0], got.History, want.Mean[0], want.Quantiles[0][0], want.History)
				}
			}
		})
	}
}

func TestAMinuteThatComesLateCountsAtOnceWhileItsStepIsNotFull(t *testing.T) {
	arrived := false
	r := remember(t, func(at time.Time) float64 {
		switch {
		case at.Before(noon):
			return 2
		case at.Equal(noon.Add(time.Minute)) && arrived:
			return 60
		case at.Equal(noon.Add(time.Minute)):
			return math.NaN()
		}
		return 2
	})
	r.must(0)
	before := r.must(3 * time.Minute).Mean[0]
	arrived = true
	if after := r.must(4 * time.Minute).Mean[0]; after < before+0.5 {
		t.Errorf("%g are forecast, without the late minute %g", after, before)
	}
	if n := r.looks(); n != 1 {
		t.Errorf("%d looks", n)
	}
}

func TestAHistoryThatCannotBeReadIsTriedAgainTheNextMinute(t *testing.T) {
	r := remember(t, workday(days(14)))
	var unread historyError
	for _, first := range []time.Duration{0, 2 * time.Minute, 4 * time.Minute} { // at first, and between looks
		r.unread = errors.New("disk gone")
		if _, err := r.at(first); !errors.As(err, &unread) {
			t.Errorf("after %v: error is %v", first, err)
		}
		r.unread = nil
		if f := r.must(first + time.Minute); f.History < 13*24*time.Hour || !f.LastKnown.Equal(f.Start) {
			t.Errorf("a minute after %v: %v until %v", first, f.History, f.LastKnown)
		}
	}
}

func TestAWorkloadThatIsSilentForDaysIsLookedAtAgainWhenItSpeaks(t *testing.T) {
	r := remember(t, func(at time.Time) float64 {
		if at.After(days(4)) && at.Before(noon.Add(30*time.Minute)) {
			return math.NaN()
		}
		return 2
	})
	for minute := range 30 {
		if _, err := r.at(time.Duration(minute) * time.Minute); !errors.Is(err, forecast.ErrStaleHistory) {
			t.Fatalf("minute %d: error is %v", minute, err)
		}
	}
	if n := r.looks(); n > 2 {
		t.Errorf("%d looks while nothing was new", n)
	}
	for minute := 31; minute <= 36; minute++ {
		if f, err := r.at(time.Duration(minute) * time.Minute); err == nil {
			if f.LastKnown.Before(noon.Add(30 * time.Minute)) {
				t.Errorf("known until %v", f.LastKnown)
			}
			return
		}
	}
	t.Errorf("no forecast six minutes after it spoke: %v", r.err)
}

func TestBetweenTwoLooksWhatIsSaturatedIsTakenAsAtLeastThat(t *testing.T) {
	busy := func(at time.Time) float64 {
		if at.Before(noon) {
			return 6 + float64(at.Minute()%5)/10
		}
		return 4
	}
	told, untold := remember(t, busy), remember(t, busy)
	told.gpus = 1
	told.pods = func(at time.Time) float64 { // four are left of eight
		if at.Before(noon) {
			return 8
		}
		return 4
	}
	before := told.must(0).Mean[0]
	untold.must(0)
	for minute := 1; minute <= 23; minute++ { // the last three are a part of a step
		untold.must(time.Duration(minute) * time.Minute)
		if f := told.must(time.Duration(minute) * time.Minute); f.Mean[0] < before-0.3 {
			t.Errorf("after %d minutes %g are forecast, %g before", minute, f.Mean[0], before)
		}
	}
	if told.looks() > 1 {
		t.Fatal("a look; the test shows nothing")
	}
	if b := untold.forecast.Mean[0]; b > before-0.6 {
		t.Errorf("%g are forecast, %g before, when 4 were all that was asked for", b, before)
	}
}

func TestAWorkloadOfWhichNothingIsKnownIsLookedAtOnceInFiveMinutes(t *testing.T) {
	r := remember(t, func(time.Time) float64 { return math.NaN() })
	for minute := range 60 {
		if _, err := r.at(time.Duration(minute) * time.Minute); !errors.Is(err, forecast.ErrShortHistory) {
			t.Fatalf("after %d minutes: error is %v", minute, err)
		}
	}
	if n := r.looks(); n != 12 {
		t.Errorf("%d looks in an hour, want 12", n)
	}
	r.demand = workday(noon.Add(time.Hour))
	for minute := 60; minute <= 70; minute++ {
		_, _ = r.at(time.Duration(minute) * time.Minute)
	}
	if r.err != nil {
		t.Errorf("ten minutes after it spoke: %v", r.err)
	}
}

func TestAWorkloadWaitsForItsTurnWithoutAForecastOrWithTheLastOne(t *testing.T) {
	w := newWorld(4, 0.40)
	w.demand = workday(days(14))
	e := NewEvaluator(w, nil, w, nil)
	others := func(begin bool) {
		for range looksAtOnce {
			if begin {
				e.forecasts.turns <- struct{}{}
			} else {
				<-e.forecasts.turns
			}
		}
	}
	others(true)
	first := e.Evaluate(t.Context(), policy(), w.target, noon)
	if first.Forecast.Note.Reason != "ForecastPending" || !first.Forecast.Lost || first.Decision.Replicas != 8 {
		t.Errorf("while others are looked at: %+v, %+v; want the load to decide", first.Forecast.Note, first.Decision)
	}
	others(false)
	if soon := e.Evaluate(t.Context(), policy(), w.target, noon.Add(2*time.Second)); !soon.Forecast.Acts {
		t.Errorf("at the next sync: %+v", soon.Forecast.Note)
	}
	others(true)
	var last time.Time
	for minute := range 61 { // within which there is a look
		got := e.Evaluate(t.Context(), policy(), w.target, noon.Add(time.Duration(minute)*time.Minute)).Forecast
		if !got.Acts {
			t.Fatalf("minute %d: %+v", minute, got.Note)
		}
		last = got.Forecast.Start
	}
	if !last.Before(noon.Add(59 * time.Minute)) {
		t.Error("there was no look to wait for")
	}
	others(false)
	if got := e.Evaluate(t.Context(), policy(), w.target, noon.Add(60*time.Minute+2*time.Second)).Forecast; !got.Forecast.Start.Equal(noon.Add(59 * time.Minute)) {
		t.Errorf("when it has its turn the forecast is of %v", got.Forecast.Start)
	}
}

func TestNoForecastIsLostWhenClocksChange(t *testing.T) {
	w := newWorld(1, 0.20)
	change := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC) // in Berlin
	w.demand = workday(change.Add(-14 * 24 * time.Hour))
	e := NewEvaluator(w, nil, w, nil)
	there := policy(func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.TimeZone = "Europe/Berlin" })
	for minute := -90; minute < 90; minute++ {
		if got := e.Evaluate(t.Context(), there, w.target, change.Add(time.Duration(minute)*time.Minute)).Forecast; !got.Acts {
			t.Errorf("%d minutes after the change: %+v", minute, got.Note)
		}
	}
	looks := 0
	for _, span := range w.reads {
		if span >= historyLength {
			looks++
		}
	}
	if looks > 5 { // the first, three in the workload's own minute, one at the change
		t.Errorf("%d looks in three hours, want 5", looks)
	}
}

func TestAClockThatIsSetDoesNotBreakTheMemory(t *testing.T) {
	r := remember(t, workday(days(14)))
	for _, after := range []time.Duration{0, -3 * time.Hour, 5 * time.Hour, 5*time.Hour - time.Minute} {
		if f := r.must(after); !f.Start.Equal(noon.Add(after)) {
			t.Errorf("after %v the forecast is from %v", after, f.Start)
		}
	}
}

func TestWorkloadsAreLookedAtInDifferentMinutes(t *testing.T) {
	counts := map[time.Time]int{}
	for i := range 6000 {
		next := nextLook(Workload{"default", "Deployment", fmt.Sprint("web-", i)}, noon)
		if !next.After(noon) || next.After(noon.Add(lookEvery)) {
			t.Fatalf("the next look after %v is at %v", noon, next)
		}
		counts[next]++
	}
	for at, n := range counts {
		if n < 50 || n > 200 {
			t.Errorf("%d of 6000 workloads are looked at at %v", n, at)
		}
	}
	w := Workload{"default", "Deployment", "web"}
	if first := nextLook(w, noon); !nextLook(w, first).Equal(first.Add(lookEvery)) || !nextLook(w, first.Add(-time.Second)).Equal(first) {
		t.Error("looks are not an hour apart")
	}
}
