package controller

import (
	"testing"
	"time"
)

// BenchmarkEvaluate is one sync of one policy: each minute one of them makes a forecast from four weeks of minutes.
func BenchmarkEvaluate(b *testing.B) {
	for name, every := range map[string]time.Duration{"with a new forecast": time.Minute, "with the forecast at hand": 0} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(8, 0.20)
			w.demand = workday(days(30))
			e := NewEvaluator(w, w, nil)
			p := policy()
			e.Evaluate(b.Context(), p, w.target, w.now)
			for b.Loop() {
				w.now = w.now.Add(every)
				e.Evaluate(b.Context(), p, w.target, w.now)
			}
		})
	}
}
