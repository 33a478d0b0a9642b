package v1alpha1

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// weekdays are what a day can be like.
var weekdays = []Weekday{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}

// Location is the time zone, UTC where none is given. An error names the field, its value and what is allowed.
func (s *AdvancedHorizontalPodAutoscalerSpec) Location() (*time.Location, error) {
	location, err := time.LoadLocation(s.TimeZone)
	if err != nil || s.TimeZone == "Local" { // that is where the aggregator happens to run
		return nil, fmt.Errorf("spec.timeZone is %q: it must be a name of the IANA time zone database, such as Europe/Berlin", s.TimeZone)
	}
	return location, nil
}

// Day is the date of days[i], at midnight UTC. An error names the field, its value and what is allowed.
func (p Prediction) Day(i int) (time.Time, error) {
	date, err := time.Parse(time.DateOnly, p.Days[i].Date)
	if err != nil {
		return time.Time{}, fmt.Errorf("spec.prediction.days[%d].date is %q: it must be a day, such as 2026-12-25", i, p.Days[i].Date)
	}
	return date, p.Days[i].Kind().check(fmt.Sprintf("spec.prediction.days[%d]", i))
}

// Calendar says what is wrong with calendars[i]: the field, its value and what is allowed.
func (p Prediction) Calendar(i int) error {
	c, at := p.Calendars[i], fmt.Sprintf("spec.prediction.calendars[%d]", i)
	if c.ConfigMapName == "" {
		return fmt.Errorf("%s.configMapName is %q: it must be given", at, c.ConfigMapName)
	}
	return c.Kind().check(at)
}

// DayKind is what a special day is like.
type DayKind struct {
	Like  Weekday // "" is its own
	Scale int32   // percent; 0 is 100
}

// Kind of the day.
func (d SpecialDay) Kind() DayKind { return DayKind{d.Like, d.Scale} }

// Kind of the days of the calendar.
func (c Calendar) Kind() DayKind { return DayKind{c.Like, c.Scale} }

// Weekday that it is like; false when it is its own.
func (k DayKind) Weekday() (time.Weekday, bool) {
	i := slices.Index(weekdays, k.Like)
	return time.Weekday(max(0, i)), i >= 0
}

const mostScale = 1000

func (k DayKind) check(at string) error {
	switch {
	case k == DayKind{}:
		return fmt.Errorf("%s has neither like nor scale: it must have like, scale or both", at)
	case k.Like != "" && !slices.Contains(weekdays, k.Like):
		return fmt.Errorf("%s.like is %q: it must be one of %s", at, k.Like, listed(weekdays))
	case k.Scale < 0 || k.Scale > mostScale:
		return fmt.Errorf("%s.scale is %d: it must be 1 to %d", at, k.Scale, mostScale)
	}
	return nil
}

func listed(all []Weekday) string {
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = string(one)
	}
	return strings.Join(names, ", ")
}
