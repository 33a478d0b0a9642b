package report

import (
	"fmt"
	"math"
	"time"

	"github.com/foretide/foretide/pkg/chart"
)

// plot is one chart in SVG user units, which are CSS pixels at the width it is drawn for: text that scaled with the picture could not be
// read on a telephone.
type plot struct {
	Class, Label                    string
	Width, Height, Left, Top, Floor float64
	Now, NowX, NowY                 float64
	Actual, Predicted, Median, Band string
	Days, Levels                    []chart.Mark
	Empty                           bool
}

// picture is what a plot shows.
type picture struct {
	label             string
	actual, predicted Line
	median            Line // the lower edge of the band, whose upper one is predicted; no values = no band
	whole             bool // values are whole numbers and stay as they are until they change
	now               time.Time
	location          *time.Location
}

// plots draw a picture for a wide and for a narrow window.
func (c picture) plots() []plot {
	return []plot{
		c.draw(plot{Class: "wide", Width: 960, Height: 260, Left: 44, Top: 10}, 1),
		c.draw(plot{Class: "narrow", Width: 340, Height: 220, Left: 34, Top: 10}, 2),
	}
}

// draw fills a plot; every so many days has a label.
func (c picture) draw(p plot, every int) plot {
	p.Label, p.Floor = c.label, p.Height-22
	from, to := c.actual.Start, c.now.Add(Ahead)
	top := largest([]float64{largest(c.actual.Values), largest(c.predicted.Values), largest(c.median.Values)})
	p.Empty = math.IsNaN(top)
	levels := chart.Levels(top, c.whole)
	top = levels[len(levels)-1]
	x := func(t time.Time) float64 {
		return p.Left + (p.Width-p.Left)*float64(t.Sub(from))/float64(to.Sub(from))
	}
	y := func(v float64) float64 { return p.Top + (p.Floor-p.Top)*(1-v/top) }
	p.Now = math.Round(x(c.now))
	p.NowX, p.NowY = p.Now-4, p.Top+8
	columns := func(l Line) []chart.Column {
		return chart.Columns(l.Values, func(i int) float64 { return x(l.Start.Add(time.Duration(i+1) * l.Step)) })
	}
	line := chart.Line
	if c.whole {
		line = chart.Steps
	}
	p.Actual, p.Predicted, p.Median = line(columns(c.actual), y), line(columns(c.predicted), y), line(columns(c.median), y)
	p.Band = chart.Band(columns(c.median), columns(c.predicted), y)
	for i, day := 0, midnight(from.In(c.location)); day.Before(to); i, day = i+1, day.AddDate(0, 0, 1) {
		m := chart.Mark{Line: math.Round(x(day))}
		// A day's name stands under its middle.
		m.X, m.Y = math.Round((x(day)+x(day.AddDate(0, 0, 1)))/2), p.Height-6
		if i%every == 0 && m.X < p.Width-24 && m.X > p.Left+20 {
			m.Label = day.Format("Mon 2 Jan")
		}
		p.Days = append(p.Days, m)
	}
	for _, v := range levels {
		p.Levels = append(p.Levels, chart.Mark{X: p.Left - 6, Y: math.Round(y(v)), Label: fmt.Sprintf("%.4g", v)})
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
