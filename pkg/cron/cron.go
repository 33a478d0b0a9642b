// Package cron reads cron expressions that say when something holds, rather than when it begins: `* 8-20 ? * MON-FRI` is every
// minute from 8:00 to 20:59 on workdays.
package cron

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Mask is a set of minutes.
type Mask struct{ spec *cron.SpecSchedule }

// star is the bit that marks a field which says nothing, `*` or `?`.
const star = 1 << 63

var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// Parse reads five fields: minute, hour, day of the month, month, day of the week. Each is `*` or `?` (any), or a list of numbers,
// ranges (`8-20`) and steps (`*/15`); months and weekdays have names (`JAN`, `MON-FRI`). A weekday must be a name: as a number,
// 1 is Monday to cron and Sunday to Quartz.
func Parse(expression string) (Mask, error) {
	fields := strings.Fields(expression)
	if len(fields) != 5 {
		return Mask{}, fmt.Errorf("it has %d fields; there must be 5: minute, hour, day of the month, month, day of the week", len(fields))
	}
	weekday, _, _ := strings.Cut(fields[4], "/")
	if strings.ContainsAny(weekday, "0123456789") {
		return Mask{}, fmt.Errorf("the day of the week is %q; it must be a name such as MON, since 1 is Monday to cron and Sunday to Quartz", fields[4])
	}
	schedule, err := parser.Parse(strings.Join(fields, " "))
	if err != nil {
		return Mask{}, fmt.Errorf("%w; allowed are *, ?, numbers, names, ranges from low to high, steps and lists of them", err)
	}
	spec, ok := schedule.(*cron.SpecSchedule)
	if !ok {
		return Mask{}, errors.New("it is no list of minutes")
	}
	return Mask{spec}, nil
}

// Has reports whether the minute of t, by the clock and calendar of its location, is in the set. Where both the day of the month
// and the day of the week are given, one of them is enough.
func (m Mask) Has(t time.Time) bool {
	in := func(field uint64, value int) bool { return field&(1<<value) != 0 }
	if !in(m.spec.Minute, t.Minute()) || !in(m.spec.Hour, t.Hour()) || !in(m.spec.Month, int(t.Month())) {
		return false
	}
	date, weekday := in(m.spec.Dom, t.Day()), in(m.spec.Dow, int(t.Weekday()))
	if m.spec.Dom&star != 0 || m.spec.Dow&star != 0 {
		return date && weekday
	}
	return date || weekday
}
