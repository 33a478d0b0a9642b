package ics

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// file is a calendar with so many events, each as lines.
func file(events ...string) string {
	var out strings.Builder
	out.WriteString("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\n")
	for i, e := range events {
		if !strings.Contains(e, "UID:") {
			e += fmt.Sprintf("\nUID:%d@test", i)
		}
		out.WriteString("BEGIN:VEVENT\r\n" + strings.ReplaceAll(e, "\n", "\r\n") + "\r\nEND:VEVENT\r\n")
	}
	return out.String() + "END:VCALENDAR\r\n"
}

func date(text string) time.Time {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return t
}

// read gives the days of December 2026 and the first of January as 12-25 and so on.
func read(t *testing.T, text string) string {
	t.Helper()
	days, err := Days(text, date("2026-12-01"), date("2027-01-01"))
	var out []string
	for _, d := range days {
		out = append(out, d.Format("01-02"))
	}
	if err != nil {
		out = append(out, err.Error())
	}
	return strings.Join(out, " ")
}

func TestDaysAreThoseOfAllDayEvents(t *testing.T) {
	for name, c := range map[string]struct{ event, want string }{
		"one day":                  {"DTSTART;VALUE=DATE:20261225", "12-25"},
		"its end is the day after": {"DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261226", "12-25"},
		"its end is the same":      {"DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261225", "12-25"},
		"three days":               {"DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261228", "12-25 12-26 12-27"},
		"a duration":               {"DTSTART;VALUE=DATE:20261225\nDURATION:P2D", "12-25 12-26"},
		"a week that began before": {"DTSTART;VALUE=DATE:20261127\nDURATION:P1W", "12-01 12-02 12-03"},
		"a week that ends after":   {"DTSTART;VALUE=DATE:20261230\nDURATION:P1W", "12-30 12-31 01-01"},
		"an hour":                  {"DTSTART:20261225T100000Z\nDTEND:20261225T110000Z", ""},
		"cancelled":                {"DTSTART;VALUE=DATE:20261225\nSTATUS:CANCELLED", ""},
		"of another year":          {"DTSTART;VALUE=DATE:20251225", ""},
		"each year":                {"DTSTART;VALUE=DATE:19701225\nRRULE:FREQ=YEARLY", "12-25"},
		"each year until":          {"DTSTART;VALUE=DATE:19701225\nRRULE:FREQ=YEARLY;UNTIL=20201231", ""},
		"each year twice":          {"DTSTART;VALUE=DATE:20251225\nRRULE:FREQ=YEARLY;COUNT=2", "12-25"},
		"each year once":           {"DTSTART;VALUE=DATE:20251225\nRRULE:FREQ=YEARLY;COUNT=1", ""},
		"two days each year":       {"DTSTART;VALUE=DATE:20001225\nDTEND;VALUE=DATE:20001227\nRRULE:FREQ=YEARLY", "12-25 12-26"},
		"the second Friday":        {"DTSTART;VALUE=DATE:20260109\nRRULE:FREQ=MONTHLY;BYDAY=2FR", "12-11"},
		"each other Friday":        {"DTSTART;VALUE=DATE:20261204\nRRULE:FREQ=WEEKLY;INTERVAL=2", "12-04 12-18 01-01"},
		"but one":                  {"DTSTART;VALUE=DATE:20261204\nRRULE:FREQ=WEEKLY;INTERVAL=2\nEXDATE;VALUE=DATE:20261218,20261225", "12-04 01-01"},
		"and one":                  {"DTSTART;VALUE=DATE:20261204\nRDATE;VALUE=DATE:20261224", "12-04 12-24"},
		"later":                    {"DTSTART;VALUE=DATE:20281204\nRRULE:FREQ=YEARLY", ""},
		"a day that there is not":  {"DTSTART;VALUE=DATE:20260230", `event 1, "0@test": DTSTART is "20260230"; it must be a date such as 20261225`},
		"no beginning":             {"SUMMARY:Day off", `event 1, "Day off": it has no DTSTART`},
		"too long":                 {"DTSTART;VALUE=DATE:20260101\nDTEND;VALUE=DATE:20280101", `event 1, "0@test": it takes 730 days; at most 366 are allowed`},
		"ends before":              {"DTSTART;VALUE=DATE:20260102\nDTEND;VALUE=DATE:20260101", `event 1, "0@test": DTEND is "20260101"; it must be a date after DTSTART`},
		"lasts hours":              {"DTSTART;VALUE=DATE:20260102\nDURATION:PT5H", `event 1, "0@test": DURATION is "PT5H"; it must be days or weeks, such as P3D`},
		"each second":              {"DTSTART;VALUE=DATE:20260102\nRRULE:FREQ=SECONDLY", `event 1, "0@test": RRULE is "FREQ=SECONDLY"; FREQ must be YEARLY, MONTHLY, WEEKLY or DAILY`},
		"each second of a day":     {"DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;BYHOUR=1,2,3;BYSECOND=1,2,3", "12-25"},
		"never":                    {"DTSTART;VALUE=DATE:20000101\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", `event 1, "0@test": RRULE is "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30": it never holds, or never again`},
		"until before":             {"DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;UNTIL=20001231", "12-25"},
		"long ago":                 {"DTSTART;VALUE=DATE:00000101\nRRULE:FREQ=MONTHLY", `event 1, "0@test": DTSTART is "00000101"; it must be a date such as 20261225`},
	} {
		if got := read(t, file(c.event)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestAnEventThatWasMovedIsOnItsNewDay(t *testing.T) {
	text := file("UID:x\nDTSTART;VALUE=DATE:20201225\nRRULE:FREQ=YEARLY", "UID:x\nRECURRENCE-ID;VALUE=DATE:20261225\nDTSTART;VALUE=DATE:20261228")
	if got := read(t, text); got != "12-28" {
		t.Errorf("days %s, want the 28th", got)
	}
}

func TestDaysOfSeveralEventsAreEachOnceInOrderAndAWrongOneIsTold(t *testing.T) {
	text := file("DTSTART;VALUE=DATE:20261226", "DTSTART;VALUE=DATE:20261299", "DTSTART;VALUE=DATE:20261225\nDURATION:P2D")
	if got := read(t, text); got != `12-25 12-26 event 2, "1@test": DTSTART is "20261299"; it must be a date such as 20261225` {
		t.Errorf("days %s", got)
	}
	many := slices.Repeat([]string{"DTSTART;VALUE=DATE:20261299"}, 10)
	if got := read(t, file(many...)); strings.Count(got, "DTSTART") != 3 || !strings.Contains(got, "7 more events") {
		t.Errorf("of ten wrong ones: %s", got)
	}
}

func TestWhatIsNoCalendarIsTold(t *testing.T) {
	for _, text := range []string{"", " \n", "date,name\n2026-12-25,Christmas", "BEGIN:VEVENT\nEND:VEVENT", "{}"} {
		if got := read(t, text); !strings.HasPrefix(got, "it is no calendar file (RFC 5545): ") {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestAFileKeepsNobodyBusy(t *testing.T) {
	if got := read(t, file(slices.Repeat([]string{"DTSTART;VALUE=DATE:20261225"}, mostEvents+1)...)); got != "it has 5001 events; at most 5000 are read" {
		t.Errorf("of many events: %s", got)
	}
	if got := read(t, file(slices.Repeat([]string{"DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY"}, mostRepeating+1)...)); !strings.HasPrefix(got, `12-25 event 201, "200@test": at most 200 events that repeat are read`) {
		t.Errorf("of many that repeat: %s", got)
	}
	if got := read(t, file(slices.Repeat([]string{"DTSTART;VALUE=DATE:19000101\nRRULE:FREQ=DAILY;BYMONTH=1"}, 50)...)); !strings.Contains(got, "events repeat more than 100000 times until now") {
		t.Errorf("of days without end: %s", got)
	}
	if got := read(t, file(slices.Repeat([]string{never}, 4)...)); !strings.HasSuffix(got, "1 more events") {
		t.Errorf("of many that never hold: %s", got)
	}
}

const never = "DTSTART;VALUE=DATE:19000101\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"

// The worst cases: rules that never hold, and days without end.
func BenchmarkDays(b *testing.B) {
	for name, event := range map[string]string{"never": never, "daily": "DTSTART;VALUE=DATE:19000101\nRRULE:FREQ=DAILY", "holidays": "DTSTART;VALUE=DATE:20001225\nRRULE:FREQ=YEARLY"} {
		text := file(slices.Repeat([]string{event}, mostRepeating)...)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = Days(text, date("2026-12-01"), date("2027-01-01"))
			}
		})
	}
}

func FuzzDays(f *testing.F) {
	f.Add(file("DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261228\nRRULE:FREQ=YEARLY;COUNT=3\nEXDATE;VALUE=DATE:20261225"))
	f.Add(file("UID:x\nDTSTART;VALUE=DATE:20201225\nRRULE:FREQ=MONTHLY;BYDAY=-1FR;BYSETPOS=1", "UID:x\nRECURRENCE-ID;VALUE=DATE:20261225\nDTSTART;VALUE=DATE:20261228"))
	f.Fuzz(func(t *testing.T, text string) {
		first, last := date("2026-12-01"), date("2027-01-01")
		days, _ := Days(text, first, last)
		for i, d := range days {
			if d.Before(first) || d.After(last) || d.Hour() != 0 || i > 0 && !days[i-1].Before(d) {
				t.Errorf("days %v", days)
			}
		}
	})
}
