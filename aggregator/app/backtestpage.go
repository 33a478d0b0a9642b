package app

import (
	_ "embed" // the page
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"github.com/foretide/foretide/aggregator/ui"
)

//go:embed backtest.html
var backtestHTML string

var backtestPage = template.Must(template.New("backtest").Parse(backtestHTML))

// The chart in SVG user units.
const (
	chartWidth, chartHeight = 960.0, 320.0
	chartLeft, chartBottom  = 52.0, 24.0
	chartTop                = 8.0
)

// mark is a label on an axis.
type mark struct {
	X, Y  float64
	Label string
}

// chartPage is what the page shows.
type chartPage struct {
	Name                       string
	Summary, Columns           []string
	Rows                       [][]string
	Width, Height, Left, Floor float64
	Days, Levels               []mark
	Actual                     string
	Bands, Medians             []string
}

// page draws one forecast a day, each until the next one begins.
func (b *backtest) page() chartPage {
	n, day := len(b.values), int(24*time.Hour/b.step)
	var drawn []past
	for _, p := range b.made {
		if (n-p.origin)%day == 0 {
			drawn = append(drawn, p)
		}
	}
	page := chartPage{Name: b.name, Summary: b.summary(), Columns: columns, Width: chartWidth, Height: chartHeight, Left: chartLeft, Floor: chartHeight - chartBottom}
	for _, a := range b.accuracy() {
		page.Rows = append(page.Rows, a.cells())
	}
	first := max(0, n-backtestDays*day)
	top := ui.Ceiling(b.highest(first, drawn))
	x := func(i int) float64 { return chartLeft + (chartWidth-chartLeft)*float64(i-first)/float64(n-first) }
	y := func(v float64) float64 { return chartTop + (chartHeight-chartBottom-chartTop)*(1-v/top) }
	page.Actual = path(b.values[first:], func(i int) float64 { return x(first + i) }, y)
	for _, p := range drawn {
		at := func(j int) float64 { return x(p.origin + j) }
		page.Medians = append(page.Medians, path(p.bands[1], at, y))
		page.Bands = append(page.Bands, outline(p.bands[0], p.bands[2], at, y))
	}
	for t := b.time(first - 1).Truncate(24 * time.Hour).Add(24 * time.Hour); t.Before(b.time(n)); t = t.Add(24 * time.Hour) {
		at := x(first + int(t.Sub(b.time(first))/b.step))
		page.Days = append(page.Days, mark{X: math.Round(at), Y: chartHeight - 6, Label: t.Format("Mon 2 Jan")})
	}
	for i := range 5 {
		v := top * float64(i) / 4
		page.Levels = append(page.Levels, mark{X: chartLeft - 6, Y: math.Round(y(v)), Label: fmt.Sprintf("%.4g", v)})
	}
	return page
}

// highest is the largest value to draw.
func (b *backtest) highest(first int, drawn []past) float64 {
	top := 0.0
	for _, v := range b.values[first:] {
		if !math.IsNaN(v) {
			top = max(top, v)
		}
	}
	for _, p := range drawn {
		for _, v := range p.bands[2] {
			top = max(top, v)
		}
	}
	return top
}

// path is a line through the values; what is missing breaks it.
func path(values []float64, x func(int) float64, y func(float64) float64) string {
	var b strings.Builder
	command := 'M'
	for i, v := range values {
		if math.IsNaN(v) {
			command = 'M'
			continue
		}
		fmt.Fprintf(&b, "%c%.1f %.1f", command, x(i), y(v))
		command = 'L'
	}
	return b.String()
}

// outline goes along the upper line and back along the lower one.
func outline(lower, upper []float64, x func(int) float64, y func(float64) float64) string {
	var b strings.Builder
	b.WriteString(path(upper, x, y))
	for i := len(lower) - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "L%.1f %.1f", x(i), y(lower[i]))
	}
	return b.String() + "Z"
}
