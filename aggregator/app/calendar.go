package app

import (
	"fmt"
	"maps"
	"slices"
	"time"
	_ "time/tzdata" // for machines that have none

	"github.com/foretide/foretide/aggregator/forecast"
)

// zone is a time zone by its IANA name; none is UTC.
func zone(field, name string) (*time.Location, error) {
	if name == "" {
		return nil, nil
	}
	location, err := time.LoadLocation(name)
	if err != nil || location == time.Local {
		return nil, fmt.Errorf("%s is %q; it must be %s", field, name, allowed["time_zone"])
	}
	return location, nil
}

// namedDays are dates and the weekdays that they are like.
func namedDays(days map[string]string) (map[forecast.Date]time.Weekday, error) {
	named := map[forecast.Date]time.Weekday{}
	for _, text := range slices.Sorted(maps.Keys(days)) {
		date, err := time.Parse(time.DateOnly, text)
		like := slices.IndexFunc(weekdays, func(w time.Weekday) bool { return w.String() == days[text] })
		if err != nil || like < 0 {
			return nil, fmt.Errorf("days has %q: %q; it must be %s", text, days[text], allowed["days"])
		}
		named[forecast.DateOf(date)] = weekdays[like]
	}
	return named, nil
}

// scaledDays are dates and how many times their demand is what it would be else.
func scaledDays(scales map[string]float64) (map[forecast.Date]float64, error) {
	scaled := map[forecast.Date]float64{}
	for _, text := range slices.Sorted(maps.Keys(scales)) {
		date, err := time.Parse(time.DateOnly, text)
		if times := scales[text]; err != nil || !(times >= 0.01 && times <= 100) {
			return nil, fmt.Errorf("scales has %q: %g; it must be %s", text, times, allowed["scales"])
		}
		scaled[forecast.DateOf(date)] = scales[text]
	}
	return scaled, nil
}

var weekdays = []time.Weekday{time.Sunday, time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday, time.Saturday}
