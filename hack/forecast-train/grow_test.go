package main

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/foretide/foretide/aggregator/forecast"
)

var small = plan{trees: 60, leaves: 4, least: 20, rate: 0.1, prior: 1, rows: 0.7, columns: 1, seed: 1}

// tilted is a sample whose truth is 3 higher where the first feature is above a half; the second feature says nothing.
func tilted() *sample {
	r := rand.New(rand.NewPCG(1, 2))
	s := &sample{levels: []float64{0.1, 0.5, 0.95}}
	for range 4000 {
		x := []float32{r.Float32(), r.Float32()}
		y := float32(r.NormFloat64())
		if x[0] > 0.5 {
			y += 3
		}
		s.features, s.truth = append(s.features, x), append(s.truth, y)
		s.quantiles = append(s.quantiles, []float32{0, 0, 0})
		s.weight, s.even = append(s.weight, 1), append(s.even, 1)
	}
	return s
}

func TestForestFindsWhereTheQuantilesLie(t *testing.T) {
	f := grow(tilted(), small)
	for _, c := range []struct {
		x    float32
		want []float64 // of a normal distribution around 0 or 3
	}{
		{0.25, []float64{-1.28, 0, 1.64}},
		{0.75, []float64{1.72, 3, 4.64}},
	} {
		out := make([]float32, 3)
		f.Add([]float32{c.x, 0.5}, out)
		for l, want := range c.want {
			if math.Abs(float64(out[l])-want) > 0.3 {
				t.Errorf("feature %g: quantile %d is %g, want about %g", c.x, l, out[l], want)
			}
		}
	}
}

func TestSameSampleGrowsTheSameForest(t *testing.T) {
	if a, b := grow(tilted(), small), grow(tilted(), small); !reflect.DeepEqual(a, b) {
		t.Error("two forests of the same sample differ")
	}
}

func TestGrownForestCanBeWritten(t *testing.T) {
	f := grow(tilted(), small)
	if _, err := f.Marshal(); err != nil {
		t.Fatal(err)
	}
	for i, tree := range f.Trees {
		if len(tree.Values) != (len(tree.Cuts)+1)*f.Outputs || len(tree.Cuts) >= small.leaves {
			t.Fatalf("tree %d has %d cuts and %d values", i, len(tree.Cuts), len(tree.Values))
		}
	}
}

func TestSeriesCountTheSameHoweverMuchTheyNeed(t *testing.T) {
	quantiles := slices.Repeat([]float32{0}, len(forecast.EvidenceLevels()))
	rows := make([]row, 0, 40)
	for i := range 40 {
		size := 1.0
		if i%2 == 1 {
			size = 1000
		}
		e := forecast.Evidence{Mean: size, Scale: size, Quantiles: quantiles, Features: []float32{0}}
		rows = append(rows, row{Evidence: e, series: []string{"small", "big"}[i%2], truth: 2 * size})
	}
	s := learn(rows, func(row) bool { return true })
	for i, w := range s.weight {
		if math.Abs(float64(w)-1) > 1e-5 || math.Abs(float64(s.truth[i])-1) > 1e-6 {
			t.Fatalf("row %d weighs %g and is off by %g", i, w, s.truth[i])
		}
	}
}
