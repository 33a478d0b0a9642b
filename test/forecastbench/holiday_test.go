package forecastbench

import (
	"testing"
	"time"
)

func TestHolidaysAreWednesdaysThatTurnOutAsTheSundayAfter(t *testing.T) {
	// Values are numbers of steps of six hours. The history begins with the day of 1970-01-01, a Thursday.
	long := Case{Task: Task{ID: "a/x#0", Series: "a/x", StepSeconds: 21600, Origin: 20 * 86400, Horizon: 4}, Actual: Values{80, 81, 82, 83}}
	long.History = Values(ramp(80))
	short := long // its last Sunday is the 11th, the Wednesday before that the 7th
	short.ID, short.History, short.Origin = "a/y#0", long.History[:48], 12*86400
	untold, told := Holidays([]Case{short, long})
	if len(untold) != 1 || len(told) != 1 || told[0].ID != long.ID {
		t.Fatalf("%d and %d cases, want that with eight days before its Wednesday", len(untold), len(told))
	}
	// The last Sunday is the 18th, day 17; the Wednesday before it the 14th, day 13.
	u, c := untold[0], told[0]
	if len(c.History) != 4*13 || c.History[51] != 51 || c.Actual[0] != 4*17 || len(c.Actual) != 4 || c.Horizon != 4 {
		t.Errorf("%d steps until %v, then %v", len(c.History), c.History[len(c.History)-1], c.Actual)
	}
	if want := time.Date(1970, 1, 14, 0, 0, 0, 0, time.UTC).Unix(); c.Origin != want || u.Origin != want {
		t.Errorf("origins are %d and %d, want %d", u.Origin, c.Origin, want)
	}
	if u.Days != nil || len(c.Days) != 1 || c.Days["1970-01-14"] != "Sunday" {
		t.Errorf("untold %v, told %v", u.Days, c.Days)
	}
	if len(long.History) != 80 || long.Days != nil {
		t.Error("the case itself was changed")
	}
}

func TestPastHolidaysAreWednesdaysThatWereAsTheSundayBefore(t *testing.T) {
	c := Case{Task: Task{ID: "a/x#0", Series: "a/x", StepSeconds: 21600, Origin: 20 * 86400, Horizon: 4}, Actual: Values{80, 81, 82, 83}}
	c.History = Values(ramp(80))
	usual, untold, told := PastHolidays([]Case{c})
	if len(usual) != 1 || len(untold) != 1 || len(told) != 1 {
		t.Fatalf("%d, %d and %d cases, want one of each", len(usual), len(untold), len(told))
	}
	// The last Thursday that is known is the 15th, day 14; the Wednesday before it day 13, and the Sunday before that day 10.
	u, d := usual[0], told[0]
	if len(u.History) != 4*14 || u.History[4*13] != 4*13 || u.Actual[0] != 4*14 || u.Days != nil {
		t.Errorf("usual: %d steps, then %v", len(u.History), u.Actual)
	}
	if len(d.History) != 4*14 || d.History[4*13] != 4*10 || d.History[4*13-1] != 4*13-1 || d.History[4*14-1] != 4*11-1 || d.Actual[0] != 4*14 {
		t.Errorf("told: %v, then %v", d.History[4*12:], d.Actual)
	}
	if untold[0].Days != nil || untold[0].History[4*13] != 4*10 || len(d.Days) != 1 || d.Days["1970-01-14"] != "Sunday" {
		t.Errorf("untold %v, told %v", untold[0].Days, d.Days)
	}
}
