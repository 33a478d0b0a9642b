package ui

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Line is a series on a regular grid; NaN is absent and leaves a gap.
type Line struct {
	Start  time.Time
	Step   time.Duration
	Values []float64
}

// The drawing area in SVG user units, and how much time is shown on each side of now.
const (
	width, height = 860.0, 220.0
	left, bottom  = 46.0, 24.0
	headroom      = 8.0 // for half a line of text above the topmost label
	span          = 24 * time.Hour
)

type tick struct {
	X, Y  float64
	Label string
}

type chart struct {
	Width, Height, Left, Bottom float64
	Now                         float64
	Actual, Earlier             string
	Mean, Upper                 string
	Hours, Levels               []tick
	Empty                       bool
}

// draw scales the four lines to one pair of axes: a day back, a day ahead, from zero to a little over the largest value.
func draw(now time.Time, actual, earlier, mean, upper Line) chart {
	from, to := now.Add(-span), now.Add(span)
	top := max(largest(actual, from, to), largest(earlier, from, to), largest(mean, from, to), largest(upper, from, to))
	c := chart{Width: width, Height: height, Left: left, Bottom: height - bottom, Empty: top == 0}
	top = ceiling(top)
	x := func(t time.Time) float64 {
		return left + (width-left)*float64(t.Sub(from))/float64(to.Sub(from))
	}
	y := func(v float64) float64 { return headroom + (height-bottom-headroom)*(1-v/top) }
	c.Now = x(now)
	c.Actual, c.Earlier = path(actual, from, to, x, y), path(earlier, from, to, x, y)
	c.Mean, c.Upper = path(mean, from, to, x, y), path(upper, from, to, x, y)
	for t := from.Truncate(6 * time.Hour).Add(6 * time.Hour); t.Before(to); t = t.Add(6 * time.Hour) {
		if at := x(t); at < width-18 { // half a label
			c.Hours = append(c.Hours, tick{X: at, Y: height - 6, Label: t.UTC().Format("15:04")})
		}
	}
	for i := 1; i <= 4; i++ {
		v := top * float64(i) / 4
		c.Levels = append(c.Levels, tick{X: left - 6, Y: y(v), Label: fmt.Sprintf("%.3g", v)})
	}
	return c
}

func largest(l Line, from, to time.Time) float64 {
	var top float64
	for i, v := range l.Values {
		t := l.Start.Add(time.Duration(i) * l.Step)
		if !math.IsNaN(v) && !t.Before(from) && t.Before(to) {
			top = max(top, v)
		}
	}
	return top
}

// ceiling rounds up to the top of an axis: so little that a line fills it, and to a number whose quarters have short labels.
func ceiling(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8} {
		if v <= m*unit {
			return m * unit
		}
	}
	return 10 * unit
}

// path draws at most one point per user unit, the largest of those that share it, so that peaks are not lost.
func path(l Line, from, to time.Time, x func(time.Time) float64, y func(float64) float64) string {
	var b strings.Builder
	pen := false
	var column, peak float64
	flush := func() {
		if math.IsNaN(peak) {
			return
		}
		command := 'M'
		if pen {
			command = 'L'
		}
		fmt.Fprintf(&b, "%c%.0f %.1f", command, column, y(peak))
		pen = true
	}
	column, peak = -1, math.NaN()
	for i, v := range l.Values {
		t := l.Start.Add(time.Duration(i) * l.Step)
		if t.Before(from) || !t.Before(to) {
			continue
		}
		if math.IsNaN(v) {
			flush()
			pen, peak = false, math.NaN()
			continue
		}
		if at := math.Floor(x(t)); at != column {
			flush()
			column, peak = at, v
			continue
		}
		peak = max(peak, v)
	}
	flush()
	return b.String()
}
