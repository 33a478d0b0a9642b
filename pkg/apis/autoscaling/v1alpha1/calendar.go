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

// Day is the date of days[i], at midnight UTC, and the weekday it is like. An error names the field, its value and what is allowed.
func (p Prediction) Day(i int) (time.Time, time.Weekday, error) {
	day := p.Days[i]
	date, err := time.Parse(time.DateOnly, day.Date)
	if err != nil {
		return time.Time{}, 0, fmt.Errorf("spec.prediction.days[%d].date is %q: it must be a day, such as 2026-12-25", i, day.Date)
	}
	weekday := slices.Index(weekdays, day.Like)
	if weekday < 0 {
		return time.Time{}, 0, fmt.Errorf("spec.prediction.days[%d].like is %q: it must be one of %s", i, day.Like, listed(weekdays))
	}
	return date, time.Weekday(weekday), nil
}

func listed(all []Weekday) string {
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = string(one)
	}
	return strings.Join(names, ", ")
}
