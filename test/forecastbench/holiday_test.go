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
