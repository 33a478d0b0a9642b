// Package forecastbench measures how well a forecaster forecasts demand that was recorded.
//
//	<dataset>/series.csv.gz ─► Tasks ─► Case: task + what happened ─► Run (any forecaster) ─► Score against seasonal naive ─► Table
//	                                      └► Damages: the same cases with gaps, spikes, shifts, short histories
//
// A task is a history and how far to forecast it; it is what a forecaster gets, also as a line of JSON. A case adds what happened
// then. Every column of a table is explained at Scores.
package forecastbench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Task is one forecast to make. History[i] is the value of the step that begins at Start+i·StepSeconds; the first step to
// forecast begins at Origin, where the history ends.
type Task struct {
	ID          string    `json:"id"`     // dataset/series#number
	Series      string    `json:"series"` // dataset/series
	StepSeconds int       `json:"step_seconds"`
	Start       int64     `json:"start"`               // Unix time
	Origin      int64     `json:"origin"`              // Unix time
	Horizon     int       `json:"horizon"`             // steps
	Quantiles   []float64 `json:"quantiles"`           // levels, ascending
	History     Values    `json:"history"`             // unit of the recording, at least 0
	Saturated   []bool    `json:"saturated,omitempty"` // steps in which demand was History[i] or more; none when it is empty

	TimeZone string            `json:"time_zone,omitempty"` // whose clock habits live by, an IANA name; empty is UTC
	Days     map[string]string `json:"days,omitempty"`      // date (2026-12-25) ─► weekday that it resembles (Sunday)
}

// Step is the width of the task's grid.
func (t Task) Step() time.Duration { return time.Duration(t.StepSeconds) * time.Second }

// Day is the number of steps in a day.
func (t Task) Day() int { return int(24 * time.Hour / t.Step()) }

// steps is the number of steps in d, at least one.
func (t Task) steps(d time.Duration) int { return max(1, int(d/t.Step())) }

// Source is the data set that the task is from.
func (t Task) Source() string {
	source, _, _ := strings.Cut(t.Series, "/")
	return source
}

// Case is a task and what happened.
type Case struct {
	Task
	Actual Values  // [horizon]
	Scale  float64 // mean distance of the history from itself a day before: 1 in MASE
}

// Forecast answers a task.
type Forecast struct {
	ID        string            `json:"id"`
	Mean      Values            `json:"mean"`              // point forecast, [horizon]
	Quantiles map[string]Values `json:"quantiles"`         // level as written by Level ─► [horizon]
	Seconds   float64           `json:"seconds,omitempty"` // CPU time it took; 0 is unknown
}

// Level writes a quantile's level as the key of Forecast.Quantiles: 0.1, 0.95.
func Level(q float64) string { return strconv.FormatFloat(q, 'g', -1, 64) }

// at is the quantile of a level; a forecast without it is as sure of its mean.
func (f Forecast) at(level float64) Values {
	if q, ok := f.Quantiles[Level(level)]; ok {
		return q
	}
	return f.Mean
}

// Values are on a regular grid; NaN is missing, and null in JSON.
type Values []float64

// MarshalJSON implements json.Marshaler.
func (v Values) MarshalJSON() ([]byte, error) {
	out := make([]byte, 0, 8*len(v)+2)
	out = append(out, '[')
	for i, x := range v {
		if i > 0 {
			out = append(out, ',')
		}
		switch {
		case math.IsNaN(x):
			out = append(out, "null"...)
		case math.IsInf(x, 0):
			return nil, fmt.Errorf("values[%d] is %g; it must be finite, or NaN where it is missing", i, x)
		default:
			out = strconv.AppendFloat(out, x, 'g', -1, 64)
		}
	}
	return append(out, ']'), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *Values) UnmarshalJSON(data []byte) error {
	var all []*float64
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&all); err != nil {
		return err
	}
	*v = make(Values, len(all))
	for i, x := range all {
		(*v)[i] = math.NaN()
		if x != nil {
			(*v)[i] = *x
		}
	}
	return nil
}

// Run lets a forecaster answer every case. What it fails on is left out of the forecasts, and is in the error.
func Run(cases []Case, forecaster func(Task) (Forecast, error)) (map[string]Forecast, error) {
	all := make(map[string]Forecast, len(cases))
	var failed []error
	for _, c := range cases {
		f, err := forecaster(c.Task)
		if err == nil {
			err = c.check(f)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", c.ID, err))
			continue
		}
		all[c.ID] = f
	}
	return all, errors.Join(failed...)
}

// check tells whether the forecast has as many values as the task asked for.
func (t Task) check(f Forecast) error {
	if len(f.Mean) != t.Horizon {
		return fmt.Errorf("mean has %d values, the horizon is %d", len(f.Mean), t.Horizon)
	}
	for level, q := range f.Quantiles {
		if len(q) != t.Horizon {
			return fmt.Errorf("quantiles[%q] has %d values, the horizon is %d", level, len(q), t.Horizon)
		}
	}
	return nil
}
