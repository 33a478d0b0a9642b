package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/foretide/foretide/aggregator/forecast"
)

// task is one forecast to make, a line of JSON. What may be left out is a pointer or a slice.
type task struct {
	ID          string     `json:"id"`
	StepSeconds int        `json:"step_seconds"`
	Start       *int64     `json:"start"`     // Unix time at which history[0] begins
	Origin      *int64     `json:"origin"`    // Unix time at which the history ends and the forecast begins
	Horizon     *int       `json:"horizon"`   // steps
	Quantiles   []float64  `json:"quantiles"` // levels
	History     []*float64 `json:"history"`   // null is missing
	Saturated   []bool     `json:"saturated"` // whether demand was history[i] or more; empty: never

	TimeZone string             `json:"time_zone"` // whose clock habits live by
	Days     map[string]string  `json:"days"`      // date ─► weekday that it resembles
	Scales   map[string]float64 `json:"scales"`    // date ─► how many times its demand is what it would be else
	calendar forecast.Calendar  // of these three
}

// defaults are for tasks that leave a field out.
type defaults struct {
	horizon   time.Duration
	quantiles []float64
}

// allowed says of each field what it must be.
var allowed = map[string]string{
	"id":           "a text that is not empty",
	"step_seconds": "whole seconds that divide a day",
	"start":        "whole seconds of Unix time",
	"origin":       "whole seconds of Unix time",
	"horizon":      "a whole number of steps of at least 1",
	"quantiles":    "numbers between 0 and 1",
	"history":      "numbers of at least 0, or null where they are missing",
	"time_zone":    "the IANA name of a time zone, such as Europe/Berlin",
	"days":         `dates and the weekdays that they are like, such as {"2026-12-25":"Sunday"}`,
	"scales":       `dates and how many times their demand is what it would be else, 0.01 to 100, such as {"2026-11-27":2.5}`,
	"saturated":    "true or false for each step of the history, or left out",
}

// parseTask reads a task; an error names the field, its value and what is allowed.
func parseTask(line []byte, d defaults) (task, error) {
	var t task
	if err := json.Unmarshal(line, &t); err != nil {
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) && wrong.Field != "" {
			return task{}, fmt.Errorf("%s is a %s; it must be %s", wrong.Field, wrong.Value, allowed[wrong.Field])
		}
		return task{}, fmt.Errorf("a task must be an object in JSON: %w", err)
	}
	const day = 24 * time.Hour
	switch {
	case t.ID == "":
		return task{}, fmt.Errorf(`id is ""; it must be %s`, allowed["id"])
	case t.step() <= 0 || day%t.step() != 0:
		return task{}, fmt.Errorf("step_seconds is %d; it must be %s", t.StepSeconds, allowed["step_seconds"])
	case t.Origin == nil:
		return task{}, fmt.Errorf("origin is missing; it must be %s", allowed["origin"])
	case t.Horizon != nil && *t.Horizon < 1:
		return task{}, fmt.Errorf("horizon is %d; it must be %s", *t.Horizon, allowed["horizon"])
	}
	if begin := *t.Origin - int64(len(t.History)*t.StepSeconds); t.Start != nil && *t.Start != begin {
		return task{}, fmt.Errorf("start is %d; with %d steps of %d s up to origin %d it must be %d", *t.Start, len(t.History), t.StepSeconds, *t.Origin, begin)
	}
	if err := t.checkNumbers(); err != nil {
		return task{}, err
	}
	var err error
	if t.calendar.Location, err = zone("time_zone", t.TimeZone); err != nil {
		return task{}, err
	}
	if t.calendar.Days, err = namedDays(t.Days); err != nil {
		return task{}, err
	}
	if t.calendar.Scales, err = scaledDays(t.Scales); err != nil {
		return task{}, err
	}
	if t.Horizon == nil {
		steps := max(1, int(d.horizon/t.step()))
		t.Horizon = &steps
	}
	if len(t.Quantiles) == 0 {
		t.Quantiles = d.quantiles
	}
	return t, nil
}

// checkNumbers says which number of a list is not allowed.
func (t task) checkNumbers() error {
	for i, v := range t.History {
		if v != nil && *v < 0 {
			return fmt.Errorf("history[%d] is %g; it must be %s", i, *v, allowed["history"])
		}
	}
	if n := len(t.Saturated); n > 0 && n != len(t.History) {
		return fmt.Errorf("saturated has %d steps and history %d; it must be %s", n, len(t.History), allowed["saturated"])
	}
	for i, q := range t.Quantiles {
		if !(q > 0 && q < 1) {
			return fmt.Errorf("quantiles[%d] is %g; it must be %s", i, q, allowed["quantiles"])
		}
	}
	return nil
}

func (t task) step() time.Duration { return time.Duration(t.StepSeconds) * time.Second }

// series is the history as forecasts take it.
func (t task) series() forecast.Series {
	values := make([]float64, len(t.History))
	for i, v := range t.History {
		values[i] = math.NaN()
		if v != nil {
			values[i] = *v
		}
	}
	s := forecast.Series{End: time.Unix(*t.Origin, 0).UTC(), Step: t.step(), Values: values, Calendar: t.calendar}
	if len(t.Saturated) > 0 {
		s.Saturated = t.Saturated
	}
	return s
}

// answer is the forecast of a task, a line of JSON.
type answer struct {
	ID        string             `json:"id"`
	Mean      numbers            `json:"mean"` // the point forecast: the median
	Quantiles map[string]numbers `json:"quantiles"`
	Seconds   float64            `json:"seconds"` // CPU time it took
}

// median is the point forecast: no other is closer to what happens, on average.
const median = 0.5

// answer makes the forecast.
func (t task) answer() (answer, error) {
	series, before := t.series(), cpuTime()
	f, err := forecast.Predict(series, *t.Horizon, append([]float64{median}, t.Quantiles...))
	if err != nil {
		return answer{}, err
	}
	a := answer{ID: t.ID, Quantiles: map[string]numbers{}, Seconds: (cpuTime() - before).Seconds()}
	if a.Mean, err = f.Quantile(median); err != nil {
		return answer{}, err
	}
	for _, q := range t.Quantiles {
		if a.Quantiles[strconv.FormatFloat(q, 'g', -1, 64)], err = f.Quantile(q); err != nil {
			return answer{}, err
		}
	}
	return a, nil
}

// numbers are written with six digits.
type numbers []float64

// MarshalJSON implements json.Marshaler.
func (n numbers) MarshalJSON() ([]byte, error) {
	out := []byte{'['}
	for i, v := range n {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendFloat(out, v, 'g', 6, 64)
	}
	return append(out, ']'), nil
}
