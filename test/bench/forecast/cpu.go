package main

import (
	"fmt"
	"syscall"
	"time"

	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/test/forecastbench"
)

const (
	cpuDays   = 28
	cpuStep   = 5 * time.Minute
	cpuRounds = 3
)

// full are the cases with 28 days of history in steps of 5 minutes.
func full(cases []forecastbench.Case) (some []forecastbench.Case) {
	for _, c := range cases {
		if c.Step() == cpuStep && len(c.History) == cpuDays*c.Day() {
			some = append(some, c)
		}
	}
	return some
}

// each does something with every case, a first time to warm up, and returns the mean CPU time it took, garbage collection included.
func each(cases []forecastbench.Case, do func(forecastbench.Case) error) (time.Duration, error) {
	var before time.Duration
	for round := range cpuRounds + 1 {
		if round == 1 {
			before = cpuTime()
		}
		for _, c := range cases {
			if err := do(c); err != nil {
				return 0, fmt.Errorf("%s: %w", c.ID, err)
			}
		}
	}
	return (cpuTime() - before) / time.Duration(cpuRounds*len(cases)), nil
}

// once forecasts a case.
func once(c forecastbench.Case) error {
	_, err := forecast.Predict(series(c), c.Horizon, c.Quantiles)
	return err
}

func series(c forecastbench.Case) forecast.Series {
	return forecast.Series{End: time.Unix(c.Origin, 0).UTC(), Step: c.Step(), Values: c.History}
}

// byMinute is the series in steps of a minute, in a line from one value to the next.
func byMinute(s forecast.Series) forecast.Series {
	n := int(s.Step / time.Minute)
	out := forecast.Series{End: s.End, Step: time.Minute}
	for i, v := range s.Values {
		next := s.Values[min(i+1, len(s.Values)-1)]
		for k := range n {
			out.Values = append(out.Values, v+(next-v)*float64(k)/float64(n))
		}
	}
	return out
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil { // only for an address or a kind that is none
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
