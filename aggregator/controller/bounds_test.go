package controller

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

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
		if got := r.of(bounded("Europe/Berlin", workdays), 1, now, 0); got.MinReplicas != want[0] || got.MaxReplicas != want[1] || r.wrong != "" {
			t.Errorf("%s: [%d, %d] (%s), want %v", at, got.MinReplicas, got.MaxReplicas, r.wrong, want)
		}
	}
}

func TestReplicasOfAWindowAreThereWhenItBegins(t *testing.T) {
	w := newWorld(2, 0.20)
	p := bounded("", v1alpha1.InstanceBounds{Bounds: []v1alpha1.CronBounds{cronBounds("* 13 ? * *", 10, 12), cronBounds("* 14 ? * *", 1, 2)}})
	p.Spec.Prediction.ScaleUpForward = ptr.To(intstr.FromInt32(180))
	e := NewEvaluator(w, nil, w, nil)
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

func TestBoundsThatCannotBeReadRemoveNothing(t *testing.T) {
	night := cronBounds("* 22-6 ? * *", 1, 2)
	for want, p := range map[string]*v1alpha1.AdvancedHorizontalPodAutoscaler{
		`spec.timeZone is "Mars/Olympus": it must be a name of the IANA time zone database`: bounded("Mars/Olympus", v1alpha1.InstanceBounds{
			Bounds: []v1alpha1.CronBounds{cronBounds("* * * * *", 5, 6)},
		}),
		`spec.instanceBounds[0].bounds[1].cron is "* 22-6 ? * *": beginning of range (22)`: bounded("", v1alpha1.InstanceBounds{
			Bounds: []v1alpha1.CronBounds{cronBounds("* 3 * * *", 5, 6), night},
		}),
		`spec.instanceBounds[0] is from "2026-02-30 00:00:00" to "": parsing time`: bounded("", v1alpha1.InstanceBounds{
			StartTime: "2026-02-30 00:00:00", Bounds: []v1alpha1.CronBounds{cronBounds("* * * * *", 5, 6)},
		}),
		`spec.instanceBounds[0] is from "" to "2026-11-31 00:00:00": parsing time`: bounded("", v1alpha1.InstanceBounds{
			EndTime: "2026-11-31 00:00:00", Bounds: []v1alpha1.CronBounds{cronBounds("* * * * *", 5, 6)},
		}),
	} {
		w := newWorld(4, 0.01)
		p.Spec.ScaleStrategy, p.Spec.StabilizationWindowSeconds = v1alpha1.StrategyAuto, ptr.To(int32(0))
		b := newBench(t, w, p)
		got := b.sync(p.Name, 0)
		b.expectScaled()
		expectCondition(t, got, v1alpha1.ConditionScalingLimited, "True InvalidBounds")
		if c := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionScalingLimited); !strings.HasPrefix(c.Message, want) {
			t.Errorf("message %q, want %q", c.Message, want)
		}
		b.run(4, 0.60)
		b.sync(p.Name, time.Minute)
		b.expectScaled("bert@1=8")
		b.run(12, 0.01) // a window that could be read may have asked for them
		b.sync(p.Name, time.Minute)
		b.sync(p.Name, time.Minute)
		b.expectScaled()
	}
}
