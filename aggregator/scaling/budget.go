package scaling

import (
	"cmp"
	"container/heap"
)

// Share is what one workload wants of a budget of GPUs.
type Share struct {
	Name string // decides between equals
	// GPUs is what one replica holds: whole devices, 1 or more; less is taken for 1.
	GPUs int64
	// Held replicas are granted whatever the budget is: those that run, and minReplicas, as far as they are wanted.
	Held   int32
	Wanted int32
}

// Divide grants each workload replicas, in the order of the shares, so that all together hold no more GPUs than the budget, as long as
// those that are held do not. What is left is given one replica after the other, each to whoever then holds the fewest GPUs (max-min
// fairness: Bertsekas, Gallager, Data Networks, 6.5.2): small wants are met in full, and large ones get equal parts of the rest. Who
// wants a replica of more GPUs than are left is passed over.
func Divide(budget int64, shares []Share) []int32 {
	granted := make([]int32, len(shares))
	left := budget
	line := make(queue, 0, len(shares))
	for i, s := range shares {
		s.GPUs = max(s.GPUs, 1)
		granted[i] = max(min(s.Held, s.Wanted), 0)
		left -= int64(granted[i]) * s.GPUs
		if granted[i] < s.Wanted {
			line = append(line, place{s, i, int64(granted[i]) * s.GPUs})
		}
	}
	heap.Init(&line)
	for len(line) > 0 && left > 0 {
		next := &line[0]
		if next.GPUs > left {
			heap.Pop(&line)
			continue
		}
		granted[next.index]++
		next.has += next.GPUs
		left -= next.GPUs
		if granted[next.index] == next.Wanted {
			heap.Pop(&line)
		} else {
			heap.Fix(&line, 0)
		}
	}
	return granted
}

// place is a workload in the line for a replica.
type place struct {
	Share
	index int
	has   int64 // GPUs
}

// queue has whoever holds the fewest GPUs first.
type queue []place

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].has, q[j].has), cmp.Compare(q[i].Name, q[j].Name)) < 0
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(place)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
