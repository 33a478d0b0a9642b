package trees

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// small cuts feature 1 at 2, and what is above it feature 0 at 5.
func small() *Forest {
	return &Forest{Features: 2, Outputs: 2, Trees: []Tree{
		{
			Cuts:   []Cut{{At: 2, Feature: 1, Below: -1, Above: 1}, {At: 5, Feature: 0, Below: -2, Above: -3}},
			Values: []float32{1, 10, 2, 20, 3, 30},
		},
		{Values: []float32{0.5, 0.25}},
	}}
}

func TestEveryTreeAddsTheLeafThatTheFeaturesLeadTo(t *testing.T) {
	for _, c := range []struct{ features, want []float32 }{
		{[]float32{9, 1.9}, []float32{1.5, 10.25}},
		{[]float32{4.9, 2}, []float32{2.5, 20.25}},
		{[]float32{5, 2}, []float32{3.5, 30.25}},
	} {
		out := []float32{0, 0}
		small().Add(c.features, out)
		if !slices.Equal(out, c.want) {
			t.Errorf("features %v: got %v, want %v", c.features, out, c.want)
		}
	}
}

func TestForestIsTheSameOnceWrittenAndRead(t *testing.T) {
	data, err := small().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	f, err := Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, 2)
	f.Add([]float32{5, 2}, out)
	if f.Features != 2 || !slices.Equal(out, []float32{3.5, 30.25}) {
		t.Errorf("read back: %d features, %v", f.Features, out)
	}
}

func TestBrokenForestIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(f *Forest)
		want  string
	}{
		"unknown feature": {func(f *Forest) { f.Trees[0].Cuts[1].Feature = 2 }, "cut 1"},
		"way back":        {func(f *Forest) { f.Trees[0].Cuts[1].Below = 0 }, "cut 1"},
		"no such leaf":    {func(f *Forest) { f.Trees[0].Cuts[0].Below = -4 }, "cut 0"},
		"no such cut":     {func(f *Forest) { f.Trees[0].Cuts[0].Above = 2 }, "cut 0"},
		"cut at NaN":      {func(f *Forest) { f.Trees[0].Cuts[0].At = float32(math.NaN()) }, "cut 0"},
		"infinite leaf":   {func(f *Forest) { f.Trees[1].Values[0] = float32(math.Inf(1)) }, "tree 1"},
		"too few leaves":  {func(f *Forest) { f.Trees[1].Values = f.Trees[1].Values[:1] }, "tree 1"},
		"too many leaves": {func(f *Forest) { f.Trees[1].Values = append(f.Trees[1].Values, 1) }, "4 bytes after"},
		"no outputs":      {func(f *Forest) { f.Outputs = 0 }, "0 outputs"},
	} {
		t.Run(name, func(t *testing.T) {
			f := small()
			c.spoil(f)
			data, err := f.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Unmarshal(data); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
	data, _ := small().Marshal()
	for n := range data {
		if _, err := Unmarshal(data[:n]); !errors.Is(err, ErrInvalid) {
			t.Errorf("the first %d bytes: error is %v", n, err)
		}
	}
}

// FuzzUnmarshal reads anything; what it takes for a forest can be asked.
func FuzzUnmarshal(f *testing.F) {
	data, _ := small().Marshal()
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		forest, err := Unmarshal(data)
		if err != nil {
			return
		}
		out := make([]float32, forest.Outputs)
		forest.Add(make([]float32, forest.Features), out)
	})
}
