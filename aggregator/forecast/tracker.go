package forecast

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/foretide/foretide/pkg/trees"
)

// lookAgain is after how long a Tracker's weights and profiles are to be made anew.
const lookAgain = time.Hour

// perLook is how many steps a Tracker adds until then; at least one.
func perLook(step time.Duration) int { return max(1, int(lookAgain/step)) }

// Tracker forecasts a series that grows step by step. The whole history is looked at once; a new step then moves the levels that
// the paths are carried at, which takes a small part of the time, and a few ten thousand bytes are kept instead of four weeks.
// What a new step cannot do is change the shapes, the weights and the doubt: after an hour it is time for a new Tracker, and
// before that where by its Calendar clocks change or a named day begins or ends.
type Tracker struct {
	made    Forecast // at the end of the history that was looked at, without its values
	horizon int
	added   int // steps since
	missing int // steps at the end
	silent  int // steps at the end that say nothing of ordinary days: missing, or on a named one
	silence int // of them, those before the first added one
	day     int // steps
	room    int // steps that can be added
	almanac *almanac
	levels  []float64 // of the bands
	kept    []int     // those of them that were asked for

	parts   int
	paths   []float32    // [step from the end of the history][component]
	shapes  [][3]float64 // [step from the end of the history] slow profile, slow and mid shape; nil without a day
	buckets buckets
	spread  []float64
	advice  *advice
	climate *climate

	follower  follower            // levels now
	was       [levelCount]float64 // levels at the end of the history
	wasRatio  float64
	last      []float64 // known values of the last ten minutes, as a ring
	lastCount int
	lastMean  float64
}

// Track looks at the whole of a series. Its arguments and errors are those of Predict.
func Track(s Series, horizon int, levels []float64) (*Tracker, error) {
	return track(correction(), s, horizon, levels)
}

func track(forest *trees.Forest, s Series, horizon int, levels []float64) (*Tracker, error) {
	f, b, err := draw(forest, s, horizon, levels)
	if err != nil {
		return nil, err
	}
	f.Mean, f.Quantiles = nil, nil
	h := b.h
	room := h.almanac.until(perLook(s.Step))
	t := &Tracker{
		made: f, horizon: horizon, missing: h.missing, silence: h.gap, silent: h.gap, day: h.day, room: room, levels: b.levels, almanac: h.almanac,
		parts: b.parts, buckets: b.buckets, spread: b.spread, advice: b.advice, climate: b.climate, follower: *h.now, wasRatio: h.ratio[len(h.y)],
	}
	for _, level := range f.Levels {
		i, _ := slices.BinarySearch(b.levels, level)
		t.kept = append(t.kept, i)
	}
	at, expected := h.enter(len(h.y)), make([]float64, b.parts)
	for k := range t.was {
		t.was[k] = h.levels[k][at.o]
	}
	t.last = make([]float64, max(1, int(10*time.Minute/h.step)))
	for i := max(0, len(h.y)-len(t.last)); i < len(h.y); i++ {
		if h.known[i] {
			t.hear(h.y[i])
		}
	}
	t.lastMean = at.last
	steps := h.almanac.steps(0, horizon+room+1) + 1 // a part of a step may come after all that were added, and reach into the next
	t.paths = make([]float32, 0, steps*b.parts)
	for i := range steps {
		h.paths(&at, h.gap+i, expected)
		for _, v := range expected {
			t.paths = append(t.paths, float32(v))
		}
		if i <= room && h.seasonal {
			slow, mid := h.ring(h.slow, at.o, h.gap+i), h.ring(h.mid, at.o, h.gap+i)
			t.shapes = append(t.shapes, [3]float64{slow, slow - at.slowMean, mid - at.midMean})
		}
	}
	return t, nil
}

// Due tells whether it is time for a new Tracker: no more steps can be added.
func (t *Tracker) Due() bool { return t.added >= t.room }

// Until is the end of the last step that can be added: with it the Tracker is Due.
func (t *Tracker) Until() time.Time { return t.made.Start.Add(time.Duration(t.room) * t.made.Step) }

// Add takes the value of the next step; NaN is missing. It is an error when the value is not allowed in a Series, and when the
// Tracker is Due.
func (t *Tracker) Add(v float64) error {
	switch {
	case t.Due():
		return fmt.Errorf("%w: %d steps were added since the history was looked at; make a new Tracker", ErrInvalid, t.added)
	case v < 0 || v > maxValue:
		return fmt.Errorf("%w: value is %g; it must be from 0 to %g, or NaN where it is missing", ErrInvalid, v, maxValue)
	}
	t.missing++
	if !math.IsNaN(v) {
		t.missing = 0
	}
	v = t.almanac.usual(t.added, v)
	known, shape := !math.IsNaN(v), t.shape()
	t.follower.add(v, known, shape[0], shape[1], shape[2])
	t.added++
	t.silent++
	if known {
		t.silent = 0
		t.made.History += t.made.Step
		t.hear(v)
	}
	return nil
}

// AddSaturated takes the next step when demand was v or more in it, as Series.Saturated tells. Its errors are those of Add.
func (t *Tracker) AddSaturated(v float64) error { return t.Add(t.AtLeast(v)) }

// AtLeast is what demand is taken to be after the newest step when it was v or more: what is expected counts, where that is more, up to
// twice as much. It is NaN, missing, when nothing was served.
func (t *Tracker) AtLeast(v float64) float64 {
	if v > 0 {
		return max(v, min(unclipMost*v, maxValue, t.forecast(0, math.NaN(), 1).Mean[0]))
	}
	if v == 0 {
		return math.NaN()
	}
	return v
}

// hear takes a known value into the last ten minutes.
func (t *Tracker) hear(v float64) {
	t.lastMean = t.heard(v, 1)
	t.last[t.lastCount%len(t.last)] = v
	t.lastCount++
}

// heard is the mean of the last ten minutes when a part of a step has come too: the oldest value of a full ring leaves by as much.
func (t *Tracker) heard(v, part float64) float64 {
	n := float64(min(t.lastCount, len(t.last)))
	if t.lastCount < len(t.last) {
		return (n*t.lastMean + part*v) / (n + part)
	}
	return max(0, t.lastMean+part*(v-t.last[t.lastCount%len(t.last)])/n)
}

// shape is what is expected of the step after the newest: the slow profile, the slow and the mid shape.
func (t *Tracker) shape() [3]float64 {
	if t.shapes == nil {
		return [3]float64{}
	}
	return t.shapes[t.added]
}

// Forecast forecasts from a moment on that lies less than a step after the end of the newest one. The mean demand since then moves
// the levels as far as that part of a step can; NaN is not known.
func (t *Tracker) Forecast(since time.Duration, demand float64) Forecast {
	return t.forecast(since, demand, t.horizon)
}

func (t *Tracker) forecast(since time.Duration, demand float64, horizon int) Forecast {
	f, follower, last, first, silent := t.made, t.follower, t.lastMean, t.added, t.silent
	f.Start = f.Start.Add(time.Duration(t.added) * f.Step)
	f.LastKnown = f.Start.Add(-time.Duration(t.missing) * f.Step)
	f.Start = f.Start.Add(since)
	part := float64(since) / float64(f.Step)
	if part >= 0.5 { // what is known of whole steps is that of the nearest
		first, silent = first+1, silent+1
	}
	if since > 0 && !math.IsNaN(demand) {
		f.LastKnown = f.Start
		if demand = t.almanac.usual(t.added, demand); !math.IsNaN(demand) {
			shape := t.shape()
			follower = follower.within(part)
			follower.add(demand, true, shape[0], shape[1], shape[2])
			last = t.heard(demand, part)
			f.History += since
			silent = 0
		}
	}
	f.Mean = make([]float64, t.almanac.steps(first, horizon))
	bands := blank(len(t.levels), len(f.Mean))
	var moved [componentCount + cycleCount]float64
	for k := range t.was {
		moved[slow15m+k] = follower.level(k, t.was[k]) - t.was[k]
	}
	scaled := follower.ratio() / t.wasRatio
	weights := make([]float64, t.parts)
	for i := range f.Mean {
		lead, step := silent+i, t.added+i
		t.buckets.mix(lead, weights)
		path, next := t.paths[step*t.parts:(step+1)*t.parts], t.paths[(step+1)*t.parts:(step+2)*t.parts]
		mean := weights[lastLevel] * last
		for c := lastLevel + 1; c < t.parts; c++ {
			v := float64(path[c]) + part*float64(next[c]-path[c])
			switch {
			case t.shapes == nil:
				v += moved[slow15m+c-1]
			case c == slowScaled:
				v *= scaled
			default:
				v += moved[c]
			}
			mean += weights[c] * max(0, v)
		}
		f.Mean[i] = mean
		t.buckets.spreadOut(i, lead, mean, t.spread[(t.silence+first+i)%t.day], bands)
	}
	if t.advice != nil {
		t.advice.apply(f.Mean, bands)
	}
	t.climate.blend(silent, t.silence+first, f.Mean, bands)
	f.Mean = t.almanac.real(first, horizon, t.levels, f.Mean, bands)
	f.Quantiles = nil
	for _, k := range t.kept {
		f.Quantiles = append(f.Quantiles, bands[k])
	}
	return f
}
