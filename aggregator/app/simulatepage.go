package app

import (
	_ "embed" // the page
	"fmt"
	"html/template"
	"math"
	"slices"
	"time"

	"github.com/foretide/foretide/pkg/chart"
)

//go:embed simulate.html
var simulateHTML string

var simulatePage = template.Must(template.New("simulate").Parse(simulateHTML))

// flightPage is what the page shows.
type flightPage struct {
	Name, Policy, Other        string
	Findings, Summary, Columns []string
	Rows                       [][]string
	Whole, Hardest, Waiting    []plot
	HardestDay                 string
	Pareto                     []plot
}

// plot is one chart in SVG user units, which are CSS pixels at the width it is drawn for: text that scaled with the picture could not be
// read on a telephone.
type plot struct {
	Class, Label                    string
	Width, Height, Left, Top, Floor float64
	Levels, Times                   []chart.Mark
	Paths                           []stroke
	Points                          []dot
}

// stroke is a path, and what it stands for.
type stroke struct{ Class, Path string }

// dot is a point with its name beside it.
type dot struct {
	Class, Name, Anchor  string
	X, Y, LabelX, LabelY float64
}

// plots draws for a wide and for a narrow window.
func plots(label string, draw func(*plot)) []plot {
	all := []plot{
		{Class: "wide", Label: label, Width: 960, Height: 260, Left: 52, Top: 10, Floor: 238},
		{Class: "narrow", Label: label, Width: 340, Height: 220, Left: 42, Top: 10, Floor: 198},
	}
	for i := range all {
		draw(&all[i])
	}
	return all
}

func (p *plot) narrow() bool { return p.Class == "narrow" }

// across is where a share of the width lies, and up a share of the height.
func (p *plot) across(share float64) float64 { return p.Left + (p.Width-p.Left)*share }
func (p *plot) up(share float64) float64     { return p.Floor - (p.Floor-p.Top)*share }

// height has the axis begin at 0 and end at a level at or above the top.
func (p *plot) height(top float64, whole bool) (y func(float64) float64) {
	levels := chart.Levels(top, whole)
	top = levels[len(levels)-1]
	y = func(v float64) float64 { return p.up(v / top) }
	for _, v := range levels {
		p.Levels = append(p.Levels, chart.Mark{X: p.Left - 6, Y: math.Round(y(v)), Label: fmt.Sprintf("%.4g", v)})
	}
	return y
}

func (s *simulation) page() flightPage {
	page := flightPage{
		Name: s.name, Policy: s.policySeen.name, Other: s.otherSeen.name, Findings: s.findings(), Summary: s.summary(), Columns: outcomeColumns, Rows: s.rows(),
	}
	n := len(s.trace.Offered)
	page.Whole = plots("Demand and the GPUs of ready pods", func(p *plot) { s.draw(p, 0, n) })
	day := min(n, int(24*time.Hour/s.world.Step))
	hardest := s.hardest(day)
	page.Hardest = plots("The same on the hardest day", func(p *plot) { s.draw(p, hardest, hardest+day) })
	page.HardestDay = s.trace.Start.Add(time.Duration(hardest) * s.world.Step).Format("Mon 2 Jan 2006")
	page.Waiting = plots("Work that waits", func(p *plot) { s.drawWaiting(p) })
	page.Pareto = plots("GPU-hours and minutes short of each policy", s.drawPareto)
	return page
}

// hardest is the first step of the day in which the most work waited, with whoever it did; of the flight where it has no whole day.
func (s *simulation) hardest(day int) int {
	best, most := 0, -1.0
	midnight := s.trace.Start.Add(24*time.Hour - 1).Truncate(24 * time.Hour)
	first := int(midnight.Sub(s.trace.Start) / s.world.Step)
	for from := first; from+day <= len(s.trace.Offered); from += day {
		sum := 0.0
		for _, seen := range []seen{s.otherSeen, s.policySeen} {
			for i := from; i < min(from+day, len(seen.waiting)); i++ {
				if v := seen.waiting[i]; v > 0 {
					sum += v
				}
			}
		}
		if sum > most {
			best, most = from, sum
		}
	}
	return best
}

// draw draws demand and capacity from a step up to another.
func (s *simulation) draw(p *plot, from, to int) {
	x := func(i int) float64 { return p.across(float64(i) / float64(to-from)) }
	lines := []struct {
		class  string
		values []float64
		path   func([]chart.Column, func(float64) float64) string
	}{{"demand", s.trace.Offered, chart.Line}, {"other", s.otherSeen.capacity, chart.Steps}, {"policy", s.policySeen.capacity, chart.Steps}}
	top := 0.0
	for i, l := range lines {
		if l.values = l.values[min(from, len(l.values)):min(to, len(l.values))]; len(l.values) > 0 {
			top = max(top, slices.Max(l.values))
		}
		lines[i] = l
	}
	y := p.height(top, false)
	for _, l := range lines {
		p.Paths = append(p.Paths, stroke{l.class, l.path(chart.Columns(l.values, x), y)})
	}
	s.times(p, from, to)
}

// drawWaiting draws what waits, in minutes of one GPU.
func (s *simulation) drawWaiting(p *plot) {
	n := len(s.trace.Offered)
	x := func(i int) float64 { return p.across(float64(i) / float64(n)) }
	top := 0.0
	minutes := map[string][]float64{}
	for class, seen := range map[string]seen{"other": s.otherSeen, "policy": s.policySeen} {
		for _, v := range seen.waiting {
			if !math.IsNaN(v) {
				top = max(top, v/60)
			}
			minutes[class] = append(minutes[class], v/60)
		}
	}
	y := p.height(top, false)
	for _, class := range []string{"other", "policy"} {
		p.Paths = append(p.Paths, stroke{class, chart.Line(chart.Columns(minutes[class], x), y)})
	}
	s.times(p, 0, n)
}

// times marks the days, or the hours where there is only one or two, as many as there is room for.
func (s *simulation) times(p *plot, from, to int) {
	begin, length := s.trace.Start.Add(time.Duration(from)*s.world.Step), time.Duration(to-from)*s.world.Step
	room := (p.Width - p.Left) / 70
	every, layout := time.Hour, "15:04"
	for _, every = range []time.Duration{time.Hour, 3 * time.Hour, 6 * time.Hour, 24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour, 56 * 24 * time.Hour} {
		if float64(length)/float64(every) <= room {
			break
		}
	}
	if every >= 24*time.Hour {
		layout = "2 Jan"
	}
	for t := begin.Add(every - 1).Truncate(every); t.Before(begin.Add(length)); t = t.Add(every) {
		m := chart.Mark{Line: math.Round(p.across(float64(t.Sub(begin)) / float64(length))), Y: p.Height - 6}
		if m.X = m.Line; m.X > p.Left+14 && m.X < p.Width-18 {
			m.Label = t.Format(layout)
		}
		p.Times = append(p.Times, m)
	}
}

// drawPareto draws GPU-hours against minutes short: the policies as points, HorizontalPodAutoscalers as a curve over their targets. Minutes
// are on a scale of square roots, which has room for few of them beside many. What costs far more than the rest stands at the edge.
func (s *simulation) drawPareto(p *plot) {
	least, most, top := math.Inf(1), 0.0, 0.0
	edge := 1.5 * max(s.oracle.GPUHours, s.flown[0].GPUHours) // so that one that costs several times as much does not squeeze the others
	for _, o := range append([]outcome{s.oracle}, s.flown...) {
		least, most, top = min(least, o.GPUHours), max(most, min(edge, o.GPUHours)), max(top, o.Short.Minutes())
	}
	width := max(most-least, 0.02*most)
	least, most = least-0.06*width, most+0.06*width
	levels := chart.Levels(math.Sqrt(1.05*top), false)
	x := func(o outcome) float64 { return p.across((o.GPUHours - least) / (most - least)) }
	y := func(minutes float64) float64 { return p.up(math.Sqrt(minutes) / levels[len(levels)-1]) }
	for _, v := range levels {
		p.Levels = append(p.Levels, chart.Mark{X: p.Left - 6, Y: math.Round(y(v * v)), Label: fmt.Sprintf("%.4g", v*v)})
	}
	step := chart.Levels(most-least, false)[1]
	if p.narrow() {
		step *= 2
	}
	for v := math.Ceil(least/step) * step; v < most; v += step {
		at := math.Round(p.across((v - least) / (most - least)))
		p.Times = append(p.Times, chart.Mark{X: at, Line: at, Y: p.Height - 6, Label: fmt.Sprintf("%.5g", v)})
	}
	curve := ""
	for i, o := range s.hpas {
		curve += fmt.Sprintf("%c%.1f %.1f", "ML"[min(i, 1)], x(o), y(o.Short.Minutes()))
		if o.GPUHours >= least && o.GPUHours <= most && y(o.Short.Minutes()) >= p.Top {
			p.Points = append(p.Points, dot{Class: "target", Name: fmt.Sprintf("hpa at %.0f %%", 100*o.target), X: x(o), Y: y(o.Short.Minutes())})
		}
	}
	p.Paths = append(p.Paths, stroke{"other", curve})
	named := slices.Clone(s.flown)
	for i, o := range named {
		if o.GPUHours > most {
			named[i].name, named[i].GPUHours = fmt.Sprintf("%s: %.0f →", o.name, o.GPUHours), most-0.02*width
		}
	}
	p.name(named, x, func(o outcome) float64 { return y(o.Short.Minutes()) })
}
