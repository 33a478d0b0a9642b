package controller

import (
	"context"
	"errors"
	"hash/fnv"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/foretide/foretide/aggregator/forecast"
)

// What a forecast is made of and for.
const (
	// step is the workload tier's own.
	step = time.Minute
	// wideStep is what demand is forecast by: that of single minutes is noise to a scale that a pod takes minutes to follow.
	wideStep = 5 * time.Minute
	// horizon is how far ahead.
	horizon = 24 * time.Hour
	// historyLength is how far back the demand is read: four weeks show what a weekday does.
	historyLength = 28 * 24 * time.Hour
	// lookEvery is how often all of it is.
	lookEvery = time.Hour
)

// looksAtOnce is how many whole histories are looked at at a time, so that workers remain for decisions when thousands are new, as after
// a restart: a look takes 10 ms.
const looksAtOnce = 2

// errNoTurn is why there is no forecast when so many others are looked at. It takes a moment.
var errNoTurn = errors.New("the histories of other workloads are being read, this one's is to come")

// memory is what is kept of a workload from one minute to the next. Once an hour its whole history is looked at; in between only
// what is new is read, so that a minute costs the same however much history there is.
//
//	each hour    four weeks of minutes ─► steps of 5 minutes ─► forecast.Track
//	             the last week of them ─► forecast.LookNearby
//	each minute  demand and pods since the last full step ─► full ones: Tracker.Add ─► the rest: Tracker.Forecast
//
// A minute that comes late counts when its step is not full yet, else at the next look, which does not wait when another aggregator had it.
type memory struct {
	mu       sync.Mutex
	end      time.Time // of the newest minute that forecast knows of
	forecast forecast.Forecast
	nearby   nearby
	err      error // why there is none

	tracker *forecast.Tracker // nil when the history is to be looked at as soon as it may be
	step    time.Duration     // its
	full    time.Time         // end of its newest step; of the history where a look found no use in it
	again   time.Time         // when it is time for the next look
	filled  uint64            // history.Filled at the last one
	past    []float32         // [step] what the tracker knows; nil where no other forecaster is to be told
	hidden  []bool            // [step] where demand may have been more than in past
}

// task is what a memory is asked about.
type task struct {
	history    History
	workload   Workload
	metric     string // its id
	levels     []float64
	calendar   forecast.Calendar
	near       int     // minutes until a new pod could serve
	gpusPerPod float64 // as pods are now; 0 = unknown
	turns      chan struct{}
	tell       bool // keep the past for another forecaster
}

// follow forecasts from the full minute end on.
func (m *memory) follow(ctx context.Context, t task, end time.Time) (forecast.Forecast, error) {
	known, looked, err := m.read(ctx, t, end)
	if err != nil {
		return forecast.Forecast{}, err
	}
	m.nearby.recent = slices.Clone(known.certain()) // not a part of four weeks, which it would keep
	rest := known.part(m.full, end)
	minutes, saturated := rest.demand, rest.saturated
	if err := m.add(minutes, saturated); err != nil {
		return forecast.Forecast{}, err
	}
	full := int(m.step / step)
	whole := len(minutes) / full * full
	demand := mean(minutes[whole:])
	if saturated != nil && slices.Contains(saturated[whole:], true) {
		demand = m.tracker.AtLeast(demand)
	}
	out := m.tracker.Forecast(end.Sub(m.full), demand)
	if looked {
		m.again = nextLook(t.workload, end)
		if full := m.tracker.Until().Add(m.step); full.Before(m.again) { // a step that it would not take: clocks changed, a holiday began or ended
			m.again = full
		}
		if young(out) {
			m.again = m.full.Add(m.step)
		}
	}
	return out, nil
}

// read returns the minutes since before the tracker's newest step, and whether it looked at the whole history for them.
func (m *memory) read(ctx context.Context, t task, end time.Time) (known span, looked bool, err error) {
	// An idle workload stays so until something more is known.
	idle := m.tracker == nil && (errors.Is(m.err, forecast.ErrStaleHistory) || errors.Is(m.err, forecast.ErrShortHistory))
	if (m.tracker != nil || idle) && !end.Before(m.full) && end.Before(m.again) && m.filled == t.history.Filled() && !m.nearby.outgrown(t.near, end) {
		known.from = m.full.Add(-nearbyBefore)
		if known.demand, err = t.history.Demand(ctx, t.workload, t.metric, known.from, end, step); err != nil {
			return known, false, historyError{err}
		}
		switch {
		case !idle:
			if known.saturated, err = t.saturated(ctx, known.demand, end); err != nil {
				return known, false, historyError{err}
			}
			return known, false, nil
		case math.IsNaN(mean(known.part(m.full, end).demand)):
			return known, false, m.err
		}
	}
	select {
	case t.turns <- struct{}{}:
		defer func() { <-t.turns }()
		m.filled = t.history.Filled()
		known, err = m.look(ctx, t, end)
		return known, true, err
	default:
		return known, false, errNoTurn
	}
}

// look makes a new tracker of the whole history and returns the minutes since before its end.
//
// The tracker is that of the workload's last own minute, followed since, so that replicas of the aggregator that know the same forecast
// the same, whenever they were started. Where so much is too little to act on, what came since counts as well.
func (m *memory) look(ctx context.Context, t task, end time.Time) (known span, err error) {
	m.again = nextLook(t.workload, end)
	full, at := end.Truncate(wideStep), m.again.Add(-lookEvery).Truncate(wideStep)
	begin := at.Add(-historyLength)
	past := span{from: begin}
	if past.demand, err = t.history.Demand(ctx, t.workload, t.metric, begin, end, step); err != nil {
		return past, historyError{err}
	}
	if past.saturated, err = t.saturated(ctx, past.demand, end); err != nil {
		return past, historyError{err}
	}
	for ; at.Before(full); at = latest(m.tracker.Until(), at.Add(wideStep)) {
		if err := m.track(t, past, at, wideStep); err != nil || young(m.tracker.Forecast(0, math.NaN())) {
			break
		}
		if !m.tracker.Until().Before(full) {
			return past.part(at.Add(-nearbyBefore), end), nil
		}
	}
	err = m.track(t, past, full, wideStep)
	if errors.Is(err, forecast.ErrShortHistory) { // the first minutes are worth a forecast
		err = m.track(t, past, end, step)
	}
	if errors.Is(err, forecast.ErrShortHistory) { // more of the past may be on its way, from another aggregator
		m.again = end.Add(wideStep)
	}
	return past.part(m.full.Add(-nearbyBefore), end), err
}

// track makes the tracker as it is at a moment, in steps of a length.
func (m *memory) track(t task, all span, at time.Time, each time.Duration) (err error) {
	past, minutes := all.part(at.Add(-historyLength), at), int(each/step)
	s := forecast.Series{End: at, Step: each, Values: means(past.demand, minutes), Saturated: anyOf(past.saturated, len(past.demand), minutes), Calendar: t.calendar}
	m.step, m.full, m.past, m.hidden = each, at, nil, nil
	m.nearby = lookNearby(all.part(at.Add(-nearbyLength), at), t)
	if m.tracker, err = forecast.Track(s, int(horizon/each), t.levels); err != nil || !t.tell {
		return err
	}
	m.past, m.hidden = make([]float32, len(s.Values)), make([]bool, len(s.Values))
	for i, v := range s.Values {
		m.past[i] = float32(v)
	}
	copy(m.hidden, s.Saturated)
	return nil
}

// young tells that the next step may show more than the tracker knows.
func young(f forecast.Forecast) bool {
	return f.Method == forecast.MethodLevel || f.History < actsAfter
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// add gives the tracker the steps that are full.
func (m *memory) add(minutes []float64, saturated []bool) error {
	each := int(m.step / step)
	full := anyOf(saturated, len(minutes), each)
	for i, v := range means(minutes, each) {
		add, hidden := m.tracker.Add, full != nil && full[i]
		if hidden {
			add = m.tracker.AddSaturated
		}
		if err := add(v); err != nil {
			m.tracker = nil
			return err
		}
		m.full = m.full.Add(m.step)
		if m.past != nil {
			m.past, m.hidden = shifted(m.past, float32(v)), shifted(m.hidden, hidden)
		}
	}
	return nil
}

// shifted drops the oldest for the newest.
func shifted[T any](all []T, newest T) []T { return append(all[:copy(all, all[1:])], newest) }

// series is the past as another forecaster is told it.
func (m *memory) series(calendar forecast.Calendar) forecast.Series {
	values := make([]float64, len(m.past))
	for i, v := range m.past {
		values[i] = float64(v)
	}
	return forecast.Series{End: m.full, Step: m.step, Values: values, Saturated: slices.Clone(m.hidden), Calendar: calendar}
}

// nextLook is the minute of the hour that is the workload's own: thousands of workloads are not looked at in the same minute.
func nextLook(w Workload, after time.Time) time.Time {
	sum := fnv.New32a()
	for _, s := range []string{w.Namespace, w.Kind, w.Name} {
		_, _ = sum.Write([]byte(s + "/"))
	}
	at := after.Truncate(lookEvery).Add(time.Duration(sum.Sum32()%uint32(lookEvery/step)) * step)
	if !at.After(after) {
		at = at.Add(lookEvery)
	}
	return at
}
