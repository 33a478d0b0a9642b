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

// Tracker forecasts a series that grows step by step. The whole history is looked at once; a new step then moves the levels that
// the paths are carried at, which takes a small part of the time, and a few ten thousand bytes are kept instead of four weeks.
// What a new step cannot do is change the shapes, the weights and the doubt: after an hour it is time for a new Tracker.
type Tracker struct {
	made    Forecast // at the end of the history that was looked at, without its values
	horizon int
	added   int   // steps since
	silent  int   // missing steps at the end
	silence int   // of them, those before the first added one
	day     int   // steps
	room    int   // steps that can be added
	levels  int   // of the bands
	kept    []int // those of them that were asked for

	parts   int
	paths   []float32    // [step from the end of the history][component]
	shapes  [][3]float64 // [step from the end of the history] slow profile, slow and mid shape; nil without a day
	buckets buckets
	spread  []float64
	advice  *advice

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
	room := max(1, int(lookAgain/max(1, s.Step)))
	f, b, a, err := draw(forest, s, horizon, levels)
	if err != nil {
		return nil, err
	}
	f.Mean, f.Quantiles = nil, nil
	h := b.h
	t := &Tracker{
		made: f, horizon: horizon, silence: h.gap, silent: h.gap, day: h.day, room: room, levels: len(b.levels),
		parts: b.parts, buckets: b.buckets, spread: b.spread, advice: a, follower: *h.now, wasRatio: h.ratio[len(h.y)],
	}
	for _, level := range f.Levels {
		i, _ := slices.BinarySearch(b.levels, level)
		t.kept = append(t.kept, i)
	}
	at, expected := h.enter(len(h.y)), make([]float64, b.parts)
	for k := range t.was {
		t.was[k] = h.levels[k][at.o]
	}
	t.last, t.lastMean = make([]float64, max(1, int(10*time.Minute/h.step))), at.last
	for i := range horizon + room {
		h.paths(&at, h.gap+i, expected)
		for _, v := range expected {
			t.paths = append(t.paths, float32(v))
		}
		if i < room && h.seasonal {
			slow, mid := h.ring(h.slow, at.o, h.gap+i), h.ring(h.mid, at.o, h.gap+i)
			t.shapes = append(t.shapes, [3]float64{slow, slow - at.slowMean, mid - at.midMean})
		}
	}
	return t, nil
}

// Due tells whether it is time for a new Tracker: no more steps can be added.
func (t *Tracker) Due() bool { return t.added >= t.room }

// Add takes the value of the next step; NaN is missing. It is an error when the value is not allowed in a Series, and when the
// Tracker is Due.
func (t *Tracker) Add(v float64) error {
	switch {
	case t.Due():
		return fmt.Errorf("%w: %d steps were added since the history was looked at; make a new Tracker", ErrInvalid, t.added)
	case v < 0 || v > maxValue:
		return fmt.Errorf("%w: value is %g; it must be from 0 to %g, or NaN where it is missing", ErrInvalid, v, maxValue)
	}
	var shape [3]float64
	if t.shapes != nil {
		shape = t.shapes[t.added]
	}
	known := !math.IsNaN(v)
	t.follower.add(v, known, shape[0], shape[1], shape[2])
	t.added++
	t.silent++
	if known {
		t.silent = 0
		t.made.History += t.made.Step
		t.last[t.lastCount%len(t.last)] = v
		t.lastCount++
		n := min(t.lastCount, len(t.last))
		t.lastMean = 0
		for _, x := range t.last[:n] {
			t.lastMean += x / float64(n)
		}
	}
	return nil
}

// Forecast forecasts from the end of the newest step on.
func (t *Tracker) Forecast() Forecast {
	f := t.made
	f.Start = f.Start.Add(time.Duration(t.added) * f.Step)
	f.LastKnown = f.Start.Add(-time.Duration(t.silent) * f.Step)
	f.Mean = make([]float64, t.horizon)
	bands := blank(t.levels, t.horizon)
	var moved [componentCount + cycleCount]float64
	for k := range t.was {
		moved[slow15m+k] = t.follower.level(k, t.was[k]) - t.was[k]
	}
	scaled := t.follower.ratio() / t.wasRatio
	weights := make([]float64, t.parts)
	for i := range f.Mean {
		lead, step := t.silent+i, t.added+i
		t.buckets.mix(lead, weights)
		path := t.paths[step*t.parts : (step+1)*t.parts]
		mean := weights[lastLevel] * t.lastMean
		for c := lastLevel + 1; c < t.parts; c++ {
			v := float64(path[c])
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
		t.buckets.spreadOut(i, lead, mean, t.spread[(t.silence+step)%t.day], bands)
	}
	if t.advice != nil {
		t.advice.apply(f.Mean, bands)
	}
	f.Quantiles = nil
	for _, k := range t.kept {
		f.Quantiles = append(f.Quantiles, bands[k])
	}
	return f
}
