package forecast

import (
	"math"
	"math/rand/v2"
	"slices"
)

const (
	unclipRounds = 4    // of fitting the model and lifting to it
	harmonics    = 2    // of the day that its shape has: few, so that it can only carry the flanks on, not draw the flat top
	unclipMost   = 2.0  // times what was served: more is believed when more is served
	priorNoise   = 0.25 // of the level: how demand varies before much of it was seen free …
	priorHours   = 3.0  // … which counts as much as so many hours
)

// saturation is what is known of demand in steps in which all there was to serve it was busy: it was so much or more.
type saturation struct {
	at    []bool    // [step]
	least []float64 // [step] what was served
	drawn []float64 // [step] what demand may have been: one draw from the doubt about it; what it was where it was free
}

// served returns the series without the steps of which saturation leaves nothing known: those in which nothing was served at all.
func (s Series) served() Series {
	if !slices.Contains(s.Saturated, true) {
		return s
	}
	s.Values, s.Saturated = slices.Clone(s.Values), slices.Clone(s.Saturated)
	for i, v := range s.Values {
		if s.Saturated[i] && !(v > 0) {
			s.Values[i], s.Saturated[i] = math.NaN(), false
		}
	}
	return s
}

// mark takes note of saturated steps, as far as they are known.
func (h *history) mark(saturated []bool) {
	if !slices.Contains(saturated, true) {
		return
	}
	h.saturation = &saturation{at: make([]bool, len(saturated))}
	for i, is := range saturated {
		h.saturation.at[i] = is && h.known[i]
	}
}

// unclip lifts saturated steps to what demand is expected to have been: a censored regression by expectation and maximization
// (Tobin 1958; Dempster, Laird and Rubin 1977). Demand is taken as the level of its day times a smooth shape of the day, with normal
// noise. They are fitted to the free steps and to what is expected of the others, so that the flanks of a peak tell of its top, and
// days on which it was free of those on which it was not. While fitting, a saturated step counts as the model's mean where that is
// more than what was served, and not as the mean of all that is more: the level of a day without a free step would have no end.
func (h *history) unclip() {
	s := h.saturation
	s.least, s.drawn = slices.Clone(h.y), make([]float64, len(h.y))
	m := newDayModel(h)
	lift := func(to func(g normal, served float64) float64) {
		for i, saturated := range s.at {
			if saturated && h.known[i] { // a spike may have been forgotten since
				h.y[i] = min(unclipMost*s.least[i], maxValue, to(m.around(i), s.least[i]))
			}
		}
	}
	for range unclipRounds {
		m.fit(h.y)
		m.measure(h)
		lift(func(g normal, served float64) float64 { return max(g.mean, served) })
	}
	chance := rand.New(rand.NewPCG(1, 1)) // the same for the same history
	lift(func(g normal, served float64) float64 { return g.above(served, chance.Float64()) })
	copy(s.drawn, h.y)
	lift(normal.meanAbove)
	h.fill()
}

// scale multiplies what is known of the steps before from.
func (s *saturation) scale(from int, times float64) {
	if s == nil {
		return
	}
	for i := range from {
		s.least[i], s.drawn[i] = s.least[i]*times, s.drawn[i]*times
	}
}

// dayModel is the level of each day times a shape of the day. Days are counted back from the end of the history.
type dayModel struct {
	day, steps int         // steps in a day, and in the history
	waves      [][]float64 // [wave][step of the day]
	shape      []float64   // [step of the day] mean 1
	levels     []float64   // [day], busy GPUs; the newest first
	noise      float64     // standard deviation by level
}

func newDayModel(h *history) *dayModel {
	m := &dayModel{noise: priorNoise, day: h.day, steps: len(h.y), shape: make([]float64, h.day)}
	m.levels = make([]float64, (len(h.y)+h.day-1)/h.day)
	for t := range m.shape {
		m.shape[t] = 1
	}
	if !h.seasonal {
		return m
	}
	for k := 1; k <= harmonics && 2*k < h.day; k++ {
		sine, cosine := make([]float64, h.day), make([]float64, h.day)
		for t := range sine {
			sine[t], cosine[t] = math.Sincos(2 * math.Pi * float64(k*t) / float64(h.day))
		}
		m.waves = append(m.waves, sine, cosine)
	}
	return m
}

// place is the day of a step, counted back, and the step's place in it.
func (m *dayModel) place(i int) (day, t int) {
	back := m.steps - 1 - i
	return back / m.day, m.day - 1 - back%m.day
}

// fit takes the levels at the present shape, and then the shape at those levels.
func (m *dayModel) fit(y []float64) {
	expected := make([]float64, len(m.levels))
	clear(m.levels)
	for i, v := range y {
		d, t := m.place(i)
		m.levels[d] += v
		expected[d] += m.shape[t]
	}
	for d := range m.levels {
		m.levels[d] /= expected[d]
	}
	if m.waves == nil {
		return
	}
	sums, weights := make([]float64, m.day), make([]float64, m.day)
	for i, v := range y {
		d, t := m.place(i)
		sums[t] += v
		weights[t] += m.levels[d]
	}
	for t := range sums {
		m.shape[t] = 1
		if weights[t] > 0 {
			sums[t] /= weights[t]
		}
	}
	for _, wave := range m.waves {
		size := 2 * dot(wave, sums) / float64(m.day)
		for t := range wave {
			m.shape[t] += size * wave[t]
		}
	}
	for t := range m.shape {
		m.shape[t] = max(0.01, m.shape[t])
	}
}

// measure takes the noise: what free steps are off by, and what saturated ones are expected to be.
func (m *dayModel) measure(h *history) {
	one := 24 / (priorHours * float64(m.day)) // what a step counts as
	sum, weight := priorNoise*priorNoise, 1.0
	for i, known := range h.known {
		d, _ := m.place(i)
		level := m.levels[d]
		if !known || level <= 0 {
			continue
		}
		g := m.around(i)
		square := (h.y[i] - g.mean) * (h.y[i] - g.mean)
		if h.saturation.at[i] {
			square = g.squareAbove(h.saturation.least[i])
		}
		sum += one * square / (level * level)
		weight += one
	}
	m.noise = math.Sqrt(sum / weight)
}

// around is what demand is taken to be in a step.
func (m *dayModel) around(i int) normal {
	d, t := m.place(i)
	return normal{m.levels[d] * m.shape[t], m.levels[d] * m.noise}
}

// normal is a normal distribution.
type normal struct{ mean, deviation float64 }

// far, in deviations, is where what is beyond is taken as exponential, which it nearly is.
const far = 6

// hazard is the mean of what is more than z, in deviations from the mean.
func hazard(z float64) float64 {
	if z > far {
		return z + 1/z
	}
	return math.Exp(-z*z/2) / math.Sqrt(2*math.Pi) / beyond(z)
}

// beyond is how likely more than z deviations are.
func beyond(z float64) float64 { return math.Erfc(z/math.Sqrt2) / 2 }

// meanAbove is the mean of what is more than c.
func (g normal) meanAbove(c float64) float64 {
	if g.deviation <= 0 {
		return max(c, g.mean)
	}
	return max(c, g.mean+g.deviation*hazard((c-g.mean)/g.deviation))
}

// squareAbove is its mean square distance from the mean of all.
func (g normal) squareAbove(c float64) float64 {
	if g.deviation <= 0 {
		return (c - g.mean) * (c - g.mean)
	}
	z := (c - g.mean) / g.deviation
	return g.deviation * g.deviation * (1 + z*hazard(z))
}

// above is what a share of what is more than c is below.
func (g normal) above(c, share float64) float64 {
	if g.deviation <= 0 {
		return max(c, g.mean)
	}
	z := (c - g.mean) / g.deviation
	if z > far {
		return c - g.deviation/z*math.Log1p(-share)
	}
	return max(c, g.mean+g.deviation*math.Sqrt2*math.Erfcinv(2*beyond(z)*(1-share)))
}

// saturatedAt tells whether demand was saturated at a step.
func (h *history) saturatedAt(step int) bool { return h.saturation != nil && h.saturation.at[step] }

// missed is what a forecast of v missed at a known step: nothing where demand was saturated and v is not below what was served.
func (h *history) missed(step int, v float64) float64 {
	if h.saturatedAt(step) {
		return max(0, h.saturation.least[step]-v)
	}
	return h.y[step] - v
}

// truth is what demand was at a step, or may have been where it was saturated. It is what doubt is measured by: as many misses of
// nothing would make a forecast of such times look certain.
func (h *history) truth(step int) float64 {
	if h.saturation != nil {
		return h.saturation.drawn[step]
	}
	return h.y[step]
}
