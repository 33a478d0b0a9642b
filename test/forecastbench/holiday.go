package forecastbench

import (
	"slices"
	"time"
)

// leastBefore is the history that is left before a holiday: each weekday was seen.
const leastBefore = 8 * day

// Holidays are the cases cut short so that a Wednesday begins at their origin, on which what comes is the Sunday after it: untold, and
// told that the day is like a Sunday. Days are those of UTC. The Wednesday is the last whose Sunday is known; cases in which less than
// eight days lie before it are left out.
func Holidays(cases []Case) (untold, told []Case) {
	for _, c := range cases {
		all := slices.Concat(c.History, c.Actual)
		start := time.Unix(c.Start, 0).UTC()
		sunday := start.Add(time.Duration(len(all))*c.Step() - day).Truncate(day)
		for sunday.Weekday() != time.Sunday {
			sunday = sunday.Add(-day)
		}
		wednesday := sunday.Add(-4 * day)
		if wednesday.Sub(start) < leastBefore {
			continue
		}
		came := int(sunday.Sub(start) / c.Step())
		c.History, c.Actual = all[:wednesday.Sub(start)/c.Step()], all[came:came+c.Day()]
		c.Horizon, c.Origin = c.Day(), c.Start+int64(len(c.History)*c.StepSeconds)
		untold = append(untold, c)
		c.Days = map[string]string{wednesday.Format(time.DateOnly): time.Sunday.String()}
		told = append(told, c)
	}
	return untold, told
}
