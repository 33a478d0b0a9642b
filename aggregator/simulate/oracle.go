package simulate

import "time"

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
	until := min(len(o.Trace.Offered), from+max(1, int((o.Ahead+o.Step-1)/o.Step)))
	most, _ := highest(o.Trace.Offered[from:until])
	return o.clamp(podsFor(most, o.Target*o.GPUsPerPod))
}
