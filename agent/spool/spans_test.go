package spool

import (
	"math/rand/v2"
	"testing"
)

func TestSpansAreTheSetOfWhatWasAdded(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var s spans
		model := map[uint64]bool{}
		for range 40 {
			first := random.Uint64N(100)
			last := first + random.Uint64N(6)
			s.add(first, last)
			for n := first; n <= last; n++ {
				model[n] = true
			}
		}
		for i := range s {
			if s[i].First > s[i].Last || i > 0 && s[i].First <= s[i-1].Last+1 {
				t.Fatalf("spans %v overlap or touch", s)
			}
		}
		count := 0
		for n := range uint64(120) {
			if s.has(n) != model[n] {
				t.Fatalf("has(%d) = %v in %v", n, s.has(n), s)
			}
			if model[n] {
				count++
			}
			if got := s.count(0, n); got != count {
				t.Fatalf("count(0, %d) = %d in %v; want %d", n, got, s, count)
			}
			missing := n
			for model[missing] {
				missing++
			}
			if got := s.missing(n); got != missing {
				t.Fatalf("missing(%d) = %d in %v; want %d", n, got, s, missing)
			}
		}
	}
}

func TestSpansInOrderAreOne(t *testing.T) {
	var s spans
	for n := range uint64(1000) {
		s.add(n+1, n+1)
	}
	s.add(0, 3)
	if len(s) != 1 || s[0] != (span{0, 1000}) {
		t.Errorf("spans = %v", s)
	}
}
