package controller

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/foretide/foretide/aggregator/forecast"
)

func TestAMinuteIsSaturatedWhenItsPodsHadNoGPULeft(t *testing.T) {
	nan := math.NaN()
	w := newWorld(1, 0.2)
	for name, c := range map[string]struct {
		busy, pods, gpusPerPod float64
		want                   bool
	}{
		"all busy":                 {4, 2, 2, true},
		"a moment between":         {3.8, 2, 2, true},
		"some room":                {3.79, 2, 2, false},
		"more than pods have":      {5, 2, 2, true},
		"no pods":                  {0, 0, 2, false},
		"nobody knows the demand":  {nan, 2, 2, false},
		"nobody knows the pods":    {4, nan, 2, false},
		"a part of a GPU each":     {1, 4, 0.25, true},
		"a part of a GPU, and not": {0.5, 4, 0.25, false},
	} {
		w.pods = func(time.Time) float64 { return c.pods }
		q := task{history: w, workload: w.target.Workload, gpusPerPod: c.gpusPerPod}
		if got, err := q.saturated(t.Context(), []float64{c.busy}, noon); err != nil || len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %v, %v; want %v", name, got, err, c.want)
		}
	}
	w.noPods = errors.New("nobody is to ask")
	if got, err := (task{history: w}).saturated(t.Context(), []float64{4}, noon); got != nil || err != nil {
		t.Errorf("without knowing the GPUs of a pod: %v, %v", got, err)
	}
}

func TestAStepIsSaturatedWhenAnyOfItsMinutesIs(t *testing.T) {
	minutes := []bool{false, false, false, false, false, false, true, false, false, false, true}
	if got := anyOf(minutes, 10, 5); len(got) != 2 || got[0] || !got[1] {
		t.Errorf("got %v, want the second alone", got)
	}
	if got := anyOf(nil, 10, 5); got != nil {
		t.Errorf("of what is not known: %v", got)
	}
}

func TestAStepThatIsSaturatedBetweenTwoLooksLowersTheForecastLess(t *testing.T) {
	last := map[float64]float64{}
	for _, gpusPerPod := range []float64{0, 1} { // 0: nobody knows what saturates
		w := newWorld(1, 0.2)
		w.demand = func(at time.Time) float64 { // pods are taken away at noon
			if at.Before(days(14)) {
				return math.NaN()
			}
			if at.Before(noon) {
				return 4
			}
			return 2
		}
		w.pods = func(at time.Time) float64 {
			if at.Before(noon) {
				return 8
			}
			return 2
		}
		q := task{history: w, workload: w.target.Workload, levels: levels(0.95), gpusPerPod: gpusPerPod, turns: make(chan struct{}, 1), tell: true}
		m := &memory{}
		for minute := range 21 {
			f, err := m.follow(t.Context(), q, noon.Add(time.Duration(minute)*time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			last[gpusPerPod] = f.Mean[0]
		}
		told := m.series(forecast.Calendar{}).Saturated
		n := len(told)
		if saturated := gpusPerPod > 0; told[n-5] || told[n-4] != saturated || told[n-1] != saturated {
			t.Errorf("with %g GPUs a pod another forecaster is told %v of the last steps", gpusPerPod, told[n-5:])
		}
	}
	if last[1] <= last[0] {
		t.Errorf("%g GPUs are forecast where what was served is known to be capped, %g where it is not", last[1], last[0])
	}
}

func TestPodsThatCannotBeReadBetweenTwoLooksAreReadTheNextMinute(t *testing.T) {
	w := newWorld(2, 0.20)
	w.demand = workday(days(14))
	e := NewEvaluator(w, nil, w, nil)
	at := func(after time.Duration) Prediction {
		return e.Evaluate(t.Context(), policy(), w.target, noon.Add(after)).Forecast
	}
	at(0)
	looks := len(w.reads)
	w.noPods = errors.New("disk gone")
	if got := at(6 * time.Minute); got.Note.Reason != "HistoryUnavailable" || !got.Lost {
		t.Errorf("forecast %+v", got.Note)
	}
	w.noPods = nil
	if got := at(7 * time.Minute); !got.Acts {
		t.Errorf("a minute later: %+v", got.Note)
	}
	for _, span := range w.reads[looks:] {
		if span >= historyLength {
			t.Error("the whole history was read again")
		}
	}
}

func TestPodsThatCannotBeReadAreAHistoryThatCannot(t *testing.T) {
	w := newWorld(2, 0.20)
	w.demand, w.noPods = workday(days(14)), errors.New("disk gone")
	e := NewEvaluator(w, nil, w, nil)
	if got := e.Evaluate(t.Context(), policy(), w.target, noon).Forecast; got.Note.Reason != "HistoryUnavailable" || !got.Lost {
		t.Errorf("forecast %+v", got.Note)
	}
	w.noPods = nil
	if got := e.Evaluate(t.Context(), policy(), w.target, noon.Add(time.Minute)).Forecast; !got.Acts {
		t.Errorf("a minute later: %+v", got.Note)
	}
}
