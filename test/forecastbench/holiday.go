package forecastbench

import (
	"slices"
	"time"
)

// leastBefore is the history that is left before a holiday: each weekday was seen.
const leastBefore = 8 * day

// Holidays are the cases cut short so that a Wednesday begins at their origin, on which what comes is the Sunday after: untold, and
// told that the day is like a Sunday. Days are those of UTC. The Wednesday is the last whose Sunday is known; cases in which less than
// eight days lie before it are left out.
func Holidays(cases []Case) (untold, told []Case) {
	for _, c := range cases {
		sunday := c.last(time.Sunday)
		wednesday := sunday.Add(-4 * day)
		if wednesday.Sub(c.begin()) < leastBefore {
			continue
		}
		untold = append(untold, c.cut(wednesday, sunday))
		told = append(told, untold[len(untold)-1].sunday(wednesday))
	}
	return untold, told
}

// PastHolidays are the cases cut short at the end of a Wednesday: as it was, and turned into the Sunday before, untold and told. Which
// cases and which Wednesday is as for Holidays.
func PastHolidays(cases []Case) (usual, untold, told []Case) {
	for _, c := range cases {
		thursday := c.last(time.Thursday)
		wednesday := thursday.Add(-day)
		if wednesday.Sub(c.begin()) < leastBefore {
			continue
		}
		usual = append(usual, c.cut(thursday, thursday))
		c = c.cut(thursday, thursday)
		from, to := c.step(wednesday.Add(-3*day)), c.step(wednesday)
		copy(c.History[to:], c.History[from:from+c.Day()])
		untold, told = append(untold, c), append(told, c.sunday(wednesday))
	}
	return usual, untold, told
}

func (c Case) begin() time.Time { return time.Unix(c.Start, 0).UTC() }

// step is the first that begins at t or after.
func (c Case) step(t time.Time) int {
	return int((t.Sub(c.begin()) + c.Step() - 1) / c.Step())
}

// last is the begin of the last whole day of a weekday, what happened included.
func (c Case) last(w time.Weekday) time.Time {
	t := c.begin().Add(time.Duration(len(c.History)+len(c.Actual))*c.Step() - day).Truncate(day)
	for t.Weekday() != w {
		t = t.Add(-day)
	}
	return t
}

// cut is a copy of the case that has its origin at t, and in which what comes is what came of a day.
func (c Case) cut(t, came time.Time) Case {
	all := slices.Concat(c.History, c.Actual)
	c.History, c.Actual = all[:c.step(t):c.step(t)], all[c.step(came):c.step(came)+c.Day()]
	c.Horizon, c.Origin = c.Day(), c.Start+int64(len(c.History)*c.StepSeconds)
	return c
}

// sunday says of a day that it is like a Sunday.
func (c Case) sunday(t time.Time) Case {
	c.Days = map[string]string{t.Format(time.DateOnly): time.Sunday.String()}
	return c
}
