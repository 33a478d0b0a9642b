package controller

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// oracle is a forecaster elsewhere that knows nothing of what it is asked, and answers when the test says so.
type oracle struct {
	asked   []string
	series  forecast.Series
	levels  []float64
	answers map[string]forecast.Forecast
}

func (o *oracle) Ask(id string, series forecast.Series, _ int, levels []float64) {
	o.asked, o.series, o.levels = append(o.asked, id), series, levels
}

func (o *oracle) Answer(id string) (forecast.Forecast, bool) {
	f, ok := o.answers[id]
	return f, ok
}

// nine says nine GPUs of each step from a time on.
func nine(from time.Time, steps int, levels []float64) forecast.Forecast {
	path := make([]float64, steps)
	for i := range path {
		path[i] = 9
	}
	out := forecast.Forecast{Start: from, Step: wideStep, Levels: levels, Mean: path, Method: "external"}
	for range levels {
		out.Quantiles = append(out.Quantiles, path)
	}
	return out
}

const bertP95 = "default/Deployment/bert p95"

func TestAnotherForecasterIsAskedAheadAndPreferredWhileItAnswers(t *testing.T) {
	w := newWorld(1, 0.20)
	w.demand = workday(days(14))
	o := &oracle{answers: map[string]forecast.Forecast{}}
	e := NewEvaluator(w, nil, w, o)
	look := func(after time.Duration) Evaluation {
		return e.Evaluate(t.Context(), policy(), w.target, noon.Add(after))
	}
	own := look(0)
	if own.Forecast.Forecast.Method != forecast.MethodSeasonal || !own.Forecast.Acts {
		t.Errorf("before it answers: %+v", own.Forecast.Note)
	}
	if len(o.asked) != 1 || o.asked[0] != bertP95 || !o.series.End.Equal(noon.Add(-5*time.Minute)) || len(o.series.Values) != 28*288 || len(o.levels) != 5 {
		t.Errorf("asked %v: %d values up to %v, levels %v", o.asked, len(o.series.Values), o.series.End, o.levels)
	}

	o.answers[bertP95] = nine(noon.Add(-2*time.Minute), 288, o.levels)
	got := look(2 * time.Second)
	f := got.Forecast
	if f.PeakGPUs != 9 || !f.Acts || f.Forecast.Method != "external" || !strings.HasPrefix(f.Note.Message, "external from ") {
		t.Errorf("while it answers: peak %v, %+v", f.PeakGPUs, f.Note)
	}
	if f.Forecast.History != own.Forecast.Forecast.History || f.Forecast.Period != 24*time.Hour || f.Forecast.LastKnown.IsZero() {
		t.Errorf("what is known of the history: %+v", f.Forecast)
	}
	if *got.Decision.Proactive <= *own.Decision.Proactive {
		t.Errorf("proactive %d, want more than the %d of our own forecast", *got.Decision.Proactive, *own.Decision.Proactive)
	}

	clear(o.answers)
	if again := look(4 * time.Second).Forecast; again.PeakGPUs != own.Forecast.PeakGPUs {
		t.Errorf("when it no longer answers: peak %v, want our own %v", again.PeakGPUs, own.Forecast.PeakGPUs)
	}
	if len(o.asked) != 1 {
		t.Errorf("asked %d times within a minute", len(o.asked))
	}
	look(time.Minute)
	if len(o.asked) != 2 || !o.series.End.Equal(noon) || len(o.series.Values) != 28*288 || math.Abs(o.series.Values[28*288-1]-1.2) > 1e-6 {
		t.Errorf("asked %d times in two minutes, the last time with %d values up to %v", len(o.asked), len(o.series.Values), o.series.End)
	}
	look(2 * time.Minute)
	if len(o.asked) != 3 {
		t.Errorf("asked %d times in three minutes without an answer", len(o.asked))
	}
	o.answers[bertP95] = nine(noon, 288, o.levels)
	look(3 * time.Minute)
	look(5 * time.Minute)
	if len(o.asked) != 3 {
		t.Errorf("asked %d times when all that is new was answered", len(o.asked))
	}
	look(6 * time.Minute)
	if len(o.asked) != 4 || !o.series.End.Equal(noon.Add(5*time.Minute)) {
		t.Errorf("asked %d times, the last time up to %v; want once more after five minutes", len(o.asked), o.series.End)
	}
}

func TestAnotherForecasterActsNoSoonerThanOurOwn(t *testing.T) {
	w := newWorld(1, 0.20)
	o := &oracle{answers: map[string]forecast.Forecast{bertP95: nine(noon, 288, levels(0.95))}}
	e := NewEvaluator(w, nil, w, o)
	if got := e.Evaluate(t.Context(), policy(), w.target, noon).Forecast; got.Forecast != nil || got.Note.Reason != "InsufficientHistory" {
		t.Errorf("without history: %+v", got)
	}
	if len(o.asked) != 0 {
		t.Error("asked without a history to ask with")
	}
	w.demand = workday(noon.Add(-5 * time.Hour))
	got := e.Evaluate(t.Context(), policy(), w.target, noon.Add(time.Minute))
	if got.Forecast.Acts || got.Forecast.Note.Reason != "LearningDailyPattern" || got.Decision.Proactive != nil {
		t.Errorf("with five hours of history: %+v", got.Forecast.Note)
	}
}

func TestAnotherForecastThatDoesNotReachFarEnoughLowersNothing(t *testing.T) {
	w := newWorld(4, 0.01)
	w.demand = workday(days(2))
	o := &oracle{answers: map[string]forecast.Forecast{bertP95: nine(noon.Add(-5*time.Minute), 2, levels(0.95))}}
	got := NewEvaluator(w, nil, w, o).Evaluate(t.Context(), policy(), w.target, noon)
	if got.Forecast.Acts || !got.Forecast.Lost || got.Forecast.Note.Reason != "OutsideHorizon" || math.IsNaN(got.Forecast.PeakGPUs) || got.Decision.Replicas != 4 {
		t.Errorf("%+v, %+v", got.Forecast, got.Decision)
	}
}

func TestAnotherForecasterIsToldOfEachCalendar(t *testing.T) {
	w := newWorld(1, 0.20)
	w.demand = workday(days(14))
	o := &oracle{answers: map[string]forecast.Forecast{}}
	e := NewEvaluator(w, nil, w, o)
	e.Evaluate(t.Context(), policy(), w.target, noon)
	there := policy(named("there", 0), func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		p.Spec.TimeZone = "Europe/Berlin"
		p.Spec.Prediction.Days = []v1alpha1.SpecialDay{{Date: "2026-12-25", Like: "Sunday"}}
	})
	e.Evaluate(t.Context(), there, w.target, noon)
	if want := []string{bertP95, bertP95 + " Europe/Berlin 2026-12-25Sunday"}; !slices.Equal(o.asked, want) {
		t.Errorf("asked %q, want %q", o.asked, want)
	}
	if c := o.series.Calendar; c.Location.String() != "Europe/Berlin" || c.Days[forecast.Date{Year: 2026, Month: 12, Day: 25}] != time.Sunday || len(c.Days) != 1 {
		t.Errorf("calendar %+v", c)
	}
}
