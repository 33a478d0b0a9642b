package controller

import (
	"fmt"
	"math"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// When others set replicas back after each of so many changes of ours within so long, nothing is scaled for so long: it is a tool
// that applies a manifest, or another autoscaler, and would go on for ever.
const (
	foughtTimes  = 3
	foughtWithin = 15 * time.Minute
	foughtPause  = 15 * time.Minute
)

// hand is what a policy remembers of who set its target. What others set stands until something else is decided than when they did:
//
//	decided 4, set 4 ─► someone sets 10 ─► decided 4: 10 stand ─► decided 5: 5 are set
//
// What is decided is the largest recommendation of the stabilization window, for that is what replicas would come down to. An
// edit is not seen while no aggregator looks: what is found by the first look is what there is.
type hand struct {
	target   v1alpha1.ScaleTargetRef
	known    bool
	replicas int32  // as last seen, or set by this policy since
	tried    *int32 // what it tried to set, if it is not known whether that came to be
	mine     bool   // this policy was the last to change them
	decided  *int32 // at the last look
	standing *override
	fought   []time.Time // when others changed them after this policy had
	until    time.Time   // nothing is scaled before
}

// override is a count that someone else set.
type override struct {
	replicas, decided int32
	since             time.Time
	// low and high are what is the same decision as then: from another count the same load may round to another one, so the first
	// recommendation of all pods together counts as well, where it is within the tolerance.
	low, high int32
	compared  bool // that was seen
}

// look takes note of the replicas that are set now.
func (h *hand) look(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, replicas int32, now time.Time) {
	if h.target != policy.Spec.ScaleTargetRef {
		*h = hand{target: policy.Spec.ScaleTargetRef}
	}
	switch {
	case !h.known:
		if was := policy.Status.ManualOverride; was != nil && was.Replicas == replicas { // another aggregator saw it, or this one before a restart
			h.standing = &override{replicas: replicas, decided: was.DecidedReplicas, since: was.Since.Time, low: was.DecidedReplicas, high: was.DecidedReplicas}
		}
	case replicas != h.replicas && (h.tried == nil || *h.tried != replicas):
		h.edited(replicas, now)
	}
	h.known, h.replicas, h.tried = true, replicas, nil
}

// edited takes note that someone else set the replicas.
func (h *hand) edited(replicas int32, now time.Time) {
	if h.mine {
		h.mine = false
		for len(h.fought) > 0 && now.Sub(h.fought[0]) > foughtWithin {
			h.fought = h.fought[1:]
		}
		if h.fought = append(h.fought, now); len(h.fought) >= foughtTimes {
			h.until, h.fought = now.Add(foughtPause), nil
		}
	}
	decided := h.decided
	if h.standing != nil {
		decided = &h.standing.decided
	}
	h.standing = nil
	if decided != nil && *decided != replicas && replicas > 0 {
		h.standing = &override{replicas: replicas, decided: *decided, since: now, low: *decided, high: *decided}
	}
}

// set takes note of what this policy set, or may have.
func (h *hand) set(replicas int32, err error) {
	if err != nil {
		h.tried = &replicas
		return
	}
	if h.mine { // what it had set before was left alone
		h.fought = nil
	}
	h.replicas, h.mine, h.standing = replicas, true, nil
}

// paused says that nothing is scaled because others set replicas back again and again; "" when they do not.
func (h *hand) paused(now time.Time) string {
	if !now.Before(h.until) {
		return ""
	}
	return fmt.Sprintf("someone else set the replicas after each of the last %d changes of this policy, now to %d: it scales nothing until %s",
		foughtTimes, h.replicas, h.until.UTC().Format("15:04:05 UTC"))
}

// stands reports whether what someone else set stands after this evaluation.
func (h *hand) stands(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, pods []Pod, e Evaluation) bool {
	if h.standing != nil {
		rules := scalingPolicy(policy.Spec)
		rules.MinReplicas, rules.MaxReplicas = e.Min, e.Max
		if h.standing.over(e, pods, rules) {
			h.standing = nil
		}
	}
	h.decided = e.Level
	return h.standing != nil
}

// over reports whether something else is decided than when the replicas were set.
func (o *override) over(e Evaluation, pods []Pod, rules scaling.Policy) bool {
	d := e.Decision
	switch d.Reason {
	case scaling.OutsideBounds, scaling.Disabled, scaling.InvalidPolicy:
		return true
	}
	low := int32(math.Floor(float64(o.decided) * (1 - rules.Down.Tolerance)))
	high := int32(math.Ceil(float64(o.decided) * (1 + rules.Up.Tolerance)))
	if asked, ok := asks(d, rules, pods, o.replicas); ok {
		if asked == o.replicas { // what someone wanted is now wanted here too
			return true
		}
		if !o.compared && asked >= low && asked <= high {
			o.low, o.high = min(o.low, asked), max(o.high, asked)
		}
		o.compared = true
	}
	if o.compared {
		low, high = o.low, o.high
	}
	return e.Level != nil && *e.Level != o.replicas && (*e.Level < low || *e.Level > high)
}

// asks is how many replicas this moment alone asks for, when all there are serve and their load is known.
func asks(d *scaling.Decision, rules scaling.Policy, pods []Pod, replicas int32) (int32, bool) {
	ready := int32(0)
	for _, pod := range pods {
		if pod.State == scaling.Ready {
			ready++
		}
	}
	if d.Reactive == nil || d.Incomplete || d.Reason == scaling.Settling || ready != replicas {
		return 0, false
	}
	asked := *d.Reactive
	switch {
	case d.Proactive == nil || rules.Only == scaling.ReactiveHalf:
	case rules.Only == scaling.ProactiveHalf:
		asked = *d.Proactive
	default:
		asked = max(asked, *d.Proactive)
	}
	return min(max(asked, rules.MinReplicas), rules.MaxReplicas), true
}

// status is what stands, for the policy's status; nil when nothing does.
func (h *hand) status() *v1alpha1.ManualOverrideStatus {
	if h.standing == nil {
		return nil
	}
	return &v1alpha1.ManualOverrideStatus{Replicas: h.standing.replicas, DecidedReplicas: h.standing.decided, Since: metav1.NewTime(h.standing.since)}
}

func (o *override) note() Note {
	return Note{"ManualOverride", fmt.Sprintf("someone else set %d replicas at %s when %d were decided: that stands until something else is decided",
		o.replicas, o.since.UTC().Format(time.RFC3339), o.decided)}
}

// level is the largest recommendation of the stabilization window, within the bounds.
func (w *window) level(wanted scaling.Policy, now time.Time) *int32 {
	level, ok := w.Largest(now, wanted.Down.Stabilization)
	if !ok {
		return nil
	}
	return new(min(max(level, wanted.MinReplicas), wanted.MaxReplicas))
}
