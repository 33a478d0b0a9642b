package forecast

import (
	_ "embed"
	"fmt"
	"slices"
	"sync"

	"github.com/foretide/foretide/pkg/trees"
)

//go:embed correction.bin
var correctionFile []byte

// correction is the forest that hack/forecast-train grew: for each of correctedLevels, by how much of the draft's scale to move it.
var correction = sync.OnceValue(func() *trees.Forest {
	f, err := trees.Unmarshal(correctionFile)
	if err == nil && (f.Features != featureCount || f.Outputs != len(correctedLevels)) {
		err = fmt.Errorf("it has %d features and %d outputs, the forecast has %d and %d", f.Features, f.Outputs, featureCount, len(correctedLevels))
	}
	if err != nil {
		panic(fmt.Sprintf("the embedded correction cannot be read, run hack/forecast-train: %v", err)) // a build without its own tests
	}
	return f
})

// askedPerDay is how many steps of a day the forest is asked about; in between, its moves are interpolated.
const askedPerDay = 96

// moves are by how many units of the scale each of correctedLevels is to be moved.
type moves [len(correctedLevels)]float32

// advice is what the forest says about a forecast: moves at every stride-th step and at the last one.
type advice struct {
	moves   []moves
	stride  int
	horizon int
	places  []place // [level of the bands]
	low     int     // level of the bands that is the first of the middle 60 %
	high    int     // and the last
	week    float64 // mean of the newest week
}

// place is a level among correctedLevels: the last one at or below it, and how far it is to the next. Beyond the ends, the end.
type place struct {
	below int
	share float32
}

func placeOf(level float64) place {
	p := place{}
	for p.below+1 < len(correctedLevels) && correctedLevels[p.below+1] <= level {
		p.below++
	}
	if p.below+1 < len(correctedLevels) && level > correctedLevels[0] {
		lower, upper := correctedLevels[p.below], correctedLevels[p.below+1]
		p.share = float32((level - lower) / (upper - lower))
	}
	return p
}

// ask asks the forest about a draft.
func (d *draft) ask(forest *trees.Forest) *advice {
	a := &advice{stride: max(1, d.b.h.day/askedPerDay), horizon: len(d.mean), week: d.t.week}
	a.low, _ = slices.BinarySearch(d.b.levels, correctedLevels[lowLevel])
	a.high, _ = slices.BinarySearch(d.b.levels, correctedLevels[highLevel])
	for _, level := range d.b.levels {
		a.places = append(a.places, placeOf(level))
	}
	a.moves = make([]moves, (a.horizon-2+a.stride)/a.stride+1)
	paths := make([]float64, d.b.parts)
	var x features
	for k := range a.moves {
		d.features(min(k*a.stride, a.horizon-1), paths, &x)
		forest.Add(x[:], a.moves[k][:])
	}
	return a
}

// at interpolates the moves at step i.
func (a *advice) at(i int, m *moves) {
	k := min(i/a.stride, len(a.moves)-1)
	from, to := &a.moves[k], &a.moves[min(k+1, len(a.moves)-1)]
	width := min((k+1)*a.stride, a.horizon-1) - k*a.stride // the last stretch may be shorter
	share := float32(0)
	if width > 0 {
		share = min(1, float32(i-k*a.stride)/float32(width)) // where clocks change a Tracker comes to forecast more steps than were asked about
	}
	for l := range m {
		m[l] = from[l] + share*(to[l]-from[l])
	}
}

// apply moves the mean and the quantiles in bands ([level][step]).
func (a *advice) apply(mean []float64, bands [][]float64) {
	column := make([]float64, len(bands))
	var m moves
	for i := range mean {
		a.at(i, &m)
		unit := scale(bands[a.low][i], bands[a.high][i], a.week)
		for b, p := range a.places {
			by := m[p.below]
			if p.share > 0 {
				by += p.share * (m[p.below+1] - by)
			}
			column[b] = max(0, bands[b][i]+unit*float64(by))
		}
		slices.Sort(column) // moved apart from each other they may have crossed
		for b, v := range column {
			bands[b][i] = v
		}
		mean[i] = max(0, mean[i]+unit*float64(m[medianLevel]))
	}
}
