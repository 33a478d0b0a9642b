package forecastbench

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// steady are cases with ten days of history in steps of ten minutes, in which the value is the step's number from 1.
func steady(n int) []Case {
	out := make([]Case, n)
	for i := range out {
		out[i] = Case{Task: Task{ID: string(rune('a' + i)), Series: "s/s", StepSeconds: 600, Start: 6000, Origin: 6000 + 1440*600, Horizon: 2}, Actual: Values{1441, 1442}}
		for v := range 1440 {
			out[i].History = append(out[i].History, float64(v+1))
		}
	}
	return out
}

func damage(t *testing.T, name string) Damage {
	t.Helper()
	for _, d := range Damages() {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("no damage %q", name)
	return Damage{}
}

// lost are the first and last step that are missing, and how many are.
func lost(history Values) (first, last, n int) {
	first = -1
	for i, v := range history {
		if math.IsNaN(v) {
			if first < 0 {
				first = i
			}
			last = i
			n++
		}
	}
	return first, last, n
}

func TestDamageIsTheSameEachTimeAndLeavesTheCasesAlone(t *testing.T) {
	cases, untouched := steady(3), steady(3)
	for _, d := range Damages() {
		one, two := d.Cases(cases), d.Cases(cases)
		if diff := cmp.Diff(one, two, cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s differs (-first +second):\n%s", d.Name, diff)
		}
		if diff := cmp.Diff(untouched, cases); diff != "" {
			t.Fatalf("%s changed the undamaged cases:\n%s", d.Name, diff)
		}
		for _, c := range one {
			if end := c.Start + int64(len(c.History)*c.StepSeconds); end != c.Origin {
				t.Errorf("%s: history ends at %d, the origin is %d", d.Name, end, c.Origin)
			}
			if slices.Equal(c.History, cases[0].History) {
				t.Errorf("%s: nothing was damaged", d.Name)
			}
		}
	}
}

func TestOutagesAreAsLongAsTheySayAndLieInTheLastWeek(t *testing.T) {
	for name, n := range map[string]int{"outage_1h": 6, "outage_1d": 144, "outage_3d": 432} {
		places := map[int]bool{}
		for _, c := range damage(t, name).Cases(steady(26)) {
			first, last, missing := lost(c.History)
			if missing != n || last-first != n-1 || first < 1440-7*144 {
				t.Errorf("%s: %d missing from %d to %d", name, missing, first, last)
			}
			places[first] = true
		}
		if len(places) < 13 {
			t.Errorf("%s: 26 outages at %d places only", name, len(places))
		}
	}
	for name, n := range map[string]int{"outage_1h_until_now": 6, "outage_1d_until_now": 144} {
		if first, last, missing := lost(damage(t, name).Cases(steady(1))[0].History); first != 1440-n || last != 1439 || missing != n {
			t.Errorf("%s: %d missing from %d to %d", name, missing, first, last)
		}
	}
	for _, c := range damage(t, "missing_30pct").Cases(steady(3)) {
		if _, _, n := lost(c.History); n < 360 || n > 504 { // 432 are expected, the standard deviation is 17
			t.Errorf("missing_30pct: %d of 1440 are missing", n)
		}
	}
}

func TestSpikesAndShiftsChangeWhatTheySay(t *testing.T) {
	c := damage(t, "spike_10x_yesterday").Cases(steady(1))[0]
	n := 0
	for i, v := range c.History {
		if v == 10*float64(i+1) {
			n++
			if i < 1440-36*6 || i >= 1440-12*6 {
				t.Errorf("spike at step %d", i)
			}
		}
	}
	if n != 6 {
		t.Errorf("%d steps are ten times as much, want an hour's 6", n)
	}
	c = damage(t, "level_doubled_12h_ago").Cases(steady(1))[0]
	if c.History[1440-73] != 1440-72 || c.History[1440-72] != 2*(1440-71) || c.Actual[0] != 2*1441 {
		t.Errorf("doubled: %v, %v, then %v", c.History[1440-73], c.History[1440-72], c.Actual)
	}
	c = damage(t, "clocks_changed_12h_ago").Cases(steady(1))[0]
	if change := len(c.History) - 72; len(c.History) != 1434 || c.Start != 6000+6*600 || c.History[change] != 1440-71 || c.History[change-1] != 1440-72-6 || c.History[0] != 1 {
		t.Errorf("clocks: %d steps from %d", len(c.History), c.Start)
	}
	told := damage(t, "clocks_changed_12h_ago_told").Cases(steady(1))[0]
	berlin, err := time.LoadLocation(told.TimeZone)
	if err != nil {
		t.Fatal(err)
	}
	origin := time.Unix(told.Origin, 0)
	if begin, _ := origin.In(berlin).ZoneBounds(); !slices.Equal(told.History, c.History) || origin.Sub(begin) != 12*time.Hour {
		t.Errorf("clocks, told: %d steps until %s, clocks changed at %s", len(told.History), origin, begin)
	}
	c = damage(t, "history_6h").Cases(steady(1))[0]
	if len(c.History) != 36 || c.History[35] != 1440 {
		t.Errorf("6 h: %d steps", len(c.History))
	}
}

func TestSaturatedHistoriesAreCutAtTheir80thPercentileAndMarkedThere(t *testing.T) {
	c, unmarked := damage(t, "saturated").Cases(steady(1))[0], damage(t, "saturated_unmarked").Cases(steady(1))[0]
	marked := 0
	for i, v := range c.History {
		cut := float64(i+1) > 1152.2
		if c.Saturated[i] != cut || !cut && v != float64(i+1) || cut && math.Abs(v-1152.2) > 1e-9 {
			t.Fatalf("step %d is %g, saturated: %t", i, v, c.Saturated[i])
		}
		if cut {
			marked++
		}
	}
	if marked != 288 || c.Actual[0] != 1441 {
		t.Errorf("%d of 1440 steps are marked, want 288; then %g", marked, c.Actual[0])
	}
	if !slices.Equal(unmarked.History, c.History) || unmarked.Saturated != nil {
		t.Error("unmarked it is not the same history, or not without marks")
	}
}

func TestCostIsTheLossRelativeToTheUndamaged(t *testing.T) {
	cases := []Case{one("a/x", 10, 10)}
	cases[0].History = Values(ramp(400))
	// Off by one per missing point, and by one.
	forecaster := func(task Task) (Forecast, error) {
		_, _, n := lost(task.History)
		level := 11 + float64(n)
		return Forecast{ID: task.ID, Mean: Values{level, level}}, nil
	}
	undamaged, err := Run(cases, forecaster)
	if err != nil {
		t.Fatal(err)
	}
	cost, err := damage(t, "outage_1d").Cost(cases, forecaster, undamaged) // four steps
	if err != nil {
		t.Fatal(err)
	}
	near(t, "cost", cost, (0.5+offset)/(0.1+offset))
	if _, err := damage(t, "history_6h").Cost(cases, SeasonalNaive, undamaged); err == nil {
		t.Error("seasonal naive forecast from six hours")
	}
	if got := cases[0].steps(time.Hour); got != 1 {
		t.Errorf("an hour is %d steps of six hours, want 1", got)
	}
}
