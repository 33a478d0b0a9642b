package controller

import (
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

func TestAnEvaluationTellsThePolicysBoundsAtAnyTimeAndItsClock(t *testing.T) {
	w := newWorld(2, 0.40)
	e := NewEvaluator(w, nil, w, nil)
	p := policy(func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		p.Spec.TimeZone = "Europe/Berlin"
		p.Spec.InstanceBounds = []v1alpha1.InstanceBounds{{Bounds: []v1alpha1.CronBounds{{Cron: "* 8 * * *", MinReplicas: 3, MaxReplicas: 5}}}}
	})
	got := e.Evaluate(t.Context(), p, w.target, w.now)
	if got.Location.String() != "Europe/Berlin" || got.GPUsPerPod != 1 {
		t.Errorf("location %v, %v GPUs a pod", got.Location, got.GPUsPerPod)
	}
	eight := time.Date(2026, 7, 1, 8, 30, 0, 0, got.Location)
	for at, want := range map[time.Time][2]int32{eight: {3, 5}, eight.Add(time.Hour): {*p.Spec.MinReplicas, p.Spec.MaxReplicas}} {
		if least, most := got.Bounds(at); [2]int32{least, most} != want {
			t.Errorf("at %v: %d to %d, want %v", at, least, most, want)
		}
	}
	p = policy(func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.TimeZone = "Mars/Olympus" })
	if got := e.Evaluate(t.Context(), p, w.target, w.now); got.Location != time.UTC {
		t.Errorf("a zone that is not known: %v, want UTC", got.Location)
	}
}
