package forecast

import (
	"math"
	"slices"
	"time"
)

const (
	// kindDoubt is what is assumed of how far a day is from what is usual of its kind, relative to it; it weighs as much as kindPrior
	// days that were seen. unseenDoubt is that of a kind of which nothing was seen.
	kindDoubt   = 0.2
	kindPrior   = 2
	unseenDoubt = 0.5
	levelDays   = 7 // of the newest level …
	mostChange  = 4 // … which is at most so many times what is usual, and at least as small a part of it
)

// days are the days of a history and of what comes after it, by the wall clock. Steps count from the end of the history. A named
// day is of the kind of the weekday that it resembles, any other of the kind of its own.
type days struct {
	dates
	perDay int
	named  map[int]time.Weekday
	kinds  [7]kind
	level  float64 // of the newest days, relative to what is usual of their kinds
	long   bool    // named days last for longer, until now, than forecasts bridge
}

// kind is what is known of the days that are like a weekday.
type kind struct {
	seen  int       // days of which half is known
	usual []float64 // [step of the day that follows the history] median of those days, smoothed; NaN where nothing is known
	doubt float64   // standard deviation of the next one's demand, relative to it
}

// newDays looks at a history; it is nil when none of its steps, nor of those to come, is on a day named to be like another weekday.
func newDays(s Series, steps int) *days {
	d := &days{dates: newDates(s), perDay: int(24 * time.Hour / s.Step), level: 1}
	first, last := d.number(-len(s.Values)), d.number(steps)
	d.named = map[int]time.Weekday{}
	for date, like := range s.Calendar.Days {
		if n, _ := date.number(); n >= first && n <= last && like != weekday(n) {
			d.named[n] = like
		}
	}
	if len(d.named) == 0 {
		return nil
	}
	d.look(s.Values)
	return d
}

// kind of the day of a step, and that of its weekday; named is whether they differ.
func (d *days) kind(i int) (like, own time.Weekday, named bool) {
	n := d.number(i)
	own = weekday(n)
	if like, named = d.named[n]; named {
		return like, own, true
	}
	return own, own, false
}

func (d *days) time(i int) int { return (i%d.perDay + d.perDay) % d.perDay }

// look learns what is usual of each kind of day, and how much of it demand is now.
func (d *days) look(values []float64) {
	n := len(values)
	var past [7][]float64
	for k := range d.kinds {
		d.kinds[k].usual = make([]float64, d.perDay)
	}
	for t := range d.perDay {
		for k := range past {
			past[k] = past[k][:0]
		}
		for i := t - d.perDay; i >= -n; i -= d.perDay {
			if v := values[n+i]; !math.IsNaN(v) {
				like, _, _ := d.kind(i)
				past[like] = append(past[like], v)
			}
		}
		for k := range past {
			d.kinds[k].usual[t] = math.NaN()
			if len(past[k]) > 0 {
				d.kinds[k].usual[t] = median(past[k])
			}
		}
	}
	around := int(30 * time.Minute / d.step)
	for k := range d.kinds {
		d.kinds[k].usual = smooth(d.kinds[k].usual, around)
	}
	d.compare(values)
}

// compare takes how far each day is from what is usual of its kind: the doubt of a kind leans on that of all, where few were seen.
func (d *days) compare(values []float64) {
	n := len(values)
	var newest tally
	var far [7]float64 // sum of squares
	for i := -n; i < 0; {
		like, _, named := d.kind(i)
		kind, number := &d.kinds[like], d.number(i)
		var all tally
		for ; i < 0 && d.number(i) == number; i++ {
			if v := values[n+i]; !math.IsNaN(v) {
				all.add(v, kind.usual[d.time(i)], 1)
			}
		}
		if 2*all.weight >= float64(d.perDay) {
			kind.seen++
			if all.miss > 0 && all.demand > 0 {
				off := math.Log(all.miss / all.demand)
				far[like] += min(1, off*off)
			}
		}
		if !named && i > -levelDays*d.perDay {
			newest.miss, newest.demand = newest.miss+all.miss, newest.demand+all.demand
		}
	}
	if newest.miss > 0 && newest.demand > 0 {
		d.level = max(1.0/mostChange, min(mostChange, newest.miss/newest.demand))
	}
	sum, weight := kindPrior*kindDoubt*kindDoubt, float64(kindPrior)
	for k, kind := range d.kinds {
		sum, weight = sum+far[k], weight+float64(max(0, kind.seen-1))
	}
	for k := range d.kinds {
		others := float64(max(0, d.kinds[k].seen-1))
		d.kinds[k].doubt = math.Sqrt((far[k] + kindPrior*sum/weight) / (kindPrior + others) * (1 + 1/(1+others)))
	}
}

// smooth is the mean over so many steps to each side, the day being a ring, of what is known.
func smooth(v []float64, around int) []float64 {
	out := make([]float64, len(v))
	for t := range v {
		sum, known := 0.0, 0.0
		for k := t - around; k <= t+around; k++ {
			if x := v[(k%len(v)+len(v))%len(v)]; !math.IsNaN(x) {
				sum, known = sum+x, known+1
			}
		}
		out[t] = sum / known
	}
	return out
}

// as turns values of one kind of day into what they would be on another: lessened in proportion, or raised by the difference at
// today's level. Either way what is not usual of a value is not made larger. Kinds that differ by no more than days of a kind do
// are nearly the same. Where one of the two is not known values stay as they are.
func (d *days) as(i int, from, to time.Weekday) (times, more float64) {
	was, will := d.kinds[from].usual[d.time(i)], d.kinds[to].usual[d.time(i)]
	if !d.known(from, to) || math.IsNaN(was) || math.IsNaN(will) || was == will {
		return 1, 0
	}
	if was > 0 && will > 0 {
		far, doubt := math.Log(will/was), math.Hypot(d.kinds[from].doubt, d.kinds[to].doubt)
		will = was * math.Exp(far*far*far/(far*far+doubt*doubt))
	}
	if will < was {
		return will / was, 0
	}
	return 1, (will - was) * d.level
}

func (d *days) known(one, other time.Weekday) bool {
	return d.kinds[one].seen > 0 && d.kinds[other].seen > 0
}

// ordinary returns the history as one of ordinary days: what they would have been on named days is not known. Where that is for too
// long until now, it is guessed for the last day, for a level to go on from; a guess is worse than to go on from the level before.
func (d *days) ordinary(values []float64) []float64 {
	out := slices.Clone(values)
	newest := -silent(values) - d.perDay
	for k := range out {
		if d.apart(k - len(out)) {
			out[k] = math.NaN()
		}
	}
	if d.long = time.Duration(silent(out))*d.step > maxGap; d.long {
		for i := max(-len(out), newest); i < 0; i++ {
			out[len(out)+i] = d.usual(i, values[len(out)+i])
		}
	}
	return out
}

// apart tells whether a step says nothing of ordinary days: it is on a named day, of a kind that is known to differ.
func (d *days) apart(i int) bool {
	like, own, named := d.kind(i)
	return named && d.known(like, own)
}

// until is how many of the next n steps come before one that says of ordinary days what the first does not, or the other way round.
func (d *days) until(n int) int {
	for i := 1; i < n; i++ {
		if d.apart(i) != d.apart(0) {
			return i
		}
	}
	return n
}

// usual is what a value of the i-th step says of an ordinary day; NaN is nothing.
func (d *days) usual(i int, v float64) float64 {
	switch {
	case !d.apart(i):
		return v
	case !d.long:
		return math.NaN()
	}
	like, own, _ := d.kind(i)
	times, more := d.as(i, like, own)
	return min(maxValue, v*times+more)
}

// put turns a forecast of ordinary days into one of the days to come, from the first-th step on. Levels, of which one is the median,
// are those of bands [level][step].
func (d *days) put(first int, levels, mean []float64, bands [][]float64) {
	middle, _ := slices.BinarySearch(levels, 0.5)
	normal := make([]float64, len(levels))
	for l, level := range levels {
		normal[l] = math.Sqrt2 * math.Erfinv(2*level-1)
	}
	for i := range mean {
		like, own, named := d.kind(first + i)
		if !named {
			continue
		}
		doubt := unseenDoubt
		if d.known(like, own) {
			doubt = d.kinds[like].doubt
		}
		times, more := d.as(first+i, own, like)
		mean[i] = mean[i]*times + more
		for l := range bands {
			bands[l][i] = bands[l][i]*times + more
		}
		center := bands[middle][i]
		for l, z := range normal {
			switch wide := doubt * mean[i] * z; {
			case z > 0:
				bands[l][i] = center + math.Hypot(bands[l][i]-center, wide)
			case z < 0:
				bands[l][i] = max(0, center-math.Hypot(center-bands[l][i], wide))
			}
		}
	}
}

// weekday of a day's number.
func weekday(n int) time.Weekday { return time.Weekday(((n+4)%7 + 7) % 7) } // 1970-01-01 was a Thursday
