package cron

import (
	"strings"
	"testing"
	"time"
)

func TestAMaskHasItsMinutes(t *testing.T) {
	for _, c := range []struct{ expression, in, out string }{
		{"* 0-8 ? * MON-FRI", "2026-03-02 00:00 2026-03-02 08:59 2026-03-06 03:30", "2026-03-02 09:00 2026-03-07 03:30 2026-03-01 08:00"},
		{"*/15 8,20 * * ?", "2026-03-02 08:45 2026-03-07 20:00", "2026-03-02 08:44 2026-03-02 09:00"},
		{"30-59 23 31 DEC ?", "2026-12-31 23:30 2026-12-31 23:59", "2026-12-31 23:29 2026-12-30 23:30 2026-10-31 23:30"},
		{"* * 1 * MON", "2026-03-01 12:00 2026-03-02 12:00", "2026-03-03 12:00"}, // the first, and each Monday
		{"* * * jan-mar sat,SUN", "2026-03-01 12:00", "2026-04-05 12:00 2026-03-02 12:00"},
	} {
		m, err := Parse(c.expression)
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
			continue
		}
		for text, want := range map[string]bool{c.in: true, c.out: false} {
			words := strings.Fields(text)
			for i := 0; i < len(words); i += 2 {
				at, err := time.Parse("2006-01-02 15:04", words[i]+" "+words[i+1])
				if err != nil {
					t.Fatal(err)
				}
				if m.Has(at) != want {
					t.Errorf("%s has %s: %v", c.expression, at, !want)
				}
			}
		}
	}
}

func TestWhatIsNoExpressionSaysWhy(t *testing.T) {
	for expression, want := range map[string]string{
		"":                "it has 0 fields",
		"0 * 0-8 ? * MON": "it has 6 fields",
		"@daily":          "it has 1 fields",
		"TZ=UTC * * * *":  "expected exactly 5 fields, found 4",
		"* 22-6 ? * *":    "beginning of range (22) beyond end of range (6)",
		"* 24 ? * *":      "end of range (24) above maximum (23)",
		"* * ? * 1-5":     `the day of the week is "1-5"; it must be a name such as MON`,
		"* * ? * L":       "failed to parse",
		"* x ? * *":       "allowed are *, ?, numbers",
		"*/0 * ? * *":     "step of range should be a positive number",
	} {
		if _, err := Parse(expression); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q in it", expression, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("* 0-8 ? * MON-FRI")
	f.Fuzz(func(_ *testing.T, expression string) {
		if m, err := Parse(expression); err == nil {
			m.Has(time.Unix(0, 0))
		}
	})
}
