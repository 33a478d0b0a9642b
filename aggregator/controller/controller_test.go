package controller

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// bench is a Reconciler over a world and a few policies, and how often it wrote a status.
type bench struct {
	*world
	*Reconciler
	t       *testing.T
	patches int
	answer  func(*v1alpha1.AdvancedHorizontalPodAutoscaler) // what the server's answer to a patch is decoded into
}

func newBench(t *testing.T, w *world, policies ...*v1alpha1.AdvancedHorizontalPodAutoscaler) *bench {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), autoscalingv2.AddToScheme(scheme), appsv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	b := &bench{world: w, t: t}
	builder := fake.NewClientBuilder().WithScheme(scheme).
		WithStatusSubresource(&v1alpha1.AdvancedHorizontalPodAutoscaler{}).
		WithIndex(&v1alpha1.AdvancedHorizontalPodAutoscaler{}, targetIndex, indexTarget).
		WithIndex(&autoscalingv2.HorizontalPodAutoscaler{}, targetIndex, indexTarget).
		WithIndex(&autoscalingv2.HorizontalPodAutoscaler{}, takenIndex, indexTaken).
		WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			b.patches++
			if b.answer != nil {
				b.answer(obj.(*v1alpha1.AdvancedHorizontalPodAutoscaler))
				return nil
			}
			return c.SubResource(sub).Patch(ctx, obj, patch, opts...)
		}})
	for _, p := range policies {
		builder = builder.WithObjects(p)
	}
	r, err := New(Options{
		Client: builder.Build(), Events: w, Targets: w, Evaluator: NewEvaluator(w, nil, w, nil), Capacity: w, Observer: w,
		Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return w.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Reconciler = r
	return b
}

// sync lets the controller look at a policy after some time, and returns it as it is then.
func (b *bench) sync(name string, after time.Duration) *v1alpha1.AdvancedHorizontalPodAutoscaler {
	b.t.Helper()
	b.now = b.now.Add(after)
	key := client.ObjectKey{Namespace: "default", Name: name}
	result, err := b.Reconcile(b.t.Context(), reconcile.Request{NamespacedName: key})
	if err != nil {
		b.t.Fatal(err)
	}
	var p v1alpha1.AdvancedHorizontalPodAutoscaler
	if err := b.Client.Get(b.t.Context(), key, &p); err != nil {
		if apierrors.IsNotFound(err) && result.RequeueAfter == 0 {
			return nil
		}
		b.t.Fatal(err)
	}
	if result.RequeueAfter != DefaultSyncInterval {
		b.t.Errorf("next sync after %v, want %v", result.RequeueAfter, DefaultSyncInterval)
	}
	return &p
}

func (b *bench) expectScaled(want ...string) {
	b.t.Helper()
	if diff := cmp.Diff(strings.Join(want, " "), strings.Join(b.scaled, " ")); diff != "" {
		b.t.Errorf("scaled (-want +got):\n%s", diff)
	}
	b.scaled = nil
}

func (b *bench) expectEvents(want ...string) {
	b.t.Helper()
	if len(want) != len(b.records) {
		b.t.Errorf("events %q, want %q", b.records, want)
	}
	for i := range min(len(want), len(b.records)) {
		if !strings.HasPrefix(b.records[i], want[i]) {
			b.t.Errorf("event %q, want %q…", b.records[i], want[i])
		}
	}
	b.records = nil
}

func expectCondition(t *testing.T, p *v1alpha1.AdvancedHorizontalPodAutoscaler, kind, want string) {
	t.Helper()
	c := meta.FindStatusCondition(p.Status.Conditions, kind)
	if c == nil {
		t.Errorf("no condition %s", kind)
	} else if got := string(c.Status) + " " + c.Reason; got != want {
		t.Errorf("%s is %s, want %s (%s)", kind, got, want, c.Message)
	}
}

func TestObserverShowsEverythingAndScalesNothing(t *testing.T) {
	b := newBench(t, newWorld(1, 0.60), policy())
	p := b.sync("fib-gpu", 0)
	b.expectScaled()
	b.expectEvents()
	s := p.Status
	if *s.CurrentReplicas != 1 || *s.DesiredReplicas != 3 || *s.ReactiveReplicas != 3 || s.ProactiveReplicas != nil ||
		*s.CurrentMetrics[0].Resource.Current.AverageUtilization != 60 || s.Decision.Reason != "ReactiveDemand" ||
		s.ObservedGeneration != 1 || s.LastScaleTime != nil {
		t.Errorf("status %+v", s)
	}
	var order []string
	for _, c := range s.Conditions {
		order = append(order, c.Type+"="+string(c.Status)+" "+c.Reason)
	}
	want := []string{
		"AbleToScale=True ObserverStrategy", "ScalingActive=True ValidMetricFound", "ScalingLimited=False DesiredWithinRange",
		"ForecastReady=False InsufficientHistory", "DataFresh=True FreshTelemetry", "TargetConflict=False NoRival",
	}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
	if e := b.shown["default/fib-gpu"]; e.Decision == nil || e.Decision.Replicas != 3 {
		t.Errorf("the observer was shown %+v", e)
	}
}

func TestAutoScalesUpOnceAndDownAfterTheWindow(t *testing.T) {
	b := newBench(t, newWorld(1, 0.60), policy(auto))
	p := b.sync("fib-gpu", 0)
	b.expectScaled("bert@1=3")
	b.expectEvents("SuccessfulRescale: Deployment bert from 1 to 3: utilization is 60%")
	expectCondition(t, p, v1alpha1.ConditionAbleToScale, "True SucceededRescale")
	if !p.Status.LastScaleTime.Time.Equal(noon) {
		t.Errorf("last scaled at %v, want %v", p.Status.LastScaleTime, noon)
	}
	b.run(3, 0.20)
	p = b.sync("fib-gpu", 2*time.Second)
	b.expectScaled()
	expectCondition(t, p, v1alpha1.ConditionAbleToScale, "True ReadyForNewScale")
	if *p.Status.CurrentReplicas != 3 || !p.Status.LastScaleTime.Time.Equal(noon) {
		t.Errorf("status %+v", p.Status)
	}
	b.run(3, 0.05)
	b.sync("fib-gpu", 290*time.Second)
	b.expectScaled()
	b.sync("fib-gpu", 12*time.Second)
	b.expectScaled("bert@1=1")
	b.expectEvents("SuccessfulRescale: Deployment bert from 3 to 1")
}

func TestNothingIsWrittenWhileNothingChanges(t *testing.T) {
	w := newWorld(2, 0.200)
	w.demand = workday(days(3).Add(30 * time.Minute))
	b := newBench(t, w, policy())
	b.sync("fib-gpu", 0)
	if b.patches != 1 {
		t.Fatalf("%d writes at first, want 1", b.patches)
	}
	for i := range 300 { // ten minutes of noise below a percent
		w.run(2, 0.200+float64(i%9)/1000)
		b.sync("fib-gpu", 2*time.Second)
	}
	if b.patches != 1 {
		t.Errorf("%d writes in ten quiet minutes, want none after the first", b.patches)
	}
	w.run(2, 0.210)
	p := b.sync("fib-gpu", 2*time.Second)
	if b.patches != 2 || *p.Status.CurrentMetrics[0].Resource.Current.AverageUtilization != 21 {
		t.Errorf("%d writes after a visible change, want 2", b.patches)
	}
}

func TestNumbersThatMoveWithEverySampleAreWrittenNowAndThen(t *testing.T) {
	w := newWorld(2, 0.20)
	b := newBench(t, w, policy())
	b.sync("fib-gpu", 0)
	for i := range 300 { // ten minutes in which the utilization goes to and fro within the tolerance
		w.run(2, 0.19+float64(i%3)/100)
		b.sync("fib-gpu", 2*time.Second)
	}
	if b.patches < 30 || b.patches > 61 {
		t.Errorf("%d writes in ten minutes, want one in ten seconds", b.patches)
	}
	before := b.patches
	w.run(2, 0.60)
	if p := b.sync("fib-gpu", 2*time.Second); b.patches != before+1 || *p.Status.DesiredReplicas != 6 {
		t.Error("a decision that changed was not written at once")
	}
}

func TestATargetThatCouldNotBeReadForLongIsNotLoweredByTheFirstLookAfterwards(t *testing.T) {
	w := newWorld(6, 0.20)
	b := newBench(t, w, policy(auto))
	b.sync("fib-gpu", 0)
	w.absent = errors.New("too many requests")
	b.sync("fib-gpu", 2*time.Second)
	w.absent = nil
	w.run(6, 0.01)
	if p := b.sync("fib-gpu", 10*time.Minute); *p.Status.DesiredReplicas != 6 {
		t.Errorf("desired %d after ten minutes of which nothing is known, want 6", *p.Status.DesiredReplicas)
	}
	b.expectScaled()
	b.sync("fib-gpu", 5*time.Minute+time.Second)
	b.expectScaled("bert@1=1")
}

func TestWhatTheServerAnswersDoesNotChangeWhatWasDecided(t *testing.T) {
	w := newWorld(2, 0.40)
	b := newBench(t, w, policy())
	// A decoder writes into the numbers an object already points to.
	b.answer = func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { *p.Status.DesiredReplicas = 99 }
	b.sync("fib-gpu", 0)
	if got := w.shown["default/fib-gpu"].Decision.Replicas; got != 4 {
		t.Errorf("%d replicas are shown, want the 4 that were decided", got)
	}
}

func TestAMissingTargetIsACondition(t *testing.T) {
	w := newWorld(3, 0.20)
	b := newBench(t, w, policy(auto))
	b.sync("fib-gpu", 0)
	w.absent = notFound()
	p := b.sync("fib-gpu", 2*time.Second)
	b.sync("fib-gpu", 2*time.Second)
	b.expectScaled()
	b.expectEvents(`Warning TargetNotFound: apps/v1 Deployment "bert" is not in namespace "default"`)
	expectCondition(t, p, v1alpha1.ConditionAbleToScale, "False TargetNotFound")
	expectCondition(t, p, v1alpha1.ConditionScalingActive, "False TargetNotFound")
	expectCondition(t, p, v1alpha1.ConditionDataFresh, "Unknown TargetNotFound")
	if p.Status.CurrentReplicas != nil || p.Status.DesiredReplicas != nil || p.Status.CurrentMetrics != nil {
		t.Errorf("old numbers are still shown: %+v", p.Status)
	}
	w.absent = nil
	w.run(1, 0.20) // it comes back smaller: nothing of what was before pulls it up
	p = b.sync("fib-gpu", 2*time.Second)
	b.expectScaled()
	expectCondition(t, p, v1alpha1.ConditionAbleToScale, "True ReadyForNewScale")
	if *p.Status.DesiredReplicas != 1 {
		t.Errorf("desired %d, want 1", *p.Status.DesiredReplicas)
	}
}

func TestAnAPIServerThatDoesNotAnswerIsNotAMissingTarget(t *testing.T) {
	w := newWorld(3, 0.20)
	w.absent = errors.New("connection refused")
	p := newBench(t, w, policy(auto)).sync("fib-gpu", 0)
	expectCondition(t, p, v1alpha1.ConditionAbleToScale, "False FailedGetScale")
}

func TestMissingTelemetryHoldsInAuto(t *testing.T) {
	w := newWorld(4, 0.01)
	b := newBench(t, w, policy(auto, func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { *p.Spec.StabilizationWindowSeconds = 0 }))
	clear(w.loads)
	p := b.sync("fib-gpu", 0)
	b.sync("fib-gpu", 2*time.Second)
	b.expectScaled()
	b.expectEvents("Warning MissingTelemetry: no fresh telemetry of 4 of 4 ready pods")
	expectCondition(t, p, v1alpha1.ConditionDataFresh, "False MissingTelemetry")
	expectCondition(t, p, v1alpha1.ConditionScalingActive, "False NoTelemetry")
	if *p.Status.DesiredReplicas != 4 || p.Status.CurrentMetrics[0].Current().AverageUtilization != nil {
		t.Errorf("status %+v", p.Status)
	}
}

func TestAConflictIsTriedAgainAtTheNextSync(t *testing.T) {
	w := newWorld(1, 0.60)
	w.refuse = apierrors.NewConflict(schema.GroupResource{Resource: "deployments"}, "bert", errors.New("changed"))
	b := newBench(t, w, policy(auto))
	p := b.sync("fib-gpu", 0)
	expectCondition(t, p, v1alpha1.ConditionAbleToScale, "True ReadyForNewScale")
	b.expectEvents()
	w.refuse, w.target.Version = nil, "2"
	b.sync("fib-gpu", 2*time.Second)
	b.expectScaled("bert@1=3", "bert@2=3")
	b.expectEvents("SuccessfulRescale")
}

func TestARefusedScaleIsToldOnceAndTriedAgain(t *testing.T) {
	w := newWorld(1, 0.60)
	w.refuse = errors.New("quota exceeded")
	b := newBench(t, w, policy(auto))
	p := b.sync("fib-gpu", 0)
	expectCondition(t, p, v1alpha1.ConditionAbleToScale, "False FailedUpdateScale")
	b.sync("fib-gpu", 2*time.Second)
	b.expectScaled("bert@1=3", "bert@1=3")
	b.expectEvents("Warning FailedRescale: quota exceeded")
}

func TestOfTwoPoliciesOnATargetTheOlderScales(t *testing.T) {
	w := newWorld(1, 0.60)
	b := newBench(t, w,
		policy(auto, named("young", time.Minute)),
		policy(auto, named("old", time.Hour)),
		policy(named("older-observer", 2*time.Hour)),
		policy(auto, named("elsewhere", 3*time.Hour), func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.ScaleTargetRef.Name = "other" }))
	p := b.sync("young", 0)
	b.expectScaled()
	expectCondition(t, p, v1alpha1.ConditionAbleToScale, "False TargetConflict")
	expectCondition(t, p, v1alpha1.ConditionTargetConflict, "True OlderPolicy")
	b.expectEvents(`Warning TargetConflict: policy "old" is older`)
	if *p.Status.DesiredReplicas != 3 {
		t.Errorf("desired %d, want 3: what it would do is shown", *p.Status.DesiredReplicas)
	}
	p = b.sync("old", 0)
	b.expectScaled("bert@1=3")
	expectCondition(t, p, v1alpha1.ConditionAbleToScale, "True SucceededRescale")
}

func TestAPolicyKeepsAwayFromATargetThatAHorizontalPodAutoscalerScales(t *testing.T) {
	hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "keda-hpa-bert"}}
	hpa.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1beta1", Kind: "Deployment", Name: "bert"}
	elsewhere := hpa.DeepCopy()
	elsewhere.Name, elsewhere.Namespace = "other", "other"
	b := newBench(t, newWorld(1, 0.60), policy(auto))
	for _, o := range []client.Object{hpa, elsewhere} {
		if err := b.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	p := b.sync("fib-gpu", 0)
	b.expectScaled()
	expectCondition(t, p, v1alpha1.ConditionAbleToScale, "False TargetConflict")
	expectCondition(t, p, v1alpha1.ConditionTargetConflict, "True HorizontalPodAutoscaler")
	b.expectEvents(`Warning TargetConflict: HorizontalPodAutoscaler "keda-hpa-bert" scales the same target`)

	hpa.OwnerReferences = []metav1.OwnerReference{{APIVersion: "keda.sh/v1alpha1", Kind: "ScaledObject", Name: "bert", UID: "1", Controller: new(true)}}
	if err := b.Client.Update(t.Context(), hpa); err != nil {
		t.Fatal(err)
	}
	p = b.sync("fib-gpu", 12*time.Second) // a sentence alone is not written at once
	expectCondition(t, p, v1alpha1.ConditionTargetConflict, "True ScaledObject")
	if got := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionAbleToScale).Message; !strings.HasPrefix(got, `ScaledObject "bert" (through HorizontalPodAutoscaler "keda-hpa-bert") scales the same target`) {
		t.Errorf("message %q", got)
	}
	if err := b.Client.Delete(t.Context(), hpa); err != nil {
		t.Fatal(err)
	}
	b.sync("fib-gpu", 2*time.Second)
	b.expectScaled("bert@1=3")
}

func TestADeletedPolicyScalesNothingAndIsForgotten(t *testing.T) {
	w := newWorld(1, 0.60)
	b := newBench(t, w, policy())
	p := b.sync("fib-gpu", 0)
	if len(b.Evaluator.windows) != 1 || len(b.shown) != 1 {
		t.Fatalf("%d windows, %d shown, want 1 and 1", len(b.Evaluator.windows), len(b.shown))
	}
	if err := b.Client.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	b.sync("fib-gpu", 2*time.Second)
	b.expectScaled()
	if len(b.Evaluator.windows) != 0 || len(b.shown) != 0 || len(b.policies) != 0 {
		t.Errorf("%d windows, %d shown, %d remembered, want none", len(b.Evaluator.windows), len(b.shown), len(b.policies))
	}
}

func TestAPolicyThatIsMadeAnewUnseenLeavesNothingBehind(t *testing.T) {
	b := newBench(t, newWorld(2, 0.20), policy())
	old := b.sync("fib-gpu", 0)
	again := policy(func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.UID = "uid-again" })
	if err := errors.Join(b.Client.Delete(t.Context(), old), b.Client.Create(t.Context(), again)); err != nil {
		t.Fatal(err)
	}
	b.sync("fib-gpu", time.Minute)
	if len(b.written) != 1 || len(b.Evaluator.windows) != 1 {
		t.Errorf("%d writes and %d windows are remembered of one policy", len(b.written), len(b.Evaluator.windows))
	}
}

func TestATargetWithoutReplicasIsSwitchedOff(t *testing.T) {
	b := newBench(t, newWorld(0, 0), policy(auto))
	p := b.sync("fib-gpu", 0)
	b.expectScaled()
	expectCondition(t, p, v1alpha1.ConditionScalingActive, "False ScalingDisabled")
	if *p.Status.DesiredReplicas != 0 {
		t.Errorf("desired %d, want 0", *p.Status.DesiredReplicas)
	}
}

func TestForecastIsInTheStatus(t *testing.T) {
	w := newWorld(2, 0.20)
	w.demand = workday(days(3))
	p := newBench(t, w, policy()).sync("fib-gpu", 0)
	expectCondition(t, p, v1alpha1.ConditionForecastReady, "True ForecastReady")
	f := p.Status.Forecast
	if f == nil || f.Method == "" || p.Status.Periodicity == nil || *p.Status.Periodicity != 86400 || f.HistorySeconds < 71*3600 || f.HistorySeconds > 72*3600 || f.PeakGPUs == "" {
		t.Errorf("forecast %+v", f)
	}
	if p.Status.ProactiveReplicas == nil {
		t.Error("no proactive replicas")
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	w := newWorld(1, 0)
	for name, c := range map[string]struct {
		opts Options
		want string
	}{
		"nothing":  {Options{}, "Client, Events, Targets, Evaluator and Logger"},
		"negative": {Options{Client: fake.NewFakeClient(), Events: w, Targets: w, Evaluator: NewEvaluator(w, nil, w, nil), Logger: slog.Default(), SyncInterval: -1}, "SyncInterval is -1ns"},
	} {
		if _, err := New(c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
