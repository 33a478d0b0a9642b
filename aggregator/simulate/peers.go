package simulate

import (
	"math"
	"time"
)

// Bounds are what replicas stay within.
type Bounds struct{ Min, Max int32 }

func (b Bounds) clamp(replicas float64) int32 {
	return int32(min(max(replicas, float64(b.Min)), float64(b.Max)))
}

// Fixed always wants the same.
type Fixed int32

// Decide returns it.
func (f Fixed) Decide(View) int32 { return int32(f) }

// HPA is Kubernetes' HorizontalPodAutoscaler on a metric of the pods, with its defaults (kubernetes pkg/controller/podautoscaler,
// replica_calculator.go and horizontal.go): a tolerance of a tenth, twice as many or four more within 15 s, and down to the largest
// recommendation of five minutes. Of any metric but cpu it takes a pod that runs and is not ready for one that is idle.
type HPA struct {
	Bounds
	// Target is the utilization aimed for, 0 to 1.
	Target float64

	recommended []recommendation
}

type recommendation struct {
	at       time.Time
	replicas int32
}

const (
	hpaTolerance     = 0.1
	hpaStabilization = 5 * time.Minute
)

// Decide is one sync.
func (h *HPA) Decide(v View) int32 {
	want := v.Replicas
	if pods := float64(v.Ready + v.Starting); !math.IsNaN(v.Utilization) && pods > 0 {
		ratio := v.Utilization * float64(v.Ready) / pods / h.Target
		if math.Abs(ratio-1) > hpaTolerance {
			want = h.clamp(math.Ceil(ratio*pods - 1e-9))
		}
	}
	return h.clamp(float64(h.limited(v, h.stabilized(v.Now, want))))
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

// limited is as many as may be there after one sync.
func (h *HPA) limited(v View, want int32) int32 {
	if want < v.Replicas {
		return want
	}
	return min(want, max(2*v.Replicas, v.Replicas+4))
}

// Oracle knows what will be offered: it has the pods there a startup before they are needed, and none that are not.
type Oracle struct {
	Bounds
	// Target is the utilization aimed for, 0 to 1, and GPUsPerPod what each pod holds.
	Target, GPUsPerPod float64
	Trace              Trace
	Step               time.Duration
	// Ahead is how far it looks: what a pod takes to start, and a sync.
	Ahead time.Duration
}

// Decide returns as many as the most of what is offered until then needs.
func (o Oracle) Decide(v View) int32 {
	from := int(v.Now.Sub(o.Trace.Start) / o.Step)
	most := 0.0
	for i := from; i < len(o.Trace.Offered) && i <= from+int(o.Ahead/o.Step); i++ {
		if offered := o.Trace.Offered[i]; offered > most {
			most = offered
		}
	}
	return o.clamp(math.Ceil(most/(o.Target*o.GPUsPerPod) - 1e-9))
}
