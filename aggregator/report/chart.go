package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// plot is one chart in SVG user units, which are CSS pixels at the width it is drawn for: text that scaled with the picture could not be
// read on a telephone.
type plot struct {
	Class, Label                    string
	Width, Height, Left, Top, Floor float64
	Now, NowX, NowY                 float64
	Actual, Predicted, Median, Band string
	Days, Levels                    []mark
	Empty                           bool
}

// mark is a label on an axis and the line that belongs to it.
type mark struct {
	X, Y, Line float64
	Label      string
}

// chart is what a plot shows.
type chart struct {
	label             string
	actual, predicted Line
	median            Line // the lower edge of the band, whose upper one is predicted; no values = no band
	whole             bool // values are whole numbers and stay as they are until they change
	now               time.Time
	location          *time.Location
}

// plots draw a chart for a wide and for a narrow window.
func (c chart) plots() []plot {
	return []plot{
		c.draw(plot{Class: "wide", Width: 960, Height: 260, Left: 44, Top: 10}, 1),
		c.draw(plot{Class: "narrow", Width: 340, Height: 220, Left: 34, Top: 10}, 2),
	}
}

// draw fills a plot; every so many days has a label.
func (c chart) draw(p plot, every int) plot {
	p.Label, p.Floor = c.label, p.Height-22
	from, to := c.actual.Start, c.now.Add(Ahead)
	top := largest([]float64{largest(c.actual.Values), largest(c.predicted.Values), largest(c.median.Values)})
	p.Empty = math.IsNaN(top)
	levels := levels(top, c.whole)
	top = levels[len(levels)-1]
	x := func(t time.Time) float64 {
		return p.Left + (p.Width-p.Left)*float64(t.Sub(from))/float64(to.Sub(from))
	}
	y := func(v float64) float64 { return p.Top + (p.Floor-p.Top)*(1-v/top) }
	p.Now = math.Round(x(c.now))
	p.NowX, p.NowY = p.Now-4, p.Top+8
	p.Actual, p.Predicted, p.Median = c.path(c.actual, x, y), c.path(c.predicted, x, y), c.path(c.median, x, y)
	p.Band = band(columns(c.median, x), columns(c.predicted, x), y)
	for i, day := 0, midnight(from.In(c.location)); day.Before(to); i, day = i+1, day.AddDate(0, 0, 1) {
		m := mark{Line: math.Round(x(day))}
		// A day's name stands under its middle.
		m.X, m.Y = math.Round((x(day)+x(day.AddDate(0, 0, 1)))/2), p.Height-6
		if i%every == 0 && m.X < p.Width-24 && m.X > p.Left+20 {
			m.Label = day.Format("Mon 2 Jan")
		}
		p.Days = append(p.Days, m)
	}
	for _, v := range levels {
		p.Levels = append(p.Levels, mark{X: p.Left - 6, Y: math.Round(y(v)), Label: fmt.Sprintf("%.4g", v)})
	}
	return p
}

// midnight is the first at or after a time, by its clock.
func midnight(t time.Time) time.Time {
	day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
	if day.Before(t) {
		day = day.AddDate(0, 0, 1)
	}
	return day
}

// levels are the labels of an axis from 0 to the top or a little more, in steps of 1, 2 or 5.
func levels(top float64, whole bool) []float64 {
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
	for v := step; ; v += step {
		out = append(out, v)
		if v >= top*(1-1e-9) {
			return out
		}
	}
}

// column is the smallest and the largest value that one unit of the width has; NaN = none.
type column struct{ at, low, high float64 }

// columns puts at most one point on a unit of the width, so that a week is no megabyte and no peak is lost.
func columns(l Line, x func(time.Time) float64) (out []column) {
	for i, v := range l.Values {
		at := math.Round(x(l.Start.Add(time.Duration(i+1) * l.Step)))
		n := len(out) - 1
		switch {
		case n < 0 || out[n].at != at:
			out = append(out, column{at, v, v})
		case math.IsNaN(out[n].high):
			out[n].low, out[n].high = v, v
		case !math.IsNaN(v):
			out[n].low, out[n].high = min(out[n].low, v), max(out[n].high, v)
		}
	}
	return out
}

// point is one of a path, its height as it is written.
type point struct {
	x float64
	y string
}

// path is a line through the largest values; what is not known breaks it. Whole numbers stay as they are until they change.
func (c chart) path(l Line, x func(time.Time) float64, y func(float64) float64) string {
	var b strings.Builder
	var stretch []point
	for _, p := range columns(l, x) {
		if math.IsNaN(p.high) {
			draw(&b, stretch)
			stretch = nil
			continue
		}
		height := fmt.Sprintf("%.1f", y(p.high))
		if n := len(stretch); c.whole && n > 0 && stretch[n-1].y != height {
			stretch = append(stretch, point{p.at, stretch[n-1].y})
		}
		stretch = append(stretch, point{p.at, height})
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

// band goes along the upper line and back along the lower one, once for each stretch in which both are known.
func band(lower, upper []column, y func(float64) float64) string {
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
		low, high := lower[i].low, upper[i].high
		if math.IsNaN(low) || math.IsNaN(high) {
			flush()
			continue
		}
		there = append(there, point{upper[i].at, fmt.Sprintf("%.1f", y(high))})
		back = append(back, point{upper[i].at, fmt.Sprintf("%.1f", y(low))})
	}
	flush()
	return b.String()
}
