package controller

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

func bounded(zone string, windows ...v1alpha1.InstanceBounds) *v1alpha1.AdvancedHorizontalPodAutoscaler {
	p := policy()
	p.Spec.MinReplicas, p.Spec.MaxReplicas, p.Spec.TimeZone, p.Spec.InstanceBounds = ptr.To(int32(1)), 8, zone, windows
	return p
}

func cronBounds(cron string, least, most int32) v1alpha1.CronBounds {
	return v1alpha1.CronBounds{Cron: cron, MinReplicas: least, MaxReplicas: most}
}

func TestBoundsAreThoseOfTheMoment(t *testing.T) {
	workdays := v1alpha1.InstanceBounds{
		StartTime: "2026-03-01 00:00:00", EndTime: "2026-04-03 12:00:00",
		Bounds: []v1alpha1.CronBounds{cronBounds("* 8-20 ? * MON-FRI", 4, 15), cronBounds("* 12 ? * *", 6, 7)},
	}
	for at, want := range map[string][2]int32{
		"2026-03-02T06:59:59Z": {1, 8},  // 7:59 in Berlin
		"2026-03-02T07:00:00Z": {4, 15}, // 8:00
		"2026-03-02T11:30:00Z": {6, 15}, // both: the largest of each
		"2026-03-07T11:30:00Z": {6, 7},  // Saturday noon
		"2026-03-07T13:30:00Z": {1, 8},
		"2026-02-27T08:00:00Z": {1, 8},  // before the first of March
		"2026-03-30T06:30:00Z": {4, 15}, // 8:30 by the summer's clock
		"2026-04-03T09:59:59Z": {4, 15},
		"2026-04-03T10:00:00Z": {1, 8}, // over
	} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		var r rules
		got, err := r.of(bounded("Europe/Berlin", workdays), now, 0)
		if err != nil || got.MinReplicas != want[0] || got.MaxReplicas != want[1] {
			t.Errorf("%s: [%d, %d] (%v), want %v", at, got.MinReplicas, got.MaxReplicas, err, want)
		}
	}
}

func TestReplicasOfAWindowAreThereWhenItBegins(t *testing.T) {
	w := newWorld(2, 0.20)
	p := bounded("", v1alpha1.InstanceBounds{Bounds: []v1alpha1.CronBounds{cronBounds("* 13 ? * *", 10, 12), cronBounds("* 14 ? * *", 1, 2)}})
	p.Spec.Prediction.ScaleUpForward = ptr.To(intstr.FromInt32(180))
	e := NewEvaluator(w, w, nil)
	for after, want := range map[time.Duration][2]int32{
		57*time.Minute - time.Second: {1, 8},
		57 * time.Minute:             {10, 10},
		60 * time.Minute:             {10, 12},
		119 * time.Minute:            {10, 12},
		120 * time.Minute:            {1, 2},
	} {
		got := e.Evaluate(t.Context(), p, w.target, noon.Add(after))
		if got.Min != want[0] || got.Max != want[1] {
			t.Errorf("after %s: bounds [%d, %d], want %v", after, got.Min, got.Max, want)
		}
	}
}

func TestAPolicyThatCannotBeFollowedHoldsAndSaysWhy(t *testing.T) {
	w := newWorld(2, 0.90)
	for want, p := range map[string]*v1alpha1.AdvancedHorizontalPodAutoscaler{
		`spec.timeZone is "Mars/Olympus": it must be a name of the IANA time zone database`: bounded("Mars/Olympus"),
		`spec.instanceBounds[0].bounds[0].cron is "* 22-6 ? * *": it must be a cron`:        bounded("", v1alpha1.InstanceBounds{Bounds: []v1alpha1.CronBounds{cronBounds("* 22-6 ? * *", 1, 2)}}),
	} {
		d := NewEvaluator(w, w, nil).Evaluate(t.Context(), p, w.target, noon).Decision
		if d.Replicas != 2 || d.Reason != scaling.InvalidPolicy || !strings.Contains(d.Message, want) || !strings.HasSuffix(d.Message, "replicas are held") {
			t.Errorf("%d, %s: %s", d.Replicas, d.Reason, d.Message)
		}
	}
}
