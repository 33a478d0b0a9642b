package forecast

import (
	"math"
	"slices"
	"time"
)

// A cycle is a pattern that repeats after another time than a day or a week: a job that runs every seven hours, a peak each half
// hour. It is looked for among the autocorrelations of the history, in its older and in its newer half, and counts when both agree.
const (
	cycleDays    = 2              // of history without which no cycle is looked for
	dayTwice     = 14             // days of history with which the day is looked for in both halves
	cycleShort   = 3 * time.Hour  // up to here the steps themselves are looked at, the newest ones; beyond, means of an hour of all
	cycleMost    = 60 * time.Hour // the longest
	cycleSteps   = 1000           // how many of the newest steps are looked at for a short cycle
	sharpenSteps = 3000           // that are looked at to find the steps of a period
	cycleLeast   = 0.3            // correlation after one and after two cycles; also by how much less there is half a cycle off
	cycleSure    = 2              // standard errors of a correlation that it must be at least, in each half
	cycleClip    = 4              // mean distances from the mean: what lies beyond is cut off, so that two incidents make no cycle
)

// cycle is a period that was found.
type cycle struct {
	steps int     // of the grid it was found on; 0 = none
	power float64 // variance that it explains
}

// findCycles looks for the strongest cycle among those that the profiles of the day do not hold: what is left when the day's mean is
// taken off, and what is too short for them, as they are smoothed. A part of a day, of twelve hours or eight, counts as a cycle where
// there is no longer pattern. And it tells which is the strongest pattern, the cycle or the day.
func (h *history) findCycles() {
	hour := int(time.Hour / h.step)
	if !h.seasonal || h.day != 24*hour || len(h.y) < cycleDays*h.day {
		return
	}
	hours, least := h.hourly(hour), int(cycleShort/time.Hour)+1
	h.cycle = search(inHalves(highPass(withoutDay(hours, 24), 36)), least, int(cycleMost/time.Hour), 0)
	if h.cycle.steps > 0 {
		h.cycle.steps = h.sharpen(h.cycle.steps*hour, hour)
	}
	newest := highPass(h.y[max(0, len(h.y)-cycleSteps):], 3*hour)
	if short := search(inHalves(newest), 2, int(cycleShort/h.step), 0); short.power > h.cycle.power {
		h.cycle = short
	}
	days := [][]float64{highPass(hours, 12)}
	if len(h.y) >= dayTwice*h.day {
		days = inHalves(days[0])
	}
	day := search(days, least, 24, 24)
	switch {
	case day.power <= h.cycle.power:
	case day.steps == 24: // its profiles are there already
		h.strongest = 24 * time.Hour
		return
	default:
		h.cycle = cycle{day.steps * hour, day.power}
	}
	h.strongest = time.Duration(h.cycle.steps) * h.step
}

func inHalves(x []float64) [][]float64 { return [][]float64{x[:len(x)/2], x[len(x)/2:]} }

// search returns the period from least to most after which every part of the history is most like itself, or none. Among periods
// that do about as well it is the shortest: a pattern of five hours is one of fifteen too. What it must divide is 0 when it may be any.
func search(parts [][]float64, least, most, divides int) cycle {
	n := len(parts[0])
	most = min(most, 2*n/(4+len(parts))) // what is to be seen once only is to be seen in all of it
	if most < least {
		return cycle{}
	}
	scores, variance := make([]float64, most+2), 0.0
	for k, x := range parts {
		r, power := correlations(x, 2*most)
		variance += power / float64(len(parts))
		for p := least; p <= most; p++ {
			if score := likeness(r, p, n); divides%p == 0 && (k == 0 || score < scores[p]) {
				scores[p] = score
			}
		}
	}
	best := slices.Max(scores)
	if best == 0 {
		return cycle{}
	}
	p := least
	for scores[p] < 0.9*best || scores[p+1] > scores[p] {
		p++
	}
	return cycle{p, variance * scores[p]}
}

// likeness is the correlation after one and after two periods, whichever is less; 0 when it may be chance, or is no more than half
// a period off, where noise that only lasts is the more like itself. The standard error of a correlation among n values is that
// of Bartlett (1946), (1 + 2 Σ r²)/n, over the lags until the first at which there is none.
func likeness(r []float64, p, n int) float64 {
	like := min(r[p], r[2*p])
	off := max(r[p/2], r[(p+1)/2], r[3*p/2], r[(3*p+1)/2])
	variance := 1.0
	for k := 1; k < p && r[k] > 0; k++ {
		variance += 2 * r[k] * r[k]
	}
	if least := max(cycleLeast, cycleSure*math.Sqrt(variance/float64(n))); like < least || like-off < least {
		return 0
	}
	return like
}

// correlations are those of x, whose mean is about 0, with itself after 0 to most steps. They come with its variance.
func correlations(x []float64, most int) (r []float64, variance float64) {
	r = make([]float64, most+1)
	for i, v := range x {
		for lag, w := range x[i:min(len(x), i+most+1)] {
			r[lag] += v * w
		}
	}
	for lag := range r {
		r[lag] /= float64(len(x) - lag)
	}
	if variance = r[0]; variance > 0 {
		for lag := range r {
			r[lag] /= variance
		}
	}
	return r, variance
}

// hourly are the means of whole hours, the last one ending with the history.
func (h *history) hourly(hour int) []float64 {
	x := make([]float64, len(h.y)/hour)
	for i := range x {
		to := len(h.y) - (len(x)-1-i)*hour
		x[i] = h.value.mean(to-hour, to)
	}
	return x
}

// withoutDay takes the mean of its time of day off each step.
func withoutDay(x []float64, day int) []float64 {
	sum, days := make([]float64, day), make([]float64, day)
	for i, v := range x {
		sum[i%day] += v
		days[i%day]++
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = v - sum[i%day]/days[i%day]
	}
	return out
}

// highPass takes off the mean of the values around, and cuts off what is far out.
func highPass(x []float64, around int) []float64 {
	p := newProfile(len(x))
	for i, v := range x {
		p.push(i, v)
	}
	out, far := make([]float64, len(x)), 0.0
	for i, v := range x {
		out[i] = v - p.mean(max(0, i-around), min(len(x), i+around+1))
		far += cycleClip * math.Abs(out[i]) / float64(len(x))
	}
	for i, v := range out {
		out[i] = max(-far, min(far, v))
	}
	return out
}

// sharpen finds the steps of a period that is known to the hour: values are most alike after one and after two of it.
func (h *history) sharpen(period, hour int) int {
	x := highPass(withoutDay(h.y, h.day), period)
	best, most, from := period, 0.0, 2*(period+hour)
	stride := 1 + len(x)/sharpenSteps
	for common(stride, period) > 1 { // every phase is to be met
		stride++
	}
	for p := period - hour; p <= period+hour; p++ {
		sum := 0.0
		for i := from; i < len(x); i += stride {
			sum += x[i] * (x[i-p] + x[i-2*p])
		}
		if sum > most {
			best, most = p, sum
		}
	}
	return best
}

// common is the greatest common divisor.
func common(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Components of a history with a cycle: they follow the others.
const (
	meanCycle   = iota // mean of cycles, half-life 4 of them
	dayAndCycle        // slow profile and the mean of what cycles added to it
	cycleCount
)

var cycleNames = [cycleCount]string{"mean cycle", "day and cycle"}

const cycleHalfLife = 4.0 // cycles

// repeat builds the means of cycles.
func (h *history) repeat() {
	p := h.cycle.steps
	if p == 0 {
		return
	}
	n := len(h.y)
	h.cycles, h.beyond = make([]float64, n), make([]float64, n)
	cycles, beyond := newDecay(cycleHalfLife, p), newDecay(cycleHalfLife, p)
	for i, v := range h.y {
		h.cycles[i] = cycles.push(i, v, h.known[i])
		slow := h.slow.mean(max(0, i-h.day-h.around), max(1, min(i, i-h.day+h.around+1)))
		h.beyond[i] = beyond.push(i, v-slow, h.known[i] && i >= h.day)
	}
}

// cyclePaths writes what the cycles expect at lead j, where slow is the slow profile there.
func (h *history) cyclePaths(o, j int, slow float64, dst []float64) {
	i := max(0, o-h.cycle.steps+j%h.cycle.steps)
	dst[meanCycle], dst[dayAndCycle] = h.cycles[i], slow+h.beyond[i]
}
