package app

import (
	_ "embed" // the page
	"fmt"
	"html/template"
	"math"
	"time"

	"github.com/foretide/foretide/pkg/chart"
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

// chartPage is what the page shows.
type chartPage struct {
	Name                       string
	Summary, Columns           []string
	Rows                       [][]string
	Width, Height, Left, Floor float64
	Days, Levels               []chart.Mark
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
	levels := chart.Levels(b.highest(first, drawn), false)
	top := levels[len(levels)-1]
	x := func(i int) float64 { return chartLeft + (chartWidth-chartLeft)*float64(i-first)/float64(n-first) }
	y := func(v float64) float64 { return chartTop + (chartHeight-chartBottom-chartTop)*(1-v/top) }
	page.Actual = chart.Line(chart.Columns(b.values[first:], func(i int) float64 { return x(first + i) }), y)
	for _, p := range drawn {
		columns := func(band int) []chart.Column {
			return chart.Columns(p.bands[band], func(i int) float64 { return x(p.origin + i) })
		}
		page.Medians = append(page.Medians, chart.Line(columns(1), y))
		page.Bands = append(page.Bands, chart.Band(columns(0), columns(2), y))
	}
	for t := b.time(first - 1).Truncate(24 * time.Hour).Add(24 * time.Hour); t.Before(b.time(n)); t = t.Add(24 * time.Hour) {
		at := x(first + int(t.Sub(b.time(first))/b.step))
		page.Days = append(page.Days, chart.Mark{X: math.Round(at), Y: chartHeight - 6, Label: t.Format("Mon 2 Jan")})
	}
	for _, v := range levels {
		page.Levels = append(page.Levels, chart.Mark{X: chartLeft - 6, Y: math.Round(y(v)), Label: fmt.Sprintf("%.4g", v)})
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
