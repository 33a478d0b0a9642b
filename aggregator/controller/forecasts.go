package controller

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/foretide/foretide/aggregator/forecast"
)

// When a forecast is made and used.
const (
	// actsAfter is how much known history the proactive half needs. Less than a day cannot tell the hour of the day from the
	// trend of the moment.
	actsAfter = 24 * time.Hour
	// settle is how long after the full minute its demand is in the history: 3 s where agents report each second, 17 s where they
	// report every 15 s.
	settle = 20 * time.Second
	// keep is how long a forecast that nobody asks for is kept.
	keep = 10 * time.Minute
)

// levels are the quantiles of every forecast; a policy's own is added.
func levels(own float64) []float64 {
	all := []float64{0.5, 0.8, 0.9, 0.95, 0.99}
	if !slices.Contains(all, own) {
		all = append(all, own)
		slices.Sort(all)
	}
	return all
}

// forecasts makes one forecast a minute for each workload, metric and quantile, however often it is asked.
type forecasts struct {
	history History
	outside Outside       // nil where there is none
	turns   chan struct{} // has one element for each look under way

	mu     sync.Mutex
	minute time.Time // of the last clean-up
	known  map[forecastKey]*memory
}

// asked is what a policy wants forecast.
type asked struct {
	workload   Workload
	metric     string  // its id
	level      float64 // quantile
	days       *calendar
	gpusPerPod float64 // 0 = unknown, or the metric is another
}

func (a asked) key() forecastKey { return forecastKey{a.workload, a.metric, a.level, a.days.id} }

type forecastKey struct {
	workload Workload
	metric   string
	level    float64
	calendar string // its id
}

// id is the key as another forecaster is told it; a calendar that says nothing is not in it.
func (k forecastKey) id() string {
	id := fmt.Sprintf("%s/%s/%s p%g", k.workload.Namespace, k.workload.Kind, k.workload.Name, math.Round(1e4*k.level)/100)
	if k.metric != GPU {
		id += " " + k.metric
	}
	if k.calendar != time.UTC.String() {
		id += " " + k.calendar
	}
	return id
}

func newForecasts(history History, outside Outside) *forecasts {
	return &forecasts{history: history, outside: outside, turns: make(chan struct{}, looksAtOnce), known: make(map[forecastKey]*memory)}
}

// ahead is how far the forecast is looked at: until a new replica could serve, and until a removed one would not be missed.
type ahead struct{ lead, later time.Duration }

// predict returns the forecast of a workload and its peaks from now on so far ahead, and one step more.
func (f *forecasts) predict(ctx context.Context, w asked, far ahead, now time.Time) Prediction {
	out := f.foretell(ctx, w, far, now)
	if w.days.wrong != "" {
		out.Note.Message += "; " + w.days.wrong
	}
	return out
}

func (f *forecasts) foretell(ctx context.Context, w asked, far ahead, now time.Time) Prediction {
	level, key := w.level, w.key()
	made, nearby, err := f.get(ctx, w, now.Add(-settle).Truncate(step), far.lead)
	if err != nil {
		return Prediction{Note: explain(err), Lost: !errors.Is(err, forecast.ErrShortHistory)}
	}
	if other, ok := f.preferred(key, made); ok {
		made, nearby.Nearby = other, forecast.Nearby{} // what another forecaster says stands
	}
	out := Prediction{Forecast: &made}
	// A step's value is its mean: what demand rises to at the end of one shows in the next.
	until := now.Add(far.lead + made.Step)
	out.PeakGPUs, out.HasPeak = nearby.join(&made, level, now, until)
	out.LaterGPUs, _ = nearby.join(&made, level, now, now.Add(far.later+made.Step))
	for _, l := range made.Levels {
		if peak, ok := nearby.join(&made, l, now, until); ok {
			out.Peaks = append(out.Peaks, Peak{Quantile: l, GPUs: peak})
		}
	}
	switch {
	case made.History < actsAfter:
		out.Note = Note{"LearningDailyPattern", fmt.Sprintf("%s of the needed %s of history are known: the forecast (%s) is shown and does not act",
			known(made.History), known(actsAfter), made.Method)}
	case !out.HasPeak:
		out.Lost = true
		out.Note = Note{"OutsideHorizon", fmt.Sprintf("the forecast does not reach %v ahead", far.lead)}
	default:
		out.Acts = true
		out.Note = Note{"ForecastReady", fmt.Sprintf("%s from %s of history, period %s", made.Method, known(made.History), period(made.Period))}
	}
	return out
}

// get returns the forecast made from the history that ends at end, making it when it is not there yet, and what the last minutes say of the
// lead time.
func (f *forecasts) get(ctx context.Context, a asked, end time.Time, lead time.Duration) (forecast.Forecast, nearby, error) {
	key := a.key()
	f.mu.Lock()
	f.forget(end)
	m, ok := f.known[key]
	if !ok {
		m = &memory{}
		f.known[key] = m
	}
	f.mu.Unlock()

	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.end.Equal(end) {
		t := task{f.history, a.workload, a.metric, levels(a.level), a.days.Calendar, nearbyMinutes(lead), a.gpusPerPod, f.turns, f.outside != nil}
		made, err := m.follow(ctx, t, end)
		if errors.Is(err, errNoTurn) && (m.forecast.Mean != nil || m.err != nil) {
			return m.forecast, m.nearby, m.err // what was known the minute before has to do
		}
		m.forecast, m.err, m.end = made, err, end
		if ctx.Err() != nil || errors.Is(err, errNoTurn) { // the next caller tries
			m.end = time.Time{}
		}
		if m.err == nil && f.outside != nil {
			f.ask(a, m)
		}
	}
	return m.forecast, m.nearby, m.err
}

// ask has the outside forecaster told of what it has not answered yet.
func (f *forecasts) ask(a asked, m *memory) {
	id := a.key().id()
	if answer, ok := f.outside.Answer(id); !ok || answer.Start.Before(m.full) {
		f.outside.Ask(id, m.series(a.days.Calendar), int(horizon/m.step), m.forecast.Levels)
	}
}

// forget drops, once a minute, what was last asked for long ago. f.mu is held.
func (f *forecasts) forget(end time.Time) {
	if f.minute.Equal(end) {
		return
	}
	f.minute = end
	for key, m := range f.known {
		if !m.mu.TryLock() { // Being made right now.
			continue
		}
		if end.Sub(m.end) > keep {
			delete(f.known, key)
		}
		m.mu.Unlock()
	}
}

// preferred is the outside forecaster's forecast where it has one. What is known of the history stays ours.
func (f *forecasts) preferred(key forecastKey, own forecast.Forecast) (forecast.Forecast, bool) {
	if f.outside == nil {
		return own, false
	}
	other, ok := f.outside.Answer(key.id())
	other.History, other.LastKnown, other.Period = own.History, own.LastKnown, own.Period
	return other, ok
}

// historyError is a history that could not be read.
type historyError struct{ error }

func (e historyError) Unwrap() error { return e.error }

func explain(err error) Note {
	var unread historyError
	switch {
	case errors.Is(err, forecast.ErrShortHistory):
		return Note{"InsufficientHistory", err.Error()}
	case errors.Is(err, forecast.ErrStaleHistory):
		return Note{"StaleHistory", err.Error()}
	case errors.Is(err, errNoTurn):
		return Note{"ForecastPending", err.Error()}
	case errors.As(err, &unread):
		return Note{"HistoryUnavailable", err.Error()}
	}
	return Note{"ForecastFailed", err.Error()}
}

// known writes how much history there is: full hours once there is one, so that a message does not change each minute.
func known(d time.Duration) string {
	if d >= time.Hour {
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dm", int(d.Minutes()))
}

func period(d time.Duration) string {
	if d <= 0 {
		return "none"
	}
	return known(d)
}
