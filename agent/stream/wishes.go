package stream

import (
	"sync"
	"time"
)

// wishes is what the aggregators that are connected ask of the agent. As long as none is, the last wish stands.
type wishes struct {
	setInterval func(time.Duration)
	setDraining func(bool)

	mu sync.Mutex
	of map[*link]wish
}

// wish is one aggregator's.
type wish struct {
	// interval is how often it wants a batch; 0 when it does not say.
	interval time.Duration
	// draining is whether it says that the node is being drained; nil until it says either.
	draining *bool
}

// change notes a wish and tells what all of them come to: the longest interval, and draining as soon as one says so.
func (w *wishes) change(of *link, change func(*wish)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	its := w.of[of]
	change(&its)
	w.of[of] = its
	w.tell()
}

// forget is for an aggregator that is not connected any more.
func (w *wishes) forget(of *link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.of, of)
	w.tell()
}

func (w *wishes) tell() {
	var interval time.Duration
	known, draining := false, false
	for _, its := range w.of {
		interval = max(interval, its.interval)
		if its.draining != nil {
			known, draining = true, draining || *its.draining
		}
	}
	if interval > 0 {
		w.setInterval(interval)
	}
	if known {
		w.setDraining(draining)
	}
}
