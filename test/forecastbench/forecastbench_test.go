package forecastbench

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var nan = math.NaN()

func TestMissingValuesAreNullInATask(t *testing.T) {
	task := Task{ID: "a/b#0", Series: "a/b", StepSeconds: 600, Start: 1200, Origin: 3000, Horizon: 2, Quantiles: []float64{0.1, 0.95}, History: Values{1.5, nan, 0}}
	line, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"a/b#0","series":"a/b","step_seconds":600,"start":1200,"origin":3000,"horizon":2,"quantiles":[0.1,0.95],"history":[1.5,null,0]}`
	if string(line) != want {
		t.Errorf("got  %s\nwant %s", line, want)
	}
	var back Task
	if err := json.Unmarshal(line, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(task, back, cmpopts.EquateNaNs()); d != "" {
		t.Errorf("read back (-want +got):\n%s", d)
	}
	if _, err := json.Marshal(Values{1, math.Inf(1)}); err == nil || !strings.Contains(err.Error(), "values[1] is +Inf") {
		t.Errorf("infinite: error is %v", err)
	}
	if err := json.Unmarshal([]byte(`["x"]`), new(Values)); err == nil {
		t.Error("a text was read as a value")
	}
}

func TestRunLeavesOutWhatFailsAndSaysSo(t *testing.T) {
	cases := []Case{{Task: Task{ID: "good", Horizon: 1}}, {Task: Task{ID: "fails", Horizon: 1}}, {Task: Task{ID: "short", Horizon: 2}}, {Task: Task{ID: "uneven", Horizon: 1}}}
	got, err := Run(cases, func(t Task) (Forecast, error) {
		switch t.ID {
		case "fails":
			return Forecast{}, errors.New("no idea")
		case "uneven":
			return Forecast{ID: t.ID, Mean: Values{1}, Quantiles: map[string]Values{"0.5": {1, 2}}}, nil
		}
		return Forecast{ID: t.ID, Mean: Values{1}}, nil
	})
	if len(got) != 1 || got["good"].ID != "good" {
		t.Errorf("forecasts: %v", got)
	}
	for _, want := range []string{"fails: no idea", "short: mean has 1 values, the horizon is 2", `uneven: quantiles["0.5"] has 2 values, the horizon is 1`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
}

func TestEachSourceIsJudgedOnWhatTheOthersTeach(t *testing.T) {
	var cases []Case
	for _, series := range []string{"b/x", "a/x", "b/y", "c/x"} {
		cases = append(cases, Case{Task: Task{ID: series + "#0", Series: series}})
	}
	ids := func(cases []Case) (out []string) {
		for _, c := range cases {
			out = append(out, c.ID)
		}
		return out
	}
	var got [][]string
	for _, f := range LeaveOneSourceOut(cases) {
		got = append(got, []string{f.Source}, ids(f.Train), ids(f.Test))
	}
	want := [][]string{{"a"}, {"b/x#0", "b/y#0", "c/x#0"}, {"a/x#0"}, {"b"}, {"a/x#0", "c/x#0"}, {"b/x#0", "b/y#0"}, {"c"}, {"b/x#0", "a/x#0", "b/y#0"}, {"c/x#0"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("folds (-want +got):\n%s", d)
	}
}
