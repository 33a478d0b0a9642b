// Package ics reads the days of a calendar file (iCalendar, RFC 5545): those on which its all-day events lie. Events with a time of day
// are meetings and not days, and are passed over; so is what was cancelled.
package ics

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	ical "github.com/arran4/golang-ical"
	"github.com/teambition/rrule-go"
)

// What a file may have. A ConfigMap holds a megabyte, and whoever writes one shall not keep the reader busy.
const (
	mostEvents    = 5000
	mostRepeating = 200
	mostTimes     = 100_000 // that all of them repeat until now
	mostNever     = 3       // of them that never do: rrule looks for it in all years until 9999, which takes 75 ms
	mostDays      = 366     // of one event
	mostTold      = 3       // of the events that are wrong
	earliest      = 1900    // year
)

// layout is how a date is written.
const layout = "20060102"

// Days returns the days from first to last, both included and all at midnight UTC, on which an all-day event lies: ascending, each
// once. An event that cannot be read is left out and told in the error, beside the days of the others.
func Days(text string, first, last time.Time) ([]time.Time, error) {
	file, err := ical.ParseCalendar(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("it is no calendar file (RFC 5545): %w", err)
	}
	events := file.Events()
	if strings.TrimSpace(text) == "" || file.Components == nil && len(file.CalendarProperties) == 0 {
		return nil, errors.New("it is no calendar file (RFC 5545): it is empty")
	}
	if len(events) > mostEvents {
		return nil, fmt.Errorf("it has %d events; at most %d are read", len(events), mostEvents)
	}
	r := reader{first: first, last: last, moved: movedDays(events), days: map[time.Time]bool{}}
	var wrong []error
	for i, e := range events {
		if err := r.put(e); err != nil {
			wrong = append(wrong, fmt.Errorf("event %d, %q: %w", i+1, summary(e), err))
		}
	}
	out := make([]time.Time, 0, len(r.days))
	for day := range r.days {
		out = append(out, day)
	}
	slices.SortFunc(out, time.Time.Compare)
	if more := len(wrong) - mostTold; more > 0 {
		wrong = append(wrong[:mostTold], fmt.Errorf("%d more events", more))
	}
	return out, errors.Join(wrong...)
}

func summary(e *ical.VEvent) string {
	if p := e.GetProperty(ical.ComponentPropertySummary); p != nil {
		return p.Value[:min(len(p.Value), 60)]
	}
	return e.Id()
}

// movedDays are the days of events that repeat which other events take the place of (RECURRENCE-ID), by the id of both.
func movedDays(events []*ical.VEvent) map[string][]time.Time {
	out := map[string][]time.Time{}
	for _, e := range events {
		if p := e.GetProperty(ical.ComponentPropertyRecurrenceId); p != nil {
			if day, err := time.Parse(layout, p.Value); err == nil {
				out[e.Id()] = append(out[e.Id()], day)
			}
		}
	}
	return out
}

// reader collects the days of events.
type reader struct {
	first, last time.Time
	moved       map[string][]time.Time
	days        map[time.Time]bool

	repeating, times, never int
}

// put adds the days of an event but for those that begin at one that was moved.
func (r *reader) put(e *ical.VEvent) error {
	start := e.GetProperty(ical.ComponentPropertyDtStart)
	if start == nil {
		return errors.New("it has no DTSTART")
	}
	if status := e.GetProperty(ical.ComponentPropertyStatus); status != nil && strings.EqualFold(status.Value, "CANCELLED") || len(start.Value) != len(layout) {
		return nil
	}
	begin, err := time.Parse(layout, start.Value)
	if err != nil || begin.Year() < earliest {
		return fmt.Errorf("DTSTART is %q; it must be a date such as 20261225", start.Value)
	}
	length, err := lengthOf(e, begin)
	if err != nil {
		return err
	}
	begins, err := r.occurrences(e, begin, length)
	if err != nil {
		return err
	}
	except, err := listed(e, ical.ComponentPropertyExdate)
	if err != nil {
		return err
	}
	if !e.HasProperty(ical.ComponentPropertyRecurrenceId) {
		except = append(except, r.moved[e.Id()]...)
	}
	for _, b := range begins {
		if slices.ContainsFunc(except, b.Equal) {
			continue
		}
		for i := range length {
			if day := b.AddDate(0, 0, i); !day.Before(r.first) && !day.After(r.last) {
				r.days[day] = true
			}
		}
	}
	return nil
}

var durations = regexp.MustCompile(`^P(?:(\d{1,3})W|(\d{1,3})D)$`)

// lengthOf is how many days an event takes: to the day before DTEND, or for a DURATION; else one.
func lengthOf(e *ical.VEvent, begin time.Time) (int, error) {
	days := 1
	if p := e.GetProperty(ical.ComponentPropertyDtEnd); p != nil {
		end, err := time.Parse(layout, p.Value)
		if err != nil || end.Before(begin) {
			return 0, fmt.Errorf("DTEND is %q; it must be a date after DTSTART", p.Value)
		}
		days = max(1, int(end.Sub(begin)/(24*time.Hour))) // some programs give the same day for both
	} else if p := e.GetProperty(ical.ComponentPropertyDuration); p != nil {
		parts := durations.FindStringSubmatch(p.Value)
		if parts == nil {
			return 0, fmt.Errorf("DURATION is %q; it must be days or weeks, such as P3D", p.Value)
		}
		weeks, _ := strconv.Atoi(parts[1])
		single, _ := strconv.Atoi(parts[2])
		days = max(1, 7*weeks+single)
	}
	if days > mostDays {
		return 0, fmt.Errorf("it takes %d days; at most %d are allowed", days, mostDays)
	}
	return days, nil
}

// occurrences are the days on which an event of so many days begins, those at least whose days may count.
func (r *reader) occurrences(e *ical.VEvent, begin time.Time, length int) ([]time.Time, error) {
	out, err := listed(e, ical.ComponentPropertyRdate)
	if err != nil {
		return nil, err
	}
	out = append(out, begin)
	p := e.GetProperty(ical.ComponentPropertyRrule)
	if p == nil || begin.After(r.last) {
		return out, nil
	}
	option, err := rrule.StrToROptionInLocation(p.Value, time.UTC)
	if err != nil {
		return nil, fmt.Errorf("RRULE is %q: %w", p.Value, err)
	}
	if option.Freq > rrule.DAILY {
		return nil, fmt.Errorf("RRULE is %q; FREQ must be YEARLY, MONTHLY, WEEKLY or DAILY", p.Value)
	}
	if !option.Until.IsZero() && option.Until.Before(begin) {
		return out, nil
	}
	if r.repeating++; r.repeating > mostRepeating {
		return nil, fmt.Errorf("at most %d events that repeat are read", mostRepeating)
	}
	option.Dtstart, option.Byhour, option.Byminute, option.Bysecond = begin, nil, nil, nil
	rule, err := rrule.NewRRule(*option)
	if err != nil {
		return nil, fmt.Errorf("RRULE is %q: %w", p.Value, err)
	}
	times, err := r.follow(rule, r.first.AddDate(0, 0, 1-length))
	if err != nil {
		return nil, fmt.Errorf("RRULE is %q: %w", p.Value, err)
	}
	return append(out, times...), nil
}

// follow returns the days of a rule from first on.
func (r *reader) follow(rule *rrule.RRule, first time.Time) (out []time.Time, err error) {
	if r.never >= mostNever {
		return nil, fmt.Errorf("there are %d that never hold, others are not read", mostNever)
	}
	next, option := rule.Iterator(), rule.OrigOptions
	for n := 0; ; n++ {
		day, ok := next()
		switch {
		case !ok && (n == 0 || option.Count == 0 && option.Until.IsZero()):
			r.never++
			return nil, errors.New("it never holds, or never again")
		case !ok || day.After(r.last):
			return out, nil
		case !day.Before(first):
			out = append(out, day)
		}
		if r.times++; r.times > mostTimes {
			return nil, fmt.Errorf("events repeat more than %d times until now", mostTimes)
		}
	}
}

// listed are the dates of a property that may be there several times, each a list.
func listed(e *ical.VEvent, property ical.ComponentProperty) (out []time.Time, err error) {
	for _, p := range e.GetProperties(property) {
		for text := range strings.SplitSeq(p.Value, ",") {
			day, err := time.Parse(layout, text)
			if err != nil {
				return nil, fmt.Errorf("%s has %q; it must be a date such as 20261225", property, text)
			}
			out = append(out, day)
		}
	}
	return out, nil
}
