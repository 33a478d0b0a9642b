package simulate

import (
	"math"
	"time"
)

// HPA is Kubernetes' HorizontalPodAutoscaler on a metric of the pods, with its defaults (kubernetes pkg/controller/podautoscaler,
// replica_calculator.go and horizontal.go): each 15 s, a tolerance of a tenth, twice as many at once and four at least, and down to the largest
// recommendation of five minutes. Of any metric but cpu it takes a pod that runs and is not ready for one that is idle, and a pod that
// is pending for an idle one when the others are too busy, and for none when they are not.
type HPA struct {
	Bounds
	// Target is the utilization aimed for, 0 to 1.
	Target float64

	last        time.Time // when it decided
	recommended []recommendation
}

type recommendation struct {
	at       time.Time
	replicas int32
}

const (
	hpaSync          = 15 * time.Second
	hpaTolerance     = 0.1
	hpaStabilization = 5 * time.Minute
)

// Decide is one sync. One in which nothing is known is over at once, and nothing is recommended in it.
func (h *HPA) Decide(v View) int32 {
	want, known := h.proposed(v)
	if !known {
		return v.Replicas
	}
	return h.settled(v, want)
}

// proposed is what the load asks for; where that is not known, what there is.
func (h *HPA) proposed(v View) (replicas int32, known bool) {
	pods := float64(v.Ready + v.Starting - v.Pending)
	if math.IsNaN(v.Utilization) || v.Settled <= 0 || pods <= 0 {
		return v.Replicas, false
	}
	busy := v.Utilization * float64(v.Settled)
	ratio := busy / pods / h.Target
	if ratio > 1 && v.Pending > 0 {
		ratio = max(1, busy/(pods+float64(v.Pending))/h.Target) // never the other way because of them
	}
	if math.Abs(ratio-1) <= hpaTolerance {
		return v.Replicas, true
	}
	return h.clamp(podsFor(busy, h.Target)), true
}

// settled is as many of those that are wanted as there may be after this sync.
func (h *HPA) settled(v View, want int32) int32 {
	if !h.last.IsZero() && v.Now.Sub(h.last) < hpaSync {
		return v.Replicas
	}
	h.last = v.Now
	want = h.stabilized(v.Now, h.clamp(float64(want)))
	if want > v.Replicas {
		want = min(want, max(2*v.Replicas, 4)) // calculateScaleUpLimit; with a behavior it would be four more
	}
	return h.clamp(float64(want))
}

// stabilized is the largest recommendation of the window.
func (h *HPA) stabilized(now time.Time, want int32) int32 {
	kept := h.recommended[:0]
	for _, r := range h.recommended {
		if now.Sub(r.at) <= hpaStabilization && r.replicas > want { // a smaller, older one can never be the largest again
			kept = append(kept, r)
		}
	}
	h.recommended = append(kept, recommendation{now, want})
	return h.recommended[0].replicas
}
