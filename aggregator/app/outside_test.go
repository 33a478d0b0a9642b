package app

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/aggregator/external"
	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/pkg/trace"
)

// A forecaster that takes the contract of `aggregator forecast` at its word, and says nine GPUs.
func TestAnExternalForecasterDecidesAndOursStandsIn(t *testing.T) {
	var wrong atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line, err := bufio.NewReader(r.Body).ReadBytes('\n')
		task, taskErr := parseTask(line, defaults{})
		if err != nil || taskErr != nil {
			http.Error(w, fmt.Sprint(err, taskErr), http.StatusBadRequest)
			return
		}
		path := make(numbers, *task.Horizon)
		for i := range path {
			path[i] = 9
		}
		a := answer{ID: task.ID, Mean: path, Quantiles: map[string]numbers{}}
		for _, q := range task.Quantiles {
			a.Quantiles[fmt.Sprint(q)] = path
		}
		if wrong.Load() {
			a.Mean = path[1:]
		}
		_ = json.NewEncoder(w).Encode(a)
	}))
	defer server.Close()

	w := newWorld(t)
	w.options.ForecastURL = server.URL
	var history []trace.Point
	for i := range 2 * 24 * 12 { // two days of 3.0 busy GPUs
		history = append(history, trace.Point{Time: noon().Add(time.Duration(i) * 5 * time.Minute), Value: 3})
	}
	file := writeFile(t, "trace.csv", csv("a", history))
	if err := Import(t.Context(), []string{"--storage.path=" + w.options.StoragePath, "--trace=" + file, "--workload=default/Deployment/web"}, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	says := func(line string) func() bool {
		return func() bool {
			_, metrics := w.get("web", "/metrics")
			return strings.Contains(metrics, line)
		}
	}
	peak := func(gpus int) string {
		return fmt.Sprintf("foretide_policy_forecast_peak_gpus{namespace=\"default\",policy=\"web\",quantile=\"0.95\"} %d\n", gpus)
	}
	stop := w.start()
	w.report("first", 1, 0.2)
	w.eventually("the external forecast decides", says(peak(9)))
	if _, page := w.get("web", "/"); !strings.Contains(page, "external from 4") { // and some hours
		t.Error("the page does not say whose forecast it is")
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	wrong.Store(true)
	w.start()
	w.report("second", 1, 0.2)
	w.eventually("our own stands in", says(`foretide_forecast_info{kind="Deployment",method="seasonal",name="web",namespace="default"} 1`))
	w.eventually("the failure is told", func() bool { return strings.Contains(w.log.String(), "reason=wrong_length") })
	if !says(peak(3))() {
		t.Error("the wrong answer decides")
	}
}

func TestAnExternalForecasterIsToldWhatOursIs(t *testing.T) {
	berlin, err := zone("time_zone", "Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	s := forecast.Series{End: noon(), Step: time.Minute, Values: []float64{1, 2}, Saturated: []bool{false, true}}
	s.Calendar = forecast.Calendar{Location: berlin, Days: map[forecast.Date]time.Weekday{{Year: 2026, Month: 12, Day: 5}: time.Sunday}, Scales: map[forecast.Date]float64{{Year: 2026, Month: 12, Day: 6}: 2.5}}
	want := external.Task{
		ID: "web", Step: time.Minute, Origin: noon(), Horizon: 3, Quantiles: []float64{0.5}, History: []float64{1, 2},
		Saturated: []bool{false, true}, TimeZone: "Europe/Berlin", Days: map[string]string{"2026-12-05": "Sunday"}, Scales: map[string]float64{"2026-12-06": 2.5},
	}
	if d := cmp.Diff(want, toTask("web", s, 3, []float64{0.5})); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
