// Package trees evaluates a forest of small regression trees whose leaves hold one value for each output.
//
//	features ─► every tree: cut by cut to a leaf ─► the leaves' values add up ─► outputs
//
// How a forest is grown is the business of its training program.
package trees

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Tree is read from Cuts[0]. Leaf k has the values Values[k·outputs : (k+1)·outputs]. A tree without cuts is one leaf.
type Tree struct {
	Cuts   []Cut
	Values []float32
}

// Cut sends features below At to Below, others to Above. Both are the index of a cut or, when negative, -1-leaf.
type Cut struct {
	At      float32
	Feature uint16
	Below   int16
	Above   int16
}

// Forest adds up its trees.
type Forest struct {
	Features, Outputs int
	Trees             []Tree
}

// ErrInvalid is a forest that cannot be read.
var ErrInvalid = errors.New("invalid forest")

// Add adds the forest's values to out, which has room for every output. It allocates nothing.
func (f *Forest) Add(features, out []float32) {
	for i := range f.Trees {
		t := &f.Trees[i]
		leaf := 0
		if len(t.Cuts) > 0 {
			leaf = t.find(features)
		}
		for k, v := range t.Values[leaf*f.Outputs : (leaf+1)*f.Outputs] {
			out[k] += v
		}
	}
}

func (t *Tree) find(features []float32) int {
	next := 0
	for next >= 0 {
		c := &t.Cuts[next]
		if features[c.Feature] < c.At {
			next = int(c.Below)
		} else {
			next = int(c.Above)
		}
	}
	return -1 - next
}

// header begins a written forest; after it, each tree is its number of cuts, the cuts and the leaves' values, little endian.
type header struct {
	Magic                    [4]byte
	Features, Outputs, Trees uint16
}

var magic = [4]byte{'f', 't', 't', '1'}

// Marshal writes the forest.
func (f *Forest) Marshal() ([]byte, error) {
	var w bytes.Buffer
	parts := []any{header{magic, uint16(f.Features), uint16(f.Outputs), uint16(len(f.Trees))}}
	for _, t := range f.Trees {
		parts = append(parts, uint16(len(t.Cuts)), t.Cuts, t.Values)
	}
	for _, p := range parts {
		if err := binary.Write(&w, binary.LittleEndian, p); err != nil {
			return nil, fmt.Errorf("write forest: %w", err)
		}
	}
	return w.Bytes(), nil
}

// Unmarshal reads a forest and checks that every path ends at a leaf. Its errors are ErrInvalid.
func Unmarshal(data []byte) (*Forest, error) {
	r := bytes.NewReader(data)
	var h header
	if err := binary.Read(r, binary.LittleEndian, &h); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrInvalid, err)
	}
	if h.Magic != magic || h.Outputs == 0 {
		return nil, fmt.Errorf("%w: begins with %q and has %d outputs; it must begin with %q and have at least one", ErrInvalid, h.Magic, h.Outputs, magic)
	}
	f := &Forest{Features: int(h.Features), Outputs: int(h.Outputs), Trees: make([]Tree, h.Trees)}
	for i := range f.Trees {
		t, err := readTree(r, f)
		if err != nil {
			return nil, fmt.Errorf("%w: tree %d: %w", ErrInvalid, i, err)
		}
		f.Trees[i] = t
	}
	if r.Len() > 0 {
		return nil, fmt.Errorf("%w: %d bytes after the last tree", ErrInvalid, r.Len())
	}
	return f, nil
}

func readTree(r *bytes.Reader, f *Forest) (Tree, error) {
	var n uint16
	if err := binary.Read(r, binary.LittleEndian, &n); err != nil {
		return Tree{}, err
	}
	leaves := int(n) + 1
	if need := int(n)*binary.Size(Cut{}) + leaves*f.Outputs*4; need > r.Len() {
		return Tree{}, fmt.Errorf("needs %d bytes, %d are left", need, r.Len())
	}
	t := Tree{Cuts: make([]Cut, n), Values: make([]float32, leaves*f.Outputs)}
	if err := binary.Read(r, binary.LittleEndian, t.Cuts); err != nil {
		return Tree{}, err
	}
	if err := binary.Read(r, binary.LittleEndian, t.Values); err != nil {
		return Tree{}, err
	}
	for i, c := range t.Cuts {
		// A cut leads only forward, so that every path ends.
		forward := func(next int16) bool {
			return next < 0 && int(-1-next) < leaves || int(next) > i && int(next) < len(t.Cuts)
		}
		if int(c.Feature) >= f.Features || !forward(c.Below) || !forward(c.Above) || c.At != c.At {
			return Tree{}, fmt.Errorf("cut %d is %+v, with %d features and %d leaves", i, c, f.Features, leaves)
		}
	}
	for _, v := range t.Values {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return Tree{}, errors.New("a leaf's value is not finite")
		}
	}
	return t, nil
}
