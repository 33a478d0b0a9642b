package stream

import (
	"cmp"
	"hash/fnv"
	"slices"
)

// choose returns the n replicas that a node sends to, of all there are; 0 means all. Every node draws a number for every replica
// and takes those with the largest (rendezvous hashing): the nodes spread evenly without asking each other, and when a
// replica comes or goes only the nodes change that gain or lose it.
func choose(node string, replicas []replica, n int) []replica {
	if n <= 0 || n >= len(replicas) {
		return replicas
	}
	byRank := slices.Clone(replicas)
	slices.SortFunc(byRank, func(a, b replica) int {
		return cmp.Or(cmp.Compare(rank(node, b.identity), rank(node, a.identity)), cmp.Compare(a.identity, b.identity))
	})
	return byRank[:n]
}

// rank must be the same in every version of the agent. FNV alone differs too little between names that differ in their last letter.
func rank(node, identity string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(node))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(identity))
	return scatter(h.Sum64())
}

// scatter has every bit of the input change half of the output. It is one to one: odd factors and shifted sums can be undone.
func scatter(x uint64) uint64 {
	for _, factor := range [...]uint64{0xff51afd7ed558ccd, 0xc4ceb9fe1a85ec53} {
		x ^= x >> 33
		x *= factor
	}
	return x ^ x>>33
}
