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
func (d *durations) String() string {
	var all []string
	for _, one := range *d {
		all = append(all, one.String())
	}
	return strings.Join(all, ",")
}

// Set implements flag.Value.
func (d *durations) Set(text string) error {
	*d = nil
	for part := range strings.SplitSeq(text, ",") {
		one, err := time.ParseDuration(strings.TrimSpace(part))
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
func (m *moments) String() string {
	var all []string
	for _, at := range *m {
		all = append(all, stamp(at))
	}
	return strings.Join(all, ",")
}

// Set implements flag.Value.
func (m *moments) Set(text string) error {
	*m = nil
	for part := range strings.SplitSeq(text, ",") {
		at, err := time.Parse(time.RFC3339, strings.TrimSpace(part))
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
	var all []string
	for _, one := range *s {
		all = append(all, stamp(one.From)+"/"+one.To.Sub(one.From).String())
	}
	return strings.Join(all, ",")
}

// Set implements flag.Value.
func (s *spans) Set(text string) error {
	*s = nil
	for part := range strings.SplitSeq(text, ",") {
		from, length, _ := strings.Cut(strings.TrimSpace(part), "/")
		at, wrong := time.Parse(time.RFC3339, from)
		lasts, err := time.ParseDuration(length)
		if wrong != nil || err != nil || lasts <= 0 {
			return errors.New("it must be a time and a duration such as 2026-03-05T10:00:00Z/30m, or several with commas between")
		}
		*s = append(*s, simulate.Span{From: at, To: at.Add(lasts)})
	}
	return nil
}
