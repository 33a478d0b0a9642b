package main

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// latencies collects how long calls took. Its methods may be called by several goroutines at once.
type latencies struct {
	mu     sync.Mutex
	byName map[string][]time.Duration
}

func newLatencies() *latencies { return &latencies{byName: map[string][]time.Duration{}} }

func (l *latencies) observe(name string, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byName[name] = append(l.byName[name], d)
}

// latency sums up the calls of one name.
type latency struct {
	name          string
	calls         int
	p50, p99, max time.Duration
}

// rows returns them in alphabetical order.
func (l *latencies) rows() []latency {
	l.mu.Lock()
	defer l.mu.Unlock()
	var rows []latency
	for _, name := range slices.Sorted(maps.Keys(l.byName)) {
		d := slices.Sorted(slices.Values(l.byName[name]))
		rows = append(rows, latency{name, len(d), nearestRank(d, 50), nearestRank(d, 99), d[len(d)-1]})
	}
	return rows
}

// nearestRank is the smallest of the sorted values that at least so many per cent of them do not exceed.
func nearestRank(sorted []time.Duration, percent int) time.Duration {
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}
