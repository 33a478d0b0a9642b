package app

import (
	"errors"
	"strings"
	"time"

	"github.com/foretide/foretide/aggregator/simulate"
)

// durations are a flag: one, or several with commas between.
type durations []time.Duration

// String implements flag.Value.
func (d *durations) String() string { return joined(*d, time.Duration.String) }

// Set implements flag.Value.
func (d *durations) Set(text string) error {
	*d = nil
	for _, part := range splitList(text) {
		one, err := time.ParseDuration(part)
		if err != nil || one < 0 || one > 24*time.Hour {
			return errors.New("it must be a duration of 0s to 24h such as 3m, or several with commas between")
		}
		*d = append(*d, one)
	}
	return nil
}

// moments are a flag: times in the order of time.
type moments []time.Time

// String implements flag.Value.
func (m *moments) String() string { return joined(*m, stamp) }

// Set implements flag.Value.
func (m *moments) Set(text string) error {
	*m = nil
	for _, part := range splitList(text) {
		at, err := time.Parse(time.RFC3339, part)
		if err != nil || len(*m) > 0 && at.Before((*m)[len(*m)-1]) {
			return errors.New("it must be a time such as 2026-03-05T10:00:00Z, or several with commas between, in the order of time")
		}
		*m = append(*m, at)
	}
	return nil
}

// spans are a flag: times, and how long each lasts.
type spans []simulate.Span

// String implements flag.Value.
func (s *spans) String() string {
	return joined(*s, func(one simulate.Span) string { return stamp(one.From) + "/" + one.To.Sub(one.From).String() })
}

// Set implements flag.Value.
func (s *spans) Set(text string) error {
	*s = nil
	for _, part := range splitList(text) {
		from, length, _ := strings.Cut(part, "/")
		at, wrong := time.Parse(time.RFC3339, from)
		lasts, err := time.ParseDuration(length)
		if wrong != nil || err != nil || lasts <= 0 {
			return errors.New("it must be a time and a duration such as 2026-03-05T10:00:00Z/30m, or several with commas between")
		}
		*s = append(*s, simulate.Span{From: at, To: at.Add(lasts)})
	}
	return nil
}

// joined writes a list as [splitList] reads it.
func joined[T any](all []T, write func(T) string) string {
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = write(one)
	}
	return strings.Join(texts, ",")
}
