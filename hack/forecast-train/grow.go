package main

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/foretide/foretide/pkg/trees"
)

// plan is how a forest is grown.
type plan struct {
	trees, leaves int
	least         float64 // weight of the rows that a leaf needs, where 1 is that of a mean row
	rate          float64 // share of a leaf's step that is taken
	prior         float64 // weight of the rows that say nothing needs to move, in every leaf
	rows, columns float64 // share of rows and features that a tree sees
	seed          uint64
}

const bins = 48 // steps of a feature that are told apart

// sample is what a forest learns from: rows of features, the truth, and the quantiles that are to be moved.
type sample struct {
	levels    []float64
	features  [][]float32 // [row][feature]
	truth     []float32   // [row]
	quantiles [][]float32 // [row][level]; grow moves them
	weight    []float32   // [row], mean 1: of the levels up to 0.9, where accuracy counts
	even      []float32   // [row], mean 1: of the levels above, where it counts how often they hold
}

// grower keeps what the trees have in common.
type grower struct {
	*sample
	plan
	cuts   [][]float32 // [feature] between bins, ascending
	binned [][]uint8   // [feature][row]
	slopes []float32   // [row][level]: of the quantile loss; then the two weights
	width  int         // of a row of slopes
	steps  []float64   // [level] from a mean slope to a distance
}

// grow returns a forest that moves the quantiles to where their loss is least: gradient boosting (Friedman 2001) of all levels at
// once, a tree's cuts being those that serve the levels together.
func grow(s *sample, p plan) *trees.Forest {
	g := &grower{sample: s, plan: p, width: len(s.levels) + 2}
	g.bin()
	g.slopes = make([]float32, len(s.features)*g.width)
	for _, level := range s.levels {
		// Residuals in units of their spread have about the density 1.7·level·(1-level) at a level (a logistic distribution's).
		g.steps = append(g.steps, p.rate*min(8, 1/(1.7*level*(1-level))))
	}
	f := &trees.Forest{Features: len(s.features[0]), Outputs: len(s.levels)}
	r := rand.New(rand.NewPCG(p.seed, 1))
	for range p.trees {
		g.slope()
		t := g.tree(g.pick(r))
		f.Trees = append(f.Trees, t)
		one := trees.Forest{Features: f.Features, Outputs: f.Outputs, Trees: []trees.Tree{t}}
		for i, x := range s.features {
			one.Add(x, s.quantiles[i])
		}
	}
	return f
}

// bin cuts each feature into bins of about as many rows.
func (g *grower) bin() {
	n := len(g.features)
	values := make([]float32, n)
	for f := range g.features[0] {
		for i, x := range g.features {
			values[i] = x[f]
		}
		slices.Sort(values)
		var cuts []float32
		for k := 1; k < bins; k++ {
			if v := values[k*n/bins]; len(cuts) == 0 && v > values[0] || len(cuts) > 0 && v > cuts[len(cuts)-1] {
				cuts = append(cuts, v)
			}
		}
		binned := make([]uint8, n)
		for i, x := range g.features {
			k, found := slices.BinarySearch(cuts, x[f])
			if found {
				k++ // what is at a cut lies above it
			}
			binned[i] = uint8(k)
		}
		g.cuts, g.binned = append(g.cuts, cuts), append(g.binned, binned)
	}
}

// slope takes how the loss of every row falls when a quantile rises.
func (g *grower) slope() {
	for i, y := range g.truth {
		row := g.slopes[i*g.width : (i+1)*g.width]
		for l, level := range g.levels {
			w := g.weight[i]
			if level > 0.9 {
				w = g.even[i]
			}
			row[l] = w * float32(level)
			if y < g.quantiles[i][l] {
				row[l] -= w
			}
		}
		row[len(g.levels)], row[len(g.levels)+1] = g.weight[i], g.even[i]
	}
}

// pick chooses the rows and the features that a tree sees.
func (g *grower) pick(r *rand.Rand) (rows []int32, columns []int) {
	for i := range g.features {
		if r.Float64() < g.rows {
			rows = append(rows, int32(i))
		}
	}
	for f := range g.cuts {
		if len(g.cuts[f]) > 0 && r.Float64() < g.columns {
			columns = append(columns, f)
		}
	}
	return rows, columns
}

// leaf is a part of the rows, and the best way to cut it in two.
type leaf struct {
	rows    []int32
	parent  int       // cut that leads here, -1 at the root
	below   bool      // on which side
	sums    []float32 // [column][bin] slopes
	total   []float64
	gain    float64
	feature int
	bin     int
}

func (g *grower) tree(rows []int32, columns []int) trees.Tree {
	root := &leaf{rows: rows, parent: -1, sums: g.sums(rows, columns), total: g.total(rows)}
	g.cut(root, columns)
	leaves := []*leaf{root}
	var t trees.Tree
	for len(leaves) < g.leaves {
		best := slices.IndexFunc(leaves, func(l *leaf) bool {
			return l.gain == slices.MaxFunc(leaves, func(a, b *leaf) int { return cmp.Compare(a.gain, b.gain) }).gain
		})
		l := leaves[best]
		if l.gain <= 1e-9 {
			break
		}
		index := len(t.Cuts)
		t.Cuts = append(t.Cuts, trees.Cut{At: g.cuts[l.feature][l.bin], Feature: uint16(l.feature)})
		lead(&t, l, index)
		below, above := &leaf{parent: index, below: true}, &leaf{parent: index}
		for _, i := range l.rows {
			if int(g.binned[l.feature][i]) <= l.bin {
				below.rows = append(below.rows, i)
			} else {
				above.rows = append(above.rows, i)
			}
		}
		small, large := below, above
		if len(small.rows) > len(large.rows) {
			small, large = large, small
		}
		small.sums, large.sums = g.sums(small.rows, columns), l.sums
		for k, v := range small.sums {
			large.sums[k] -= v
		}
		for _, side := range []*leaf{below, above} {
			side.total = g.total(side.rows)
			g.cut(side, columns)
		}
		leaves[best] = below
		leaves = append(leaves, above)
	}
	for k, l := range leaves {
		lead(&t, l, -1-k)
		n := len(g.levels)
		for q, level := range g.levels {
			weight := l.total[n]
			if level > 0.9 {
				weight = l.total[n+1]
			}
			t.Values = append(t.Values, float32(g.steps[q]*l.total[q]/(weight+g.prior)))
		}
	}
	return t
}

// lead makes the cut that a leaf hangs on lead to next.
func lead(t *trees.Tree, l *leaf, next int) {
	switch {
	case l.parent < 0:
	case l.below:
		t.Cuts[l.parent].Below = int16(next)
	default:
		t.Cuts[l.parent].Above = int16(next)
	}
}

func (g *grower) sums(rows []int32, columns []int) []float32 {
	sums := make([]float32, len(columns)*bins*g.width)
	for k, f := range columns {
		of, binned := sums[k*bins*g.width:(k+1)*bins*g.width], g.binned[f]
		for _, i := range rows {
			to := of[int(binned[i])*g.width : (int(binned[i])+1)*g.width]
			for q, v := range g.slopes[int(i)*g.width : (int(i)+1)*g.width] {
				to[q] += v
			}
		}
	}
	return sums
}

func (g *grower) total(rows []int32) []float64 {
	total := make([]float64, g.width)
	for _, i := range rows {
		for q := range total {
			total[q] += float64(g.slopes[int(i)*g.width+q])
		}
	}
	return total
}

// worth is what a step of every level in a leaf gains.
func (g *grower) worth(total []float64) float64 {
	sum, n := 0.0, len(g.levels)
	for q, level := range g.levels {
		weight := total[n]
		if level > 0.9 {
			weight = total[n+1]
		}
		sum += total[q] * total[q] / (weight + g.prior)
	}
	return sum
}

// cut finds the best way to cut a leaf in two.
func (g *grower) cut(l *leaf, columns []int) {
	whole, n := g.worth(l.total), len(g.levels)
	left, right := make([]float64, g.width), make([]float64, g.width)
	for k, f := range columns {
		clear(left)
		for b := range g.cuts[f] {
			for q := range left {
				left[q] += float64(l.sums[(k*bins+b)*g.width+q])
				right[q] = l.total[q] - left[q]
			}
			if min(left[n], right[n], left[n+1], right[n+1]) < g.least {
				continue
			}
			if gain := g.worth(left) + g.worth(right) - whole; gain > l.gain && !math.IsNaN(gain) {
				l.gain, l.feature, l.bin = gain, f, b
			}
		}
	}
}
