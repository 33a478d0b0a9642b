package forecastbench

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSeasonalNaiveIsYesterdayWithItsMisses(t *testing.T) {
	// Half-day steps: each day is 10 more than the day before in the morning and 20 in the evening.
	task := Task{ID: "x", StepSeconds: 43200, Horizon: 3, Quantiles: []float64{0.1, 0.5, 0.9}, History: Values{0, 0, 10, 20, 20, 40}}
	got, err := SeasonalNaive(task)
	if err != nil {
		t.Fatal(err)
	}
	want := Forecast{ID: "x", Mean: Values{20, 40, 20}, Quantiles: map[string]Values{"0.1": {30, 50, 30}, "0.5": {35, 55, 35}, "0.9": {40, 60, 40}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	task.History = task.History[:3]
	if _, err := SeasonalNaive(task); err == nil || !strings.Contains(err.Error(), "history has 3 steps; two days are needed") {
		t.Errorf("error is %v", err)
	}
}

func TestLastLevelSpreadsAsTheHistoryDid(t *testing.T) {
	task := Task{ID: "x", StepSeconds: 43200, Horizon: 2, Quantiles: []float64{0.1, 0.5, 0.9}, History: Values{0, 4, 0, 4, 0, 4, 0, nan}}
	got, err := LastLevel(task)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Values{0, 0}, got.Mean); d != "" {
		t.Errorf("the last known value is 0 (-want +got):\n%s", d)
	}
	if got.Quantiles["0.9"][0] != 4 || got.Quantiles["0.9"][1] != 0 || got.Quantiles["0.1"][0] != 0 {
		t.Errorf("changes are 4 up or down over one step and none over two: %v", got.Quantiles)
	}
	task.History = Values{nan, nan, nan}
	if _, err := LastLevel(task); err == nil {
		t.Error("a level was found where nothing is known")
	}
}
