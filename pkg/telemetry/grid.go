package telemetry

import "math"

// Grid is the set of numbers k × 2^Shift / 10^Digits, k whole. Values on a grid travel as small whole numbers.
type Grid struct {
	// Digits are decimal places; negative ones are zeros before the point.
	Digits int
	// Shift is for what comes in powers of two.
	Shift uint
}

// The grids of the catalogue are finer than what any driver measures: a millionth of a ratio, a milliwatt, a millijoule,
// whole degrees, megahertz, and a KiB.
var gridOfUnit = map[string]Grid{
	"ratio":            {Digits: 6},
	"watts":            {Digits: 3},
	"joules":           {Digits: 3},
	"hertz":            {Digits: -6},
	"bytes":            {Shift: 10},
	"bytes_per_second": {Shift: 10},
}

// Grid is that of the metric's values.
func (d Definition) Grid() Grid { return gridOfUnit[d.Unit] }

// rounded are the units whose values are means or rates: no digit beyond the grid was measured.
var rounded = map[string]bool{"ratio": true, "watts": true, "joules": true, "bytes_per_second": true}

// Round returns the value with the digits that mean something.
func (d Definition) Round(v float64) float64 {
	if !rounded[d.Unit] {
		return v
	}
	g := d.Grid()
	if k, ok := g.nearest(v); ok {
		return g.value(k)
	}
	return v
}

// maxSteps keeps k exact in a double.
const maxSteps = 1 << 53

var powersOfTen = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// valid bounds what a peer may ask for.
func (g Grid) valid() bool {
	return g.Digits > -len(powersOfTen) && g.Digits < len(powersOfTen) && g.Shift <= 40
}

// value is the double of a step. It multiplies or divides once by an exact power, so that both ends get the same bits.
func (g Grid) value(k int64) float64 {
	v := float64(k) * float64(uint64(1)<<g.Shift)
	if g.Digits < 0 {
		return v * powersOfTen[-g.Digits]
	}
	return v / powersOfTen[g.Digits]
}

// nearest is the step nearest to a value; false when it is not a number or too large.
func (g Grid) nearest(v float64) (int64, bool) {
	v /= float64(uint64(1) << g.Shift)
	if g.Digits < 0 {
		v /= powersOfTen[-g.Digits]
	} else {
		v *= powersOfTen[g.Digits]
	}
	v = math.RoundToEven(v)
	if !(math.Abs(v) < maxSteps) {
		return 0, false
	}
	return int64(v), true
}

// step is the step a value is on; false when it is on none, bit for bit.
func (g Grid) step(v float64) (int64, bool) {
	k, ok := g.nearest(v)
	return k, ok && math.Float64bits(g.value(k)) == math.Float64bits(v)
}
