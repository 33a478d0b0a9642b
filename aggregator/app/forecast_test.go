package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fortnight is a history of 336 steps of an hour with a day in it, as JSON.
func fortnight() string {
	values := make([]string, 336)
	for i := range values {
		values[i] = fmt.Sprintf("%.3f", 10+5*math.Sin(2*math.Pi*float64(i)/24))
	}
	return "[" + strings.Join(values, ",") + "]"
}

// answers are what `aggregator forecast` makes of lines, what it says, and its error.
func answers(t *testing.T, args []string, lines ...string) (got []answer, log string, err error) {
	t.Helper()
	var out, said bytes.Buffer
	err = Forecast(t.Context(), args, strings.NewReader(strings.Join(lines, "\n")), &out, &said)
	for d := json.NewDecoder(&out); d.More(); {
		var a answer
		if err := d.Decode(&a); err != nil {
			t.Fatal(err)
		}
		got = append(got, a)
	}
	return got, said.String(), err
}

func TestTasksAreAnsweredInTheirOrder(t *testing.T) {
	got, log, err := answers(t, nil,
		`{"id":"one","series":"x","step_seconds":3600,"start":3600,"origin":1213200,"horizon":3,"quantiles":[0.95,0.1],"history":`+fortnight()+`}`,
		"",
		`{"id":"two","step_seconds":3600,"origin":1213200,"history":`+fortnight()+`}`)
	if err != nil || !strings.Contains(log, "2 forecasts in ") {
		t.Fatalf("error %v, log %q", err, log)
	}
	if len(got) != 2 || got[0].ID != "one" || got[1].ID != "two" {
		t.Fatalf("%d answers: %+v", len(got), got)
	}
	one, two := got[0], got[1]
	if len(one.Mean) != 3 || len(one.Quantiles) != 2 || len(one.Quantiles["0.1"]) != 3 || len(one.Quantiles["0.95"]) != 3 || one.Seconds < 0 {
		t.Errorf("one: %+v", one)
	}
	for i := range one.Mean {
		if want := 10 + 5*math.Sin(2*math.Pi*float64(i)/24); math.Abs(one.Mean[i]-want) > 0.6 || one.Quantiles["0.1"][i] > one.Mean[i] || one.Quantiles["0.95"][i] < one.Mean[i] {
			t.Errorf("step %d: %v within %v and %v, want %v", i, one.Mean[i], one.Quantiles["0.1"][i], one.Quantiles["0.95"][i], want)
		}
	}
	var levels []string
	for level, q := range two.Quantiles {
		levels = append(levels, level)
		if len(q) != 24 {
			t.Errorf("two: %d steps at %s, want a day", len(q), level)
		}
	}
	slices.Sort(levels)
	if d := cmp.Diff(strings.Split(usualQuantiles, ","), levels); d != "" || len(two.Mean) != 24 {
		t.Errorf("two: %d steps, levels (-want +got):\n%s", len(two.Mean), d)
	}
	if d := cmp.Diff(two.Mean, two.Quantiles["0.5"]); d != "" {
		t.Errorf("the point forecast is not the median:\n%s", d)
	}
}

func TestTasksThatDoNotSayTakeTheFlags(t *testing.T) {
	got, _, err := answers(t, []string{"--horizon=2h", "--quantiles=0.9, 0.5"}, `{"id":"x","step_seconds":3600,"origin":1213200,"history":`+fortnight()+`}`)
	if err != nil || len(got) != 1 || len(got[0].Mean) != 2 || len(got[0].Quantiles) != 2 || len(got[0].Quantiles["0.9"]) != 2 {
		t.Errorf("%v, %+v", err, got)
	}
}

func TestTasksTellOfClocksAndHolidays(t *testing.T) {
	// Demand in Berlin until the clocks go forward on Sunday the 29th: high from nine to six on working days.
	berlin, origin := time.FixedZone("", 3600), time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)
	var history []string
	for at := origin.AddDate(0, 0, -28); at.Before(origin); at = at.Add(time.Hour) {
		local, v := at.In(berlin), "1"
		if h := local.Hour(); h >= 9 && h < 18 && local.Weekday() != time.Sunday {
			v = "10"
		}
		history = append(history, v)
	}
	line := fmt.Sprintf(`{"id":"x","step_seconds":3600,"origin":%d,"horizon":48,"history":[%s]`, origin.Unix(), strings.Join(history, ","))
	got, log, err := answers(t, nil, line+`}`, line+`,"time_zone":"Europe/Berlin"}`, line+`,"time_zone":"Europe/Berlin","days":{"2026-03-30":"Sunday"}}`)
	if err != nil || len(got) != 3 {
		t.Fatalf("%v, %s", err, log)
	}
	nine := 24 + 6 // on Monday, by clocks that went forward
	if plain, told, holiday := got[0].Mean[nine], got[1].Mean[nine], got[2].Mean[nine]; !(plain < 3 && told > 8 && holiday < 3) {
		t.Errorf("at nine on Monday %g are forecast, by the clock %g, on a holiday %g", plain, told, holiday)
	}
}

func TestMissingHistoryIsNotZero(t *testing.T) {
	history := fortnight()
	at := strings.LastIndex(history[:len(history)-200], ",")
	hollow := history[:at] + strings.Repeat(",null", strings.Count(history[at:], ",")) + "]"
	got, _, err := answers(t, nil, `{"id":"x","step_seconds":3600,"origin":1213200,"horizon":1,"history":`+hollow+`}`)
	if err != nil || len(got) != 1 || got[0].Mean[0] < 5 {
		t.Errorf("%v, %+v: demand was never below 5", err, got)
	}
}

func TestSaturatedStepsOfATaskAreNoCapOnItsForecast(t *testing.T) {
	capped := strings.TrimSuffix(strings.Repeat("4,", 336), ",")
	marks := strings.TrimSuffix(strings.Repeat("true,", 336), ",")
	got, _, err := answers(t, nil, `{"id":"x","step_seconds":3600,"origin":1213200,"horizon":1,"history":[`+capped+`],"saturated":[`+marks+`]}`)
	if err != nil || len(got) != 1 || got[0].Mean[0] <= 4 {
		t.Errorf("%v, %+v: demand was always 4 or more", err, got)
	}
}

func TestLinesThatAreNoTasksAreNamedAndTheRestGoesOn(t *testing.T) {
	const good = `{"id":"x","step_seconds":3600,"origin":7200,"history":[1,2]`
	for line, want := range map[string]string{
		`{"id":"x"`:                     "a task must be an object in JSON: unexpected end of JSON input",
		`{"id":"x","history":NaN}`:      "a task must be an object in JSON: invalid character 'N'",
		`[1]`:                           "a task must be an object in JSON",
		`{}`:                            `id is ""; it must be a text that is not empty`,
		`{"id":7}`:                      "id is a number; it must be a text that is not empty",
		`{"id":"x"}`:                    "step_seconds is 0; it must be whole seconds that divide a day",
		`{"id":"x","step_seconds":420}`: "step_seconds is 420",
		`{"id":"x","step_seconds":-60}`: "step_seconds is -60",
		`{"id":"x","step_seconds":0.5}`: "step_seconds is a number 0.5; it must be whole seconds that divide a day",
		`{"id":"x","step_seconds":60}`:  "origin is missing; it must be whole seconds of Unix time",
		good + `,"start":3600}`:         "start is 3600; with 2 steps of 3600 s up to origin 7200 it must be 0",
		good + `,"horizon":0}`:          "horizon is 0; it must be a whole number of steps of at least 1",
		good + `,"horizon":"1d"}`:       "horizon is a string; it must be a whole number of steps of at least 1",
		good + `,"quantiles":[0.5,1]}`:  "quantiles[1] is 1; it must be numbers between 0 and 1",
		good + `,"quantiles":["p95"]}`:  "quantiles is a string; it must be numbers between 0 and 1",
		good + `}`:                      `task "x": history is too short`,
		good + `,"saturated":[true]}`:   "saturated has 1 steps and history 2; it must be true or false for each step of the history, or left out",
		good + `,"saturated":[1,2]}`:    "saturated is a number; it must be true or false for each step",
		strings.Replace(good, "[1,2", "[1,-2", 1) + `}`:    "history[1] is -2; it must be numbers of at least 0, or null where they are missing",
		strings.Replace(good, "[1,2", "[1,1e999", 1) + `}`: "history is a number 1e999; it must be numbers of at least 0",
		strings.Replace(good, "[1,2", "[1,2e13", 1) + `}`:  `task "x": `,
		good + `,"time_zone":"Berlin"}`:                    `time_zone is "Berlin"; it must be the IANA name of a time zone, such as Europe/Berlin`,
		good + `,"time_zone":"Local"}`:                     `time_zone is "Local"; it must be`,
		good + `,"time_zone":1}`:                           "time_zone is a number; it must be the IANA name",
		good + `,"days":{"2026-02-30":"Sunday"}}`:          `days has "2026-02-30": "Sunday"; it must be dates and the weekdays that they are like, such as {"2026-12-25":"Sunday"}`,
		good + `,"days":{"2026-12-25":"Funday"}}`:          `days has "2026-12-25": "Funday"; it must be dates`,
		good + `,"days":["2026-12-25"]}`:                   "days is a array; it must be dates",
		good + `,"scales":{"2026-02-30":2}}`:               `scales has "2026-02-30": 2; it must be dates and how many times`,
		good + `,"scales":{"2026-12-25":0}}`:               `scales has "2026-12-25": 0; it must be dates and how many times`,
		good + `,"scales":{"2026-12-25":"2"}}`:             "scales is a string; it must be dates and how many times",
		good + `,"days":{"2026-12-25":0}}`:                 "days is a number; it must be dates",
	} {
		got, log, err := answers(t, nil, line, `{"id":"good","step_seconds":3600,"origin":1213200,"horizon":1,"history":`+fortnight()+`}`)
		if len(got) != 1 || got[0].ID != "good" {
			t.Errorf("%s: answers %+v, want that of the good line alone", line, got)
		}
		if !strings.Contains(log, "line 1: ") || !strings.Contains(log, want) {
			t.Errorf("%s: log is %q, want line 1: %s", line, log, want)
		}
		if err == nil || err.Error() != "1 of 2 lines have no forecast" {
			t.Errorf("%s: error is %v", line, err)
		}
	}
}

func TestWrongFlagsOfForecastAreNamed(t *testing.T) {
	for want, args := range map[string][]string{
		"--horizon is 0s: it must be more than 0":                         {"--horizon=0s"},
		`--quantiles has "1": each must be a number between 0 and 1`:      {"--quantiles=0.5,1"},
		`--quantiles has "": each must be a number between 0 and 1`:       {"--quantiles="},
		`--quantiles has "p95": each must be a number between 0 and 1`:    {"--quantiles=p95"},
		"argument \"tasks.jsonl\": there are only flags (aggregator fore": {"tasks.jsonl"},
	} {
		if _, _, err := answers(t, args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %v, want %s", args, err, want)
		}
	}
}

// failing reads and writes nothing.
type failing struct{}

var errBroken = errors.New("broken")

func (failing) Read([]byte) (int, error)  { return 0, errBroken }
func (failing) Write([]byte) (int, error) { return 0, errBroken }

func TestForecastEndsWhenItsInputOrOutputBreaks(t *testing.T) {
	if err := Forecast(t.Context(), nil, failing{}, io.Discard, io.Discard); !errors.Is(err, errBroken) {
		t.Errorf("input: error is %v", err)
	}
	in := strings.NewReader(`{"id":"x","step_seconds":3600,"origin":1213200,"horizon":1,"history":` + fortnight() + `}`)
	if err := Forecast(t.Context(), nil, in, failing{}, io.Discard); !errors.Is(err, errBroken) {
		t.Errorf("output: error is %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	waiting, end := io.Pipe()
	defer end.Close()
	if err := Forecast(ctx, nil, waiting, io.Discard, io.Discard); err == nil || err.Error() != "stopped after 0 forecasts" {
		t.Errorf("stopped: error is %v", err)
	}
}
