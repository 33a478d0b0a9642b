package spool

import (
	"slices"
	"sort"
)

// span is the sequences from First to Last, both included.
type span struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// spans is a set of sequences: ascending, with at least one missing between any two. Acknowledgements come nearly in order, so
// that there is seldom more than one.
type spans []span

// at is where the first span is that ends at the sequence or later.
func (s spans) at(sequence uint64) int {
	return sort.Search(len(s), func(i int) bool { return s[i].Last >= sequence })
}

// add puts the sequences from first to last in.
func (s *spans) add(first, last uint64) {
	from := s.at(max(first, 1) - 1) // one that ends right before is grown
	to := from
	for to < len(*s) && (*s)[to].First <= last+1 {
		first, last = min(first, (*s)[to].First), max(last, (*s)[to].Last)
		to++
	}
	*s = slices.Replace(*s, from, to, span{first, last})
}

func (s spans) has(sequence uint64) bool {
	i := s.at(sequence)
	return i < len(s) && s[i].First <= sequence
}

// missing is the smallest sequence that is not in, from the given one on.
func (s spans) missing(sequence uint64) uint64 {
	if i := s.at(sequence); i < len(s) && s[i].First <= sequence {
		return s[i].Last + 1
	}
	return sequence
}

// count is how many of the sequences from first to last are in.
func (s spans) count(first, last uint64) int {
	n := 0
	for i := s.at(first); i < len(s) && s[i].First <= last; i++ {
		n += int(min(s[i].Last, last) - max(s[i].First, first) + 1)
	}
	return n
}
