package app

import (
	"cmp"
	"slices"
)

// The size of a label's text, in SVG user units.
const letterWidth, lineHeight = 6.5, 13.0

// box is a part of a plot that is taken.
type box struct{ left, right, top, bottom float64 }

func (b box) meets(o box) bool {
	return b.left < o.right && o.left < b.right && b.top < o.bottom && o.top < b.bottom
}

// name puts a point for each policy, the first of which is whose page it is, with its name beside it where there is room.
func (p *plot) name(all []outcome, x, y func(outcome) float64) {
	var dots []dot
	var taken []box
	for i, o := range all {
		d := dot{Class: "peer", Name: o.name, X: x(o), Y: y(o)}
		switch {
		case i == 0:
			d.Class = "policy"
		case o.name == "oracle":
			d.Class = "oracle"
		}
		dots, taken = append(dots, d), append(taken, box{d.X - 6, d.X + 6, d.Y - 6, d.Y + 6})
	}
	slices.SortStableFunc(dots, func(a, b dot) int { return cmp.Compare(a.Y, b.Y) }) // many lie on the floor, and have what is left
	for _, d := range dots {
		d, at := p.label(d, taken)
		p.Points, taken = append(p.Points, d), append(taken, at)
	}
}

// label puts a name to the nearest place beside its point that is free: above or below, to the right or to the left.
func (p *plot) label(d dot, taken []box) (dot, box) {
	length := letterWidth * float64(len([]rune(d.Name)))
	put := func(anchor string, y float64) box {
		d.Anchor, d.LabelX, d.LabelY = anchor, d.X+4, y
		if anchor == "end" {
			d.LabelX = d.X - 4
			return box{d.LabelX - length, d.LabelX, y - lineHeight, y}
		}
		return box{d.LabelX, d.LabelX + length, y - lineHeight, y}
	}
	for away := 0.0; away < 8*lineHeight; away += lineHeight {
		for _, y := range []float64{d.Y - 8 - away, d.Y + 17 + away} {
			for _, anchor := range []string{"start", "end"} {
				at := put(anchor, y)
				if at.left > p.Left && at.right < p.Width && at.top > 0 && at.bottom < p.Floor && !slices.ContainsFunc(taken, at.meets) {
					return d, at
				}
			}
		}
	}
	at := put("start", d.Y-8)
	return d, at
}
