package controller

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// BenchmarkEvaluate is one sync of one policy. Each minute one of them makes a forecast of what is new, and each hour one from four
// weeks; what it takes to read them from a real history is in test/bench/forecast.
func BenchmarkEvaluate(b *testing.B) {
	for name, every := range map[string]time.Duration{"with a new forecast": time.Minute, "with the forecast at hand": 0} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(8, 0.20)
			w.demand = workday(days(30))
			e := NewEvaluator(w, nil, w, nil)
			p := policy()
			e.Evaluate(b.Context(), p, w.target, w.now)
			for b.Loop() {
				w.now = w.now.Add(every)
				e.Evaluate(b.Context(), p, w.target, w.now)
			}
		})
	}
}

// BenchmarkMemory is what is kept of a workload with four weeks of history: the forecast of the minute, and what the next is made
// from.
func BenchmarkMemory(b *testing.B) {
	w := newWorld(1, 0.2)
	w.demand = workday(days(30))
	const workloads = 100
	kept := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		f := newForecasts(w, nil)
		f.predict(b.Context(), asked{workload: Workload{Name: "warm"}, metric: GPU, level: 0.95, days: &calendar{}}, ahead{}, noon)
		before := kept()
		for i := range workloads {
			w := Workload{"default", "Deployment", fmt.Sprint("web-", i)}
			f.predict(b.Context(), asked{workload: w, metric: GPU, level: 0.95, days: &calendar{}}, ahead{lead: 3 * time.Minute}, noon)
		}
		b.ReportMetric(float64(kept()-before)/1024/workloads, "KiB/workload")
		runtime.KeepAlive(f)
	}
}
