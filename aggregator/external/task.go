package external

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Task is one forecast to make. Its history ends, and the forecast begins, at Origin.
type Task struct {
	// ID names what is forecast, the same each time it is asked.
	ID     string
	Step   time.Duration // whole seconds
	Origin time.Time
	// Horizon is how many steps are asked for, Quantiles at which levels, ascending between 0 and 1.
	Horizon   int
	Quantiles []float64
	// History is the demand of each step before Origin, in busy GPUs; NaN is missing.
	History []float64
	// Saturated are the steps of History in which demand was so much or more; nil when there is none.
	Saturated []bool
	// TimeZone is whose clock habits live by, an IANA name; Days are dates (2026-12-25) that are like another weekday (Sunday),
	// Scales how many times the demand of dates is what it would be else. Each may be empty.
	TimeZone string
	Days     map[string]string
	Scales   map[string]float64
}

// Answer is a forecast that was found to be sound: as many steps as were asked for, each finite and at least 0, and no quantile
// below a lower one's.
type Answer struct {
	Origin    time.Time
	Step      time.Duration
	Levels    []float64
	Mean      []float64   // [step]
	Quantiles [][]float64 // [level][step]
}

// reason is what became of a task, in one word.
type reason string

const (
	used        reason = "used"
	busy        reason = "busy"         // too many waited
	paused      reason = "paused"       // left alone after failures
	late        reason = "late"         // no answer in time
	unreachable reason = "unreachable"  // no connection, or it broke
	status      reason = "status"       // not 200
	tooLarge    reason = "too_large"    // more than the numbers that were asked for can take
	malformed   reason = "malformed"    // not one line of JSON of the right kind; NaN is none
	wrongID     reason = "wrong_id"     // the answer to something else
	wrongLength reason = "wrong_length" // a step or a quantile too few or too many
	wrongValue  reason = "wrong_value"  // missing, below 0 or beyond any measurement
	crossing    reason = "crossing"     // a quantile below a lower one's
)

var reasons = []reason{used, busy, paused, late, unreachable, status, tooLarge, malformed, wrongID, wrongLength, wrongValue, crossing}

// maxValue is more than any demand: above it a number is a mistake.
const maxValue = 1e12

// failure is why an answer is not used.
type failure struct {
	reason reason
	err    error
}

func failed(r reason, err error) *failure { return &failure{r, err} }

// failure says what is wrong with the numbers.
func wrong(r reason, format string, args ...any) *failure {
	return failed(r, fmt.Errorf(format, args...))
}

// post asks and checks.
func (f *Forecaster) post(ctx context.Context, t Task) (Answer, *failure) {
	ctx, cancel := context.WithTimeout(ctx, f.opts.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.opts.URL, bytes.NewReader(t.line()))
	if err != nil {
		return Answer{}, failed(unreachable, err)
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	response, err := f.client.Do(request)
	if err != nil {
		return Answer{}, failed(broken(err), err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return Answer{}, wrong(status, "it answered %s", response.Status)
	}
	most := t.mostBytes()
	line, err := io.ReadAll(io.LimitReader(response.Body, int64(most)+1))
	switch {
	case err != nil:
		return Answer{}, failed(broken(err), err)
	case len(line) > most:
		return Answer{}, wrong(tooLarge, "more than %d bytes", most)
	}
	return t.check(line)
}

// broken says why there is no answer.
func broken(err error) reason {
	if errors.Is(err, context.DeadlineExceeded) {
		return late
	}
	return unreachable
}

// line is the task as it is sent.
func (t Task) line() []byte {
	begin := 0
	for begin < len(t.History) && math.IsNaN(t.History[begin]) { // before anything was known
		begin++
	}
	history := t.History[begin:]
	step := int64(t.Step / time.Second)
	out := make([]byte, 0, 256+9*len(history))
	out = append(out, `{"id":`...)
	out = append(out, encoded(t.sentID())...)
	out = fmt.Appendf(out, `,"series":%s,"step_seconds":%d,"start":%d,"origin":%d,"horizon":%d,"quantiles":`,
		encoded(t.ID), step, t.Origin.Unix()-step*int64(len(history)), t.Origin.Unix(), t.Horizon)
	out = appendNumbers(out, t.Quantiles)
	out = append(out, `,"history":`...)
	out = appendNumbers(out, history)
	if slices.Contains(t.Saturated, true) {
		out = append(append(out, `,"saturated":`...), encoded(t.Saturated[begin:])...)
	}
	if t.TimeZone != "" {
		out = append(append(out, `,"time_zone":`...), encoded(t.TimeZone)...)
	}
	if len(t.Days) > 0 {
		out = append(append(out, `,"days":`...), encoded(t.Days)...)
	}
	if len(t.Scales) > 0 {
		out = append(append(out, `,"scales":`...), encoded(t.Scales)...)
	}
	return append(out, "}\n"...)
}

func encoded(value any) []byte {
	out, _ := json.Marshal(value) // texts, truths and finite numbers always can be
	return out
}

// appendNumbers writes six digits of each.
func appendNumbers(out []byte, numbers []float64) []byte {
	out = append(out, '[')
	for i, v := range numbers {
		if i > 0 {
			out = append(out, ',')
		}
		if math.IsNaN(v) {
			out = append(out, "null"...)
			continue
		}
		out = strconv.AppendFloat(out, v, 'g', 6, 64)
	}
	return append(out, ']')
}

// sentID differs each minute, so that an answer to the minute before is not taken for this one's.
func (t Task) sentID() string { return fmt.Sprintf("%s@%d", t.ID, t.Origin.Unix()) }

// mostBytes is room for every number that was asked for, written in full and on a line of its own, and as much again for the rest.
func (t Task) mostBytes() int { return 4096 + 2*len(t.sentID()) + 64*t.Horizon*(len(t.Quantiles)+1) }

// answerLine is an answer as it is received. A null would leave a number at 0 without a word.
type answerLine struct {
	ID        string                `json:"id"`
	Mean      []*float64            `json:"mean"`
	Quantiles map[string][]*float64 `json:"quantiles"`
}

// check returns the answer, or what is wrong with it.
func (t Task) check(text []byte) (Answer, *failure) {
	var l answerLine
	if err := json.Unmarshal(text, &l); err != nil {
		return Answer{}, failed(malformed, err)
	}
	if l.ID != t.sentID() {
		return Answer{}, wrong(wrongID, "id is %q; it must be %q", l.ID, t.sentID())
	}
	a := Answer{Origin: t.Origin, Step: t.Step, Levels: t.Quantiles}
	var bad *failure
	if a.Mean, bad = t.path("mean", l.Mean); bad != nil {
		return Answer{}, bad
	}
	for i, q := range t.Quantiles {
		name := strconv.FormatFloat(q, 'g', -1, 64)
		path, bad := t.path("quantile "+name, l.Quantiles[name])
		if bad != nil {
			return Answer{}, bad
		}
		if i > 0 {
			for step, lower := range a.Quantiles[i-1] {
				if path[step] < lower {
					return Answer{}, wrong(crossing, "quantile %s of step %d is %g; it must be at least %g, the one's below it", name, step, path[step], lower)
				}
			}
		}
		a.Quantiles = append(a.Quantiles, path)
	}
	return a, nil
}

// path takes one number for each step.
func (t Task) path(name string, numbers []*float64) ([]float64, *failure) {
	if len(numbers) != t.Horizon {
		return nil, wrong(wrongLength, "%s has %d steps; it must have %d", name, len(numbers), t.Horizon)
	}
	out := make([]float64, t.Horizon)
	for i, v := range numbers {
		if v == nil {
			return nil, wrong(wrongValue, "%s of step %d is null; it must be a number", name, i)
		}
		if !(*v >= 0 && *v <= maxValue) {
			return nil, wrong(wrongValue, "%s of step %d is %g; it must be from 0 to %g", name, i, *v, float64(maxValue))
		}
		out[i] = *v
	}
	return out, nil
}
