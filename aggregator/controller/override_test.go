package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// serve gives the target so many replicas that together keep so many GPUs busy.
func (w *world) serve(replicas int32, gpus float64) { w.run(replicas, gpus/float64(replicas)) }

// settled is a bench whose policy has scaled to the 4 replicas that 0.8 busy GPUs ask for, and has seen them for ten minutes.
func settled(t *testing.T) *bench {
	t.Helper()
	b := newBench(t, newWorld(2, 0.4), policy(auto))
	b.sync("fib-gpu", 0)
	b.expectScaled("bert@1=4")
	for range 20 {
		b.serve(4, 0.8)
		b.sync("fib-gpu", 30*time.Second)
	}
	b.expectScaled()
	b.records = nil
	return b
}

func TestReplicasThatSomeoneSetsStandUntilSomethingElseIsDecided(t *testing.T) {
	b := settled(t)
	b.serve(8, 0.8)
	p := b.sync("fib-gpu", 2*time.Second)
	b.expectScaled()
	b.expectEvents("ManualOverride: someone else set 8 replicas when 4 were decided")
	expectCondition(t, p, v1alpha1.ConditionAbleToScale, "True ManualOverride")
	if o := p.Status.ManualOverride; o == nil || o.Replicas != 8 || o.DecidedReplicas != 4 {
		t.Errorf("override %+v", o)
	}
	for range 60 { // half an hour, far beyond the stabilization window
		b.serve(8, 0.8)
		b.sync("fib-gpu", 30*time.Second)
	}
	b.expectScaled()
	b.serve(8, 1.0) // 5 pods' worth
	p = b.sync("fib-gpu", 2*time.Second)
	b.expectScaled("bert@1=5")
	if p.Status.ManualOverride != nil {
		t.Errorf("override %+v after another decision", p.Status.ManualOverride)
	}
}

func TestAManualEditOutlivesATargetThatCannotBeReadForAMoment(t *testing.T) {
	b := settled(t)
	b.serve(8, 0.8)
	b.sync("fib-gpu", 2*time.Second)
	b.absent = errors.New("the API server is overloaded")
	b.sync("fib-gpu", 2*time.Second)
	b.absent = nil
	for range 60 {
		b.serve(8, 0.8)
		b.sync("fib-gpu", 30*time.Second)
	}
	b.expectScaled()
	b.absent = notFound()
	if p := b.sync("fib-gpu", 2*time.Second); p.Status.ManualOverride != nil {
		t.Errorf("override %+v of a target that is gone", p.Status.ManualOverride)
	}
}

func TestFewerReplicasThatSomeoneSetsStandToo(t *testing.T) {
	b := settled(t)
	for range 30 {
		b.serve(2, 0.8)
		b.sync("fib-gpu", 30*time.Second)
	}
	b.expectScaled()
	b.serve(2, 1.0) // demand rises right after
	b.sync("fib-gpu", 2*time.Second)
	b.expectScaled("bert@1=5")
}

func TestDemandThatFallsEndsAManualOverrideAfterTheWindow(t *testing.T) {
	b := settled(t)
	b.serve(8, 0.8)
	b.sync("fib-gpu", 2*time.Second)
	b.serve(8, 0.4)
	b.sync("fib-gpu", 2*time.Second)
	b.sync("fib-gpu", 4*time.Minute)
	b.expectScaled()
	b.sync("fib-gpu", time.Minute+2*time.Second)
	b.expectScaled("bert@1=2")
}

func TestOtherRoundingOfTheSameLoadIsNoOtherDecision(t *testing.T) {
	b := newBench(t, newWorld(4, 0.65), policy(auto, func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		p.Spec.Metrics[0].Resource.Target.AverageUtilization = new(int32(60))
	}))
	b.sync("fib-gpu", 0) // 65% is within the tolerance of 60%: 4 are kept
	b.sync("fib-gpu", 6*time.Minute)
	b.expectScaled()
	for range 20 { // at 8 the same 2.6 GPUs round to 5
		b.serve(8, 2.6)
		b.sync("fib-gpu", 30*time.Second)
	}
	b.expectScaled()
	b.serve(8, 3.2)
	b.sync("fib-gpu", 2*time.Second)
	b.expectScaled("bert@1=6")
}

func TestPodsThatStartAfterAManualEditDecideNothing(t *testing.T) {
	b := settled(t)
	b.serve(8, 0.8)
	for i := 4; i < 8; i++ { // four minutes of loading weights
		b.target.Pods[i].State, b.target.Pods[i].ReadySince = scaling.Unready, time.Time{}
		delete(b.loads, "default/"+b.target.Pods[i].Name)
		b.loads["default/"+b.target.Pods[i-4].Name] = Load{GPUs: 1, BusyGPUs: 0.2}
	}
	for range 120 {
		b.sync("fib-gpu", 2*time.Second)
	}
	b.serve(8, 0.8)
	for range 120 {
		b.sync("fib-gpu", 2*time.Second)
	}
	b.expectScaled()
}

func TestAManualEditOutsideTheBoundsIsSetRightAtOnce(t *testing.T) {
	b := settled(t)
	b.serve(12, 0.8)
	b.sync("fib-gpu", 2*time.Second)
	b.expectScaled("bert@1=8")
}

func TestAManualOverrideOutlivesARestart(t *testing.T) {
	b := settled(t)
	b.serve(8, 0.8)
	b.sync("fib-gpu", 2*time.Second)
	again, err := New(Options{
		Client: b.Client, Events: b, Targets: b, Evaluator: NewEvaluator(b, nil, b, nil), Observer: b, Logger: b.Logger, Now: b.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Reconciler = again
	for range 30 {
		b.sync("fib-gpu", 30*time.Second)
	}
	b.expectScaled()
	b.serve(8, 1.2)
	b.sync("fib-gpu", 2*time.Second)
	b.expectScaled("bert@1=6")
}

func TestMissingTelemetryDoesNotEndAManualOverride(t *testing.T) {
	b := settled(t)
	b.serve(8, 0.8)
	b.sync("fib-gpu", 2*time.Second)
	clear(b.loads)
	b.sync("fib-gpu", 2*time.Second)
	for range 30 {
		b.serve(8, 0.8)
		b.sync("fib-gpu", 30*time.Second)
	}
	b.expectScaled()
}

func TestBackToWhatIsDecidedEndsAManualOverride(t *testing.T) {
	b := settled(t)
	b.serve(8, 0.8)
	b.sync("fib-gpu", 2*time.Second)
	b.serve(4, 0.8)
	if p := b.sync("fib-gpu", 2*time.Second); p.Status.ManualOverride != nil {
		t.Errorf("override %+v", p.Status.ManualOverride)
	}
}

func TestAScaleWithoutAnAnswerIsNoManualEdit(t *testing.T) {
	b := newBench(t, newWorld(2, 0.4), policy(auto))
	b.refuse = errors.New("timeout")
	b.sync("fib-gpu", 0)
	b.expectScaled("bert@1=4")
	b.refuse = nil
	b.serve(4, 0.8) // it had been done all the same
	if p := b.sync("fib-gpu", 2*time.Second); p.Status.ManualOverride != nil {
		t.Errorf("override %+v", p.Status.ManualOverride)
	}
}

func TestAPolicyStopsForAWhileWhenItsChangesAreUndoneAgainAndAgain(t *testing.T) {
	b := newBench(t, newWorld(2, 0.4), policy(auto))
	demand := []float64{0.8, 1.0, 1.2, 1.4}
	var p *v1alpha1.AdvancedHorizontalPodAutoscaler
	for _, gpus := range demand { // a tool sets 2 again whatever is set
		b.serve(2, gpus)
		p = b.sync("fib-gpu", 30*time.Second)
		b.serve(2, gpus)
		if len(b.scaled) == 3 {
			p = b.sync("fib-gpu", 2*time.Second)
			break
		}
		b.sync("fib-gpu", 2*time.Second)
	}
	b.expectScaled("bert@1=4", "bert@1=5", "bert@1=6")
	expectCondition(t, p, v1alpha1.ConditionTargetConflict, "True ReplicasFought")
	expectCondition(t, p, v1alpha1.ConditionAbleToScale, "False TargetConflict")
	if m := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionTargetConflict).Message; !strings.Contains(m, "until 12:16:36 UTC") {
		t.Errorf("message %q", m)
	}
	if last := b.records[len(b.records)-1]; !strings.HasPrefix(last, "ManualOverride") && !strings.HasPrefix(last, "Warning TargetConflict: someone else") {
		t.Errorf("last event %q", last)
	}
	b.serve(2, 1.6)
	b.sync("fib-gpu", 14*time.Minute)
	b.expectScaled()
	b.sync("fib-gpu", 2*time.Minute)
	b.expectScaled("bert@1=6") // as fast as it may
}

func TestAChangeThatIsLeftAloneBeginsTheCountAnew(t *testing.T) {
	b := newBench(t, newWorld(2, 0.4), policy(auto))
	for i, undone := range []bool{true, true, false, true, true} {
		gpus := 0.8 + float64(i)/5
		b.serve(b.target.Replicas, gpus)
		b.sync("fib-gpu", 20*time.Second)
		if len(b.scaled) != 1 {
			t.Fatalf("change %d: scaled %q, want one", i, b.scaled)
		}
		b.scaled = nil
		if undone {
			b.serve(2, gpus)
		} else {
			b.serve(*b.shown["default/fib-gpu"].Level, gpus)
		}
		b.sync("fib-gpu", 2*time.Second)
		p := b.sync("fib-gpu", 20*time.Second)
		expectCondition(t, p, v1alpha1.ConditionTargetConflict, "False NoRival")
	}
}
