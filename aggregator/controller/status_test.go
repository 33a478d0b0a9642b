package controller

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

func TestSaturationIsToldSinceItBegan(t *testing.T) {
	w := newWorld(2, 0.97)
	b := newBench(t, w, policy(func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.MaxReplicas = 2 }))
	for range 100 {
		if got := b.sync("fib-gpu", 2*time.Second).Status.SaturatedSince; got == nil || !got.Time.Equal(noon.Add(2*time.Second)) {
			t.Fatalf("saturated since %v, want the first look", got)
		}
	}
	w.run(2, 0.90)
	if got := b.sync("fib-gpu", 12*time.Second).Status.SaturatedSince; got != nil {
		t.Errorf("saturated since %v, want no more", got)
	}
	w.run(2, 0.99)
	b.sync("fib-gpu", 12*time.Second)
	clear(w.loads)
	if got := b.sync("fib-gpu", 12*time.Second).Status.SaturatedSince; got != nil {
		t.Errorf("saturated since %v, of a load that is not known", got)
	}
}

func TestADecisionSaysUntilWhenItHolds(t *testing.T) {
	w := newWorld(4, 0.20)
	p := bounded("", v1alpha1.InstanceBounds{Bounds: []v1alpha1.CronBounds{cronBounds("* 15 ? * *", 6, 12)}})
	b := newBench(t, w, p)
	until := func(after time.Duration) string {
		t.Helper()
		d := b.sync("fib-gpu", after).Status.Decision
		if d.ValidUntil == nil {
			return d.Reason
		}
		return d.Reason + " " + d.ValidUntil.UTC().Format("15:04")
	}
	if got := until(0); got != "Steady 14:57" { // the replicas of 15:00 are asked for ahead
		t.Errorf("decided %s, want until the bounds change", got)
	}
	w.run(4, 0.01)
	if got := until(10 * time.Second); got != "ScaleDownStabilized 12:05" {
		t.Errorf("decided %s, want until five minutes after four were last recommended", got)
	}
	if got := until(5 * time.Minute); got != "ReactiveDemand 14:57" {
		t.Errorf("decided %s, want until the bounds change", got)
	}
	if got := until(3 * time.Hour); got != "OutsideBounds 16:00" {
		t.Errorf("decided %s, want until the window ends", got)
	}
}

func TestWithoutWindowsNothingIsSaidOfUntilWhen(t *testing.T) {
	if d := newBench(t, newWorld(1, 0.20), policy()).sync("fib-gpu", 0).Status.Decision; d.ValidUntil != nil {
		t.Errorf("steady until %v", d.ValidUntil)
	}
}

// For any windows: nothing changes before, and something does then.
func TestBoundsHoldUntilTheyChange(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 1))
	crons := []string{"* 8-20 ? * MON-FRI", "*/15 * ? * *", "0 0 1 * ?", "30 12 ? * MON", "* * ? * *", "59 23 ? * *"}
	changed := 0
	for range 80 {
		p := bounded("Europe/Berlin")
		p.Spec.MinReplicas, p.Spec.MaxReplicas = ptr.To(1+r.Int32N(3)), 3+r.Int32N(4)
		for range 1 + r.IntN(3) {
			least := 1 + r.Int32N(6)
			p.Spec.InstanceBounds = append(p.Spec.InstanceBounds, v1alpha1.InstanceBounds{Bounds: []v1alpha1.CronBounds{cronBounds(crons[r.IntN(len(crons))], least, least+r.Int32N(4))}})
		}
		b, wrong := newBounds(&p.Spec)
		if wrong != "" {
			t.Fatal(wrong)
		}
		now, lead := noon.Add(time.Duration(r.IntN(3*24*3600))*time.Second), time.Duration(r.IntN(20))*time.Minute
		want := time.Time{}
		least, most := b.ahead(now, lead)
		for at := now.Truncate(time.Minute).Add(time.Minute); want.IsZero() && !at.After(now.Truncate(time.Minute).Add(boundsLook)); at = at.Add(time.Minute) {
			if low, high := b.ahead(at, lead); low != least || high != most {
				want = at
			}
		}
		if got := b.changes(now, lead); !got.Equal(want) {
			t.Errorf("%v with %v at %v ahead change at %v, want %v", p.Spec.InstanceBounds, now, lead, got, want)
		}
		if !want.IsZero() {
			changed++
		}
	}
	if changed < 30 {
		t.Errorf("%d of 80 change: too few to tell", changed)
	}
}

func TestAChangeOfBoundsIsLookedForOnceNotEachTime(t *testing.T) {
	var r rules
	p := bounded("", v1alpha1.InstanceBounds{Bounds: []v1alpha1.CronBounds{cronBounds("* 15 ? * *", 6, 12)}})
	r.of(p, 1, noon, 0)
	first := r.changeOfBounds(noon, 0)
	r.bounds.windows = nil // a second look would find nothing
	if again := r.changeOfBounds(noon.Add(2*time.Second), 0); !first.Equal(noon.Add(3*time.Hour)) || !again.Equal(first) {
		t.Errorf("changes at %v, then %v", first, again)
	}
	if again := r.changeOfBounds(noon.Add(time.Minute), time.Minute); !again.IsZero() {
		t.Errorf("with another lead time %v", again)
	}
}

func TestAPeriodIsToldAndNoneIsZero(t *testing.T) {
	w := newWorld(2, 0.20)
	w.demand = func(at time.Time) float64 {
		if at.Before(days(2)) {
			return math.NaN()
		}
		return 0.4
	}
	if got := newBench(t, w, policy()).sync("fib-gpu", 0).Status.Periodicity; got == nil || *got != 0 {
		t.Errorf("period of what never changes is %v, want 0", got)
	}
	if got := newBench(t, newWorld(2, 0.20), policy()).sync("fib-gpu", 0).Status.Periodicity; got != nil {
		t.Errorf("period %d without a forecast", *got)
	}
}
