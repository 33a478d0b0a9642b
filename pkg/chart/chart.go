// Package chart writes the lines of charts as SVG paths, small whatever the series' length: at most one point for each unit of the width.
package chart

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Mark is a label on an axis and the line that belongs to it, in SVG user units.
type Mark struct {
	X, Y, Line float64
	Label      string
}

// Levels are the labels of an axis from 0 to the top or a little more, in steps of 1, 2, 2.5 or 5; whole ones are whole numbers.
func Levels(top float64, whole bool) []float64 {
	if math.IsNaN(top) || top <= 0 {
		top = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(top/4)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if top/(m*step) <= 5 && !(whole && m == 2.5) {
			step *= m
			break
		}
	}
	if whole {
		step = max(step, 1)
	}
	out := []float64{0}
	for i := 1; ; i++ {
		out = append(out, float64(i)*step)
		if out[i] >= top*(1-1e-9) {
			return out
		}
	}
}

// Column is the smallest and the largest value that one unit of the width has; NaN is none.
type Column struct{ At, Low, High float64 }

// Columns puts at most one point on a unit of the width, so that a week is no megabyte and no peak is lost. x is where value i lies.
func Columns(values []float64, x func(i int) float64) (out []Column) {
	for i, v := range values {
		at := math.Round(x(i))
		n := len(out) - 1
		switch {
		case n < 0 || out[n].At != at:
			out = append(out, Column{at, v, v})
		case math.IsNaN(out[n].High):
			out[n].Low, out[n].High = v, v
		case !math.IsNaN(v):
			out[n].Low, out[n].High = min(out[n].Low, v), max(out[n].High, v)
		}
	}
	return out
}

// point is one of a path, its height as it is written.
type point struct {
	x float64
	y string
}

// Line goes through the largest values; what is not known breaks it. y is the height of a value.
func Line(columns []Column, y func(float64) float64) string { return line(columns, y, false) }

// Steps is a line of values that stay as they are until they change, such as replicas.
func Steps(columns []Column, y func(float64) float64) string { return line(columns, y, true) }

func line(columns []Column, y func(float64) float64, steps bool) string {
	var b strings.Builder
	var stretch []point
	for _, p := range columns {
		if math.IsNaN(p.High) {
			draw(&b, stretch)
			stretch = nil
			continue
		}
		height := fmt.Sprintf("%.1f", y(p.High))
		if n := len(stretch); steps && n > 0 && stretch[n-1].y != height {
			stretch = append(stretch, point{p.At, stretch[n-1].y})
		}
		stretch = append(stretch, point{p.At, height})
	}
	draw(&b, stretch)
	return b.String()
}

// draw writes a stretch without the points between two of the same height.
func draw(b *strings.Builder, stretch []point) {
	for i, p := range stretch {
		switch {
		case i == 0:
			fmt.Fprintf(b, "M%.0f %s", p.x, p.y)
		case i+1 < len(stretch) && p.y == stretch[i-1].y && p.y == stretch[i+1].y:
		default:
			fmt.Fprintf(b, "L%.0f %s", p.x, p.y)
		}
	}
	if len(stretch) == 1 { // a dot, which a line of no length is not
		fmt.Fprintf(b, "h1")
	}
}

// Band goes along the upper line and back along the lower one, once for each stretch in which both are known.
func Band(lower, upper []Column, y func(float64) float64) string {
	var b strings.Builder
	var there, back []point
	flush := func() {
		if len(there) > 0 {
			slices.Reverse(back)
			draw(&b, append(there, back...))
			b.WriteByte('Z')
		}
		there, back = nil, nil
	}
	for i := range min(len(lower), len(upper)) {
		low, high := lower[i].Low, upper[i].High
		if math.IsNaN(low) || math.IsNaN(high) {
			flush()
			continue
		}
		there = append(there, point{upper[i].At, fmt.Sprintf("%.1f", y(high))})
		back = append(back, point{upper[i].At, fmt.Sprintf("%.1f", y(low))})
	}
	flush()
	return b.String()
}
