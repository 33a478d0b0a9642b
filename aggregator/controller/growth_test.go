package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// oneGPU is what a pod of the world's target asks of a node.
func oneGPU() *corev1.PodSpec {
	return &corev1.PodSpec{Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1"), "cpu": resource.MustParse("4")},
	}}}}
}

// crowded is a world whose target has two pods and may grow by so many.
func crowded(busy float64, room int32) *world {
	w := newWorld(2, busy)
	w.target.Shape = oneGPU()
	w.room = Room{Pods: room, Known: true, Type: "A100", FreeGPUs: int64(room)}
	return w
}

// queued adds pods that the scheduler has found no GPU for.
func (w *world) queued(n int) {
	for i := range n {
		w.target.Pods = append(w.target.Pods, Pod{Name: fmt.Sprint("waits-", i), State: scaling.Unready, GPUs: 1, LacksGPUs: true})
	}
}

func pending(most int32) func(*v1alpha1.AdvancedHorizontalPodAutoscaler) {
	return func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.MaxPendingReplicas = &most }
}

func message(p *v1alpha1.AdvancedHorizontalPodAutoscaler) string {
	return meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionScalingLimited).Message
}

func TestMoreThanTheClusterHasGPUsForIsAskedForAndSaid(t *testing.T) {
	b := newBench(t, crowded(0.60, 1), policy(auto)) // 6 are wanted
	p := b.sync("fib-gpu", 0)
	b.expectScaled("bert@1=6")
	expectCondition(t, p, v1alpha1.ConditionScalingLimited, "True NoFreeGPUs")
	if got := b.shown["default/fib-gpu"].Limited(); got != "NoFreeGPUs" {
		t.Errorf("metrics say it is limited by %q", got)
	}
	want := "6 replicas are wanted and 2 have a node: 4 more GPUs of type A100 are wanted, 1 are free, which is room for 1 replicas"
	if got := message(p); got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	b.expectEvents("SuccessfulRescale", "Warning NoFreeGPUs: "+want)
	if got := b.shown["default/fib-gpu"].Limited(); got != "NoFreeGPUs" {
		t.Errorf("its metric says that it is limited by %q", got)
	}

	// The scheduler finds a node for one of the four.
	b.run(3, 0.40)
	b.target.Replicas = 6
	b.queued(3)
	b.room.Pods, b.room.FreeGPUs = 0, 0
	p = b.sync("fib-gpu", 20*time.Second)
	expectCondition(t, p, v1alpha1.ConditionScalingLimited, "True NoFreeGPUs")
	if got := message(p); !strings.Contains(got, "3 pods wait for a GPU") {
		t.Errorf("it says %q", got)
	}
	b.expectEvents() // it goes on

	// Nodes come.
	b.run(6, 0.20)
	p = b.sync("fib-gpu", 20*time.Second)
	expectCondition(t, p, v1alpha1.ConditionScalingLimited, "False DesiredWithinRange")
}

func TestPodsThatWaitAndAreWantedNoMoreAreNoShortage(t *testing.T) {
	b := newBench(t, crowded(0.05, 0), policy(auto)) // one would do
	b.target.Replicas = 4
	b.queued(2)
	b.sync("fib-gpu", 0)
	p := b.sync("fib-gpu", 301*time.Second)
	expectCondition(t, p, v1alpha1.ConditionScalingLimited, "False DesiredWithinRange")
}

func TestOnlySoManyReplicasWaitAsThePolicyAllows(t *testing.T) {
	for name, c := range map[string]struct {
		room    int32
		waiting int
		most    int32
		want    string
	}{
		"none may wait and some fit":           {2, 0, 0, "bert@1=4"},
		"none may wait and none fits":          {0, 0, 0, ""},
		"some may wait":                        {1, 0, 2, "bert@1=5"},
		"some wait already":                    {0, 1, 2, "bert@1=4"},
		"all that may wait do":                 {0, 2, 2, ""},
		"what is free is for those that wait":  {2, 2, 2, ""},
		"those that are asked for come first":  {-3, 0, 0, ""},
		"more may wait than are wanted":        {0, 0, 50, "bert@1=6"},
		"all fit":                              {9, 0, 0, "bert@1=6"},
		"what is free is for more than waited": {3, 1, 1, "bert@1=5"},
	} {
		w := crowded(0.60, c.room)
		w.queued(c.waiting)
		w.target.Replicas = 2 + int32(c.waiting)
		if c.room < 0 { // as many are free, and were asked for a moment ago
			w.room.Pods, w.target.Replicas = -c.room, 2-c.room
		}
		b := newBench(t, w, policy(auto, pending(c.most)))
		b.sync("fib-gpu", 0)
		if got := strings.Join(b.scaled, " "); got != c.want {
			t.Errorf("%s: scaled %q, want %q", name, got, c.want)
		}
	}
}

func TestWhatRunsAndMinReplicasStayWhateverIsFree(t *testing.T) {
	least := int32(4)
	b := newBench(t, crowded(0.60, 0), policy(auto, pending(0), func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.MinReplicas = &least }))
	b.sync("fib-gpu", 0)
	b.expectScaled("bert@1=4")
}

func TestNothingIsLimitedWhereTheClusterIsNotKnown(t *testing.T) {
	w := crowded(0.60, 0)
	w.room.Known = false
	b := newBench(t, w, policy(auto, pending(0)))
	p := b.sync("fib-gpu", 0)
	b.expectScaled("bert@1=6")
	expectCondition(t, p, v1alpha1.ConditionScalingLimited, "False DesiredWithinRange")
	if got := b.shown["default/fib-gpu"].GPUs; got.Type != "A100" || got.PerPod != 1 || got.Shape == nil {
		t.Errorf("its GPUs are %+v", got)
	}
}

// of gives a policy a budget.
func of(budget string, gpus int32) func(*v1alpha1.AdvancedHorizontalPodAutoscaler) {
	return func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		p.Spec.ReplicaBudget = &v1alpha1.ReplicaBudget{Name: budget, MaxGPUs: gpus}
	}
}

func TestPoliciesOfABudgetShareIt(t *testing.T) {
	other := func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.ScaleTargetRef.Name = "tide" }
	w := newWorld(2, 0.60)
	b := newBench(t, w, policy(auto, of("team", 8)), policy(auto, named("tide", time.Hour), other, of("team", 9)))

	// A leader that has just begun knows of one what it wants: the other is waited for.
	p := b.sync("fib-gpu", 0)
	b.expectScaled()
	expectCondition(t, p, v1alpha1.ConditionScalingLimited, "True BudgetExceeded")
	b.expectEvents("Warning BudgetExceeded: 6 replicas are wanted: 1 other policies")
	b.sync("tide", 0)
	b.expectScaled("tide@1=4") // 6 are wanted by each: the smallest maxGPUs is 8, and 4 GPUs for each
	b.expectEvents("SuccessfulRescale", `Warning BudgetExceeded: 6 replicas are wanted: the budget "team" of 8 GPUs, which 2 policies share, leaves it 4 replicas of 1 GPUs`)
	b.sync("fib-gpu", time.Second)
	b.expectScaled("bert@1=4")

	// What one wants no more, the other gets.
	b.run(4, 0.05)
	b.sync("tide", time.Second)
	b.run(1, 0.05)
	b.sync("tide", 301*time.Second)
	b.run(4, 0.30)
	b.sync("fib-gpu", time.Second)
	b.scaled = nil
	p = b.sync("fib-gpu", 2*time.Second) // its load tells of now
	b.expectScaled("bert@1=6")
	expectCondition(t, p, v1alpha1.ConditionScalingLimited, "False DesiredWithinRange")
}

func TestABudgetTakesNothingFromWhatRuns(t *testing.T) {
	b := newBench(t, newWorld(5, 0.30), policy(auto, of("team", 2)))
	p := b.sync("fib-gpu", 0)
	b.expectScaled()
	if *p.Status.DesiredReplicas != 5 {
		t.Errorf("desired %d, want 5", *p.Status.DesiredReplicas)
	}
	b.run(5, 0.05)
	b.sync("fib-gpu", time.Second)
	b.sync("fib-gpu", 301*time.Second)
	b.expectScaled("bert@1=2") // its own decision is lower
}

func TestAPolicyThatOnlyObservesTakesNothingOfABudgetButWhatRuns(t *testing.T) {
	other := func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.ScaleTargetRef.Name = "tide" }
	b := newBench(t, newWorld(2, 0.60), policy(auto, of("team", 8)), policy(named("tide", time.Hour), other, of("team", 8)))
	b.sync("tide", 0)
	b.sync("fib-gpu", 0)
	b.expectScaled("bert@1=6") // 8 less the 2 that run
	p := b.sync("tide", time.Second)
	if got := *p.Status.DesiredReplicas; got != 4 {
		t.Errorf("the observer would get %d, want 4", got)
	}
}

func tideHPA() *autoscalingv2.HorizontalPodAutoscaler {
	hpa := bertHPA()
	hpa.Name, hpa.Spec.ScaleTargetRef.Name = "tide-hpa", "tide"
	return hpa
}

// tideOfTeam is a second policy of the budget, with a target of its own.
func tideOfTeam(options ...func(*v1alpha1.AdvancedHorizontalPodAutoscaler)) *v1alpha1.AdvancedHorizontalPodAutoscaler {
	return policy(append(options, named("tide", 2*time.Hour), of("team", 8), func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		p.Spec.ScaleTargetRef.Name, *p.Spec.StabilizationWindowSeconds = "tide", 0
	})...)
}

func TestReplicasThatABudgetsOtherPoliciesLeaveAsTheyAreCountInFull(t *testing.T) {
	for name, tide := range map[string]*v1alpha1.AdvancedHorizontalPodAutoscaler{
		"it observes":             tideOfTeam(),
		"it is paused":            tideOfTeam(auto, func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.Paused = true }),
		"an HPA is on its target": tideOfTeam(auto),
		"someone set them": tideOfTeam(auto, func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
			p.Status.ManualOverride = &v1alpha1.ManualOverrideStatus{Replicas: 6, DecidedReplicas: 2, Since: metav1.NewTime(noon)}
		}),
	} {
		b := newBench(t, newWorld(6, 0.05), policy(auto, of("team", 8)), tide)
		if name == "an HPA is on its target" {
			b.create(tideHPA())
		}
		b.sync("tide", 0)
		if b.scaled != nil {
			t.Fatalf("%s: scaled %v", name, b.scaled)
		}
		b.run(2, 0.60)
		b.sync("fib-gpu", 0) // 6 are wanted, and 8 GPUs less 6 leave none beyond the 2 that run
		if b.scaled != nil {
			t.Errorf("%s: scaled %v, want nothing", name, b.scaled)
		}
	}
}

func TestAPolicyThatSomethingElseStandsInTheWayOfTakesNothingOfABudget(t *testing.T) {
	b := newBench(t, newWorld(2, 0.60), policy(auto, of("team", 8)), tideOfTeam(auto))
	b.create(tideHPA())
	b.sync("tide", 0) // 6 are wanted, and not set
	b.sync("fib-gpu", 0)
	b.expectScaled("bert@1=6")
}

func TestPoliciesOfOtherBudgetsHaveTheirOwn(t *testing.T) {
	other := func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.ScaleTargetRef.Name = "tide" }
	b := newBench(t, newWorld(2, 0.60), policy(auto, of("team", 8)), policy(auto, named("tide", time.Hour), other, of("batch", 5)))
	b.sync("fib-gpu", 0)
	b.sync("tide", 0)
	b.expectScaled("bert@1=6", "tide@1=5")

	// One that changes over is one of the other's. The world keeps its two replicas, as if someone had set them back.
	clear(b.hands)
	p := b.sync("tide", 0)
	b.scaled = nil
	of("team", 8)(p)
	if err := b.Client.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	clear(b.hands)
	b.sync("tide", time.Second)
	b.sync("fib-gpu", time.Second)
	b.expectScaled("tide@1=4", "bert@1=4")
	if n := len(b.budgets.known); n != 1 {
		t.Errorf("%d budgets are remembered, want 1", n)
	}
}

func TestAPolicyThatGoesGivesItsPartBack(t *testing.T) {
	other := func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.ScaleTargetRef.Name = "tide" }
	b := newBench(t, newWorld(2, 0.60), policy(auto, of("team", 8)), policy(auto, named("tide", time.Hour), other, of("team", 8)))
	b.sync("tide", 0)
	tide := b.sync("fib-gpu", 0)
	b.expectScaled("bert@1=4")
	tide.Name, tide.UID = "tide", "uid-tide"
	if err := b.Client.Delete(t.Context(), tide); err != nil {
		t.Fatal(err)
	}
	clear(b.hands) // the world keeps its two replicas, as if someone had set them back
	b.sync("tide", time.Second)
	b.sync("fib-gpu", time.Second)
	b.expectScaled("bert@1=6")
	if n := len(b.budgets.of); n != 1 {
		t.Errorf("%d policies are remembered in budgets, want 1", n)
	}
}

func TestWhoComesToALargeBudgetWaitsUntilItIsDivided(t *testing.T) {
	b := &newBench(t, newWorld(2, 0.60)).budgets
	wants := claim{Share: scaling.Share{GPUs: 1, Held: 1, Wanted: 1}, running: 1, acts: true, maxGPUs: 400}
	look := func(i int, now time.Time) (scaling.Ceiling, bool) {
		return b.ceiling(policy(named(fmt.Sprint("p", i), time.Hour), of("team", 400)), wants, func() []types.UID { return nil }, now)
	}
	for i := range fewMembers + 1 {
		look(i, noon)
	}
	wants.Wanted = 300
	if c, held := look(fewMembers+1, noon); !held || c.Replicas != 1 {
		t.Errorf("at once %+v, %v; want what runs", c, held)
	}
	if c, held := look(fewMembers+1, noon.Add(divideEvery)); !held || c.Replicas != 143 {
		t.Errorf("after that %+v, %v; want what 257 others leave of 400", c, held)
	}
}

func TestNobodyWaitsForEverForAPolicyThatIsNotLookedAt(t *testing.T) {
	b := newBench(t, newWorld(2, 0.60), policy(auto, of("team", 8)), policy(auto, named("tide", time.Hour), of("team", 8)))
	b.sync("fib-gpu", 0)
	b.expectScaled()
	b.sync("fib-gpu", waitForOthers)
	b.expectScaled("bert@1=6")
}

func TestNobodyWaitsForAPolicyWhoseTargetIsNotThere(t *testing.T) {
	w := newWorld(2, 0.60)
	b := newBench(t, w, policy(auto, of("team", 8)), policy(auto, named("tide", time.Hour), of("team", 8)))
	b.sync("fib-gpu", 0)
	w.absent = notFound()
	b.sync("tide", 0)
	w.absent = nil
	b.sync("fib-gpu", time.Second)
	b.expectScaled("bert@1=6")
}
