// Package controller carries out policies: each sync interval it reads a policy's scale target, asks the Evaluator for a
// decision, applies it where the strategy allows that, and writes down what it saw and why.
//
//	policy ─► target ─► Evaluator (loads, history ─► forecast ─► scaling) ─► scale subresource (auto only)
//	                                                                     └─► status, events, Observer
//
// The Evaluator knows no API server; the Reconciler does nothing else.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// Defaults of Options.
const (
	DefaultSyncInterval = 2 * time.Second
	DefaultWorkers      = 4
)

// syncTimeout bounds one sync of one policy, so that an API server that does not answer keeps no worker for ever.
const syncTimeout = 30 * time.Second

// syncEach is what a policy adds to the time from one look to the next where there are very many: each look reads a scale subresource, and
// 500 of them a second is what an API server should have to bear. A surge is not waited for: see Wake.
const syncEach = 2 * time.Millisecond

// Options is what a Reconciler needs.
type Options struct {
	Client client.Client
	// Live reads from the API server itself, past the Client's cache; nil means that the Client has none.
	Live      client.Reader
	Events    events.EventRecorder
	Targets   Targets
	Evaluator *Evaluator
	// Accuracies says how good forecasts were; nil means that nobody knows.
	Accuracies Accuracies
	// Capacity knows what the cluster has room for; nil means nobody does.
	Capacity Capacity
	// PlaceholderImage is what placeholder pods run; "" means DefaultPlaceholderImage.
	PlaceholderImage string
	// Observer is shown every evaluation; nil means nobody looks.
	Observer Observer
	Logger   *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// SyncInterval is the time from one look at a policy to the next; 0 means DefaultSyncInterval. With many policies it is longer: 10 s
	// with 5,000.
	SyncInterval time.Duration
	// Workers is how many policies are looked at at once; 0 means DefaultWorkers.
	Workers int
}

// Reconciler keeps scale targets at what their policies decide.
type Reconciler struct {
	Options

	mu       sync.Mutex
	policies map[types.NamespacedName]types.UID // that have something remembered
	written  map[types.UID]time.Time            // when each policy's status was last written
	hands    map[types.UID]*hand                // of policies that act

	budgets      budgets
	placeholders placeholders
	sleepers     *sleepers
}

// quiet is how long a status stands before a mere change of numbers is written; with more than a thousand policies it is quietEach for
// each of them, so that all together write no more than a hundred times a second.
const (
	quiet     = 10 * time.Second
	quietEach = 10 * time.Millisecond
)

func (r *Reconciler) mayWrite(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.Sub(r.written[policy.UID]) >= max(quiet, time.Duration(len(r.policies))*quietEach)
}

func (r *Reconciler) wrote(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.written[policy.UID] = now
}

// New checks the options and fills in defaults.
func New(opts Options) (*Reconciler, error) {
	if opts.Client == nil || opts.Events == nil || opts.Targets == nil || opts.Evaluator == nil || opts.Logger == nil {
		return nil, errors.New("controller: Options.Client, Events, Targets, Evaluator and Logger are all needed")
	}
	if opts.SyncInterval < 0 || opts.Workers < 0 {
		return nil, fmt.Errorf("controller: SyncInterval is %v and Workers is %d, neither may be negative", opts.SyncInterval, opts.Workers)
	}
	if opts.SyncInterval == 0 {
		opts.SyncInterval = DefaultSyncInterval
	}
	if opts.Workers == 0 {
		opts.Workers = DefaultWorkers
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Live == nil {
		opts.Live = opts.Client
	}
	if opts.Observer == nil {
		opts.Observer = nobody{}
	}
	if opts.Capacity == nil {
		opts.Capacity = endless{}
	}
	if opts.PlaceholderImage == "" {
		opts.PlaceholderImage = DefaultPlaceholderImage
	}
	opts.Events = shortEvents{opts.Events}
	return &Reconciler{
		Options: opts, policies: make(map[types.NamespacedName]types.UID), written: make(map[types.UID]time.Time), hands: make(map[types.UID]*hand), sleepers: newSleepers(),
		budgets: budgets{known: make(map[budgetKey]*budget), of: make(map[types.UID]budgetKey)}, placeholders: placeholders{of: make(map[types.UID]*held)},
	}, nil
}

// Name is the controller's name in logs, events and metrics.
func (r *Reconciler) Name() string { return "policy" }

// Register adds the controller to a manager whose scheme knows the policy. It acts only where the manager is the leader.
func (r *Reconciler) Register(ctx context.Context, mgr manager.Manager) error {
	for _, autoscaler := range []client.Object{&v1alpha1.AdvancedHorizontalPodAutoscaler{}, &autoscalingv2.HorizontalPodAutoscaler{}} {
		if err := mgr.GetFieldIndexer().IndexField(ctx, autoscaler, targetIndex, indexTarget); err != nil {
			return fmt.Errorf("index autoscalers by target: %w", err)
		}
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &autoscalingv2.HorizontalPodAutoscaler{}, takenIndex, indexTaken); err != nil {
		return fmt.Errorf("index autoscalers by who took them over: %w", err)
	}
	return builder.ControllerManagedBy(mgr).
		Named(r.Name()).
		// A status written here is no reason to look again.
		For(&v1alpha1.AdvancedHorizontalPodAutoscaler{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Func(r.sleepers.start)).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.Workers, ReconciliationTimeout: syncTimeout}).
		Complete(r)
}

// Reconcile looks at one policy once. What goes wrong is written into the policy's status and tried again at the next sync,
// never sooner and never later: a backoff would leave a policy alone for minutes after an API server was away.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	start := r.Now()
	policy := &v1alpha1.AdvancedHorizontalPodAutoscaler{}
	err := r.Client.Get(ctx, req.NamespacedName, policy)
	if apierrors.IsNotFound(err) || err == nil && !policy.DeletionTimestamp.IsZero() {
		r.forget(req.NamespacedName) // A policy that goes away scales nothing.
		if err == nil {
			return r.release(ctx, policy)
		}
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("get policy: %w", err)
	}
	r.remember(req.NamespacedName, policy.UID)
	policy = policy.DeepCopy()
	policy.Spec.Default()
	r.sleepers.looked(req.NamespacedName, workloadOf(policy), start)

	evaluation, act := r.sync(ctx, policy, start)
	evaluation.Took = r.Now().Sub(start)
	r.Observer.Observed(evaluation)

	before := policy.DeepCopy()
	policy.Status.Accuracy = r.accuracy(policy, evaluation)
	report(&policy.Status, policy.Generation, evaluation, act)
	r.holdNodes(ctx, policy, evaluation, act)
	if act.scaled {
		r.tellScaled(policy, evaluation, act)
	}
	if err := r.write(ctx, before, policy, start); err != nil {
		// What is not written is seen again at the next sync, and told then.
		r.Logger.Warn("status not written", "policy", req.NamespacedName, "err", err)
	} else {
		r.tellTroubles(before, policy)
		r.tellShortage(before, policy)
	}
	return reconcile.Result{RequeueAfter: max(r.interval()-r.Now().Sub(start), time.Millisecond)}, nil
}

// interval is the time from one look at a policy to the next: SyncInterval, and with very many policies longer.
func (r *Reconciler) interval() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.SyncInterval, time.Duration(len(r.policies))*syncEach)
}

// action is what became of a decision.
type action struct {
	// able is the condition AbleToScale.
	able State
	note Note
	// conflict is the condition TargetConflict.
	conflict stated
	// override is what someone else set, when that stands.
	override *v1alpha1.ManualOverrideStatus
	// scaled is true when the target was set; from and to are its replicas then.
	scaled   bool
	from, to int32
}

// sync reads, evaluates and applies.
func (r *Reconciler) sync(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, now time.Time) (Evaluation, action) {
	conflict := r.conflict(ctx, policy)
	ref := policy.Spec.ScaleTargetRef
	target, err := r.Targets.Target(ctx, policy.Namespace, ref)
	if err != nil {
		evaluation := describe(policy, now)
		evaluation.Problem = Note{failedGetScale, err.Error()}
		if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
			evaluation.Problem = Note{targetNotFound, fmt.Sprintf("%s %s %q is not in namespace %q", ref.APIVersion, ref.Kind, ref.Name, policy.Namespace)}
		}
		// What happened meanwhile is not known, nor with how many replicas it comes back: the next look starts a new window.
		r.Evaluator.Forget(policy.UID)
		r.letGo(policy.UID)
		r.budgets.missed(policy)
		act := action{able: False, note: evaluation.Problem, conflict: conflict}
		if evaluation.Problem.Reason == failedGetScale { // the next look finds out whether it still stands
			act.override = policy.Status.ManualOverride
		}
		return evaluation, act
	}
	if target.ScaledBy != "" && conflict.State == False {
		conflict = stated{True, Note{target.ScaledBy, fmt.Sprintf("%s scales the target itself: %s", target.ScaledBy, consequence(policy, "does"))}}
	}
	evaluation := r.Evaluator.Evaluate(ctx, policy, target, now)
	r.limit(ctx, policy, target, conflict.State, &evaluation)
	act := r.apply(ctx, policy, target, evaluation, conflict)
	return evaluation, act
}

// apply sets the target to what was decided, where the strategy allows it, nothing else scales it, and it is not there yet.
func (r *Reconciler) apply(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, target Target, e Evaluation, conflict stated) action {
	act := action{able: True, note: Note{"ReadyForNewScale", "the target can be read and set"}, conflict: conflict}
	switch {
	case !policy.Spec.ScaleStrategy.Acts():
		act.note = Note{"ObserverStrategy", fmt.Sprintf("the strategy is %s: decisions are shown and not applied", policy.Spec.ScaleStrategy)}
	case policy.Spec.Paused:
		act.note = Note{"Paused", "the policy is paused: decisions are shown and not applied"}
	case conflict.State == True:
		act.able, act.note = False, Note{"TargetConflict", conflict.Note.Message}
	case conflict.State == Unknown:
		act.able, act.note, act.override = Unknown, conflict.Note, policy.Status.ManualOverride
	default:
		return r.set(ctx, policy, target, e, act)
	}
	r.letGo(policy.UID)
	return act
}

// set sets the target, unless what someone else set stands.
func (r *Reconciler) set(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, target Target, e Evaluation, act action) action {
	hand, want := r.hand(policy.UID), e.Decision.Replicas
	if target.Floor == nil { // the floor of a Knative Service begins anew with each revision, whoever makes it
		hand.look(policy, target.Replicas, e.At)
	}
	stands := hand.stands(policy, target.Pods, e)
	fought := hand.paused(e.At)
	switch {
	case fought != "":
		act.conflict = stated{True, Note{"ReplicasFought", fought}}
		act.able, act.note = False, Note{"TargetConflict", fought}
		return act
	case stands:
		act.note, act.override = hand.standing.note(), hand.status()
		return act
	case want == target.set() || e.Decision.Reason == scaling.Disabled:
		return act
	}
	err := r.Targets.Scale(ctx, policy.Namespace, policy.Spec.ScaleTargetRef, want, target.Version)
	if apierrors.IsConflict(err) {
		return act // It changed meanwhile: the next sync decides on what it is by then.
	}
	hand.set(want, err)
	if err != nil {
		act.able, act.note = False, Note{"FailedUpdateScale", err.Error()}
		return act
	}
	act.scaled, act.from, act.to = true, target.set(), want
	act.note = Note{"SucceededRescale", fmt.Sprintf("scaled from %d to %d", act.from, act.to)}
	return act
}

// release hands back what a policy that is being deleted has taken over, and tries again when it cannot.
func (r *Reconciler) release(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler) (reconcile.Result, error) {
	if err := r.handBack(ctx, policy.DeepCopy(), ""); err != nil {
		r.Events.Eventf(policy, nil, corev1.EventTypeWarning, "FailedHandBack", "HandBack", "%v", err)
		r.Logger.Warn("a deleted policy waits", "policy", client.ObjectKeyFromObject(policy), "err", err)
		return reconcile.Result{RequeueAfter: quiet}, nil
	}
	return reconcile.Result{}, nil
}

// hand is what is remembered of who set a policy's target. One worker looks at a policy at a time.
func (r *Reconciler) hand(policy types.UID) *hand {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, ok := r.hands[policy]
	if !ok {
		h = &hand{}
		r.hands[policy] = h
	}
	return h
}

func (r *Reconciler) letGo(policy types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.hands, policy)
}

// write patches the status when something visible in it changed, and no more than once in quiet when only numbers moved: a
// utilization moves with nearly every sample, and thousands of policies share one API server.
func (r *Reconciler) write(ctx context.Context, before, after *v1alpha1.AdvancedHorizontalPodAutoscaler, now time.Time) error {
	if sameToTheEye(before.Status, after.Status) || onlyNumbersMoved(before.Status, after.Status) && !r.mayWrite(after, now) {
		return nil
	}
	r.wrote(after, now)
	// The answer is decoded into the object: into a copy, for the numbers of this one are shown elsewhere.
	return client.IgnoreNotFound(r.Client.Status().Patch(ctx, after.DeepCopy(), client.MergeFrom(before)))
}

// tellScaled records a rescale.
func (r *Reconciler) tellScaled(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, evaluation Evaluation, act action) {
	ref := policy.Spec.ScaleTargetRef
	r.Events.Eventf(policy, nil, corev1.EventTypeNormal, "SuccessfulRescale", "Rescale", "%s %s from %d to %d: %s",
		ref.Kind, ref.Name, act.from, act.to, evaluation.Decision.Message)
	r.Logger.Info("scaled", "policy", client.ObjectKeyFromObject(policy), "kind", ref.Kind, "target", ref.Name,
		"from", act.from, "to", act.to, "reason", evaluation.Decision.Reason)
}

// troubles are the conditions that are worth an event, and the state that is the trouble.
var troubles = map[string]State{v1alpha1.ConditionAbleToScale: False, v1alpha1.ConditionDataFresh: False, v1alpha1.ConditionTargetConflict: True}

// tellTroubles records each condition that came to be a trouble or is one for another reason than before, and what others set.
func (r *Reconciler) tellTroubles(before, after *v1alpha1.AdvancedHorizontalPodAutoscaler) {
	for _, is := range after.Status.Conditions {
		was := meta.FindStatusCondition(before.Status.Conditions, is.Type)
		if string(is.Status) != string(troubles[is.Type]) || was != nil && was.Status == is.Status && was.Reason == is.Reason {
			continue
		}
		reason := is.Reason
		switch {
		case reason == v1alpha1.ConditionTargetConflict: // told of by the condition of that name
			continue
		case is.Type == v1alpha1.ConditionTargetConflict:
			reason = is.Type
		case reason == "FailedUpdateScale":
			reason = "FailedRescale" // The HorizontalPodAutoscaler's word for this event.
		}
		r.Events.Eventf(after, nil, corev1.EventTypeWarning, reason, "Evaluate", "%s", is.Message)
		r.Logger.Warn("policy cannot be followed", "policy", client.ObjectKeyFromObject(after), "reason", reason, "message", is.Message)
	}
	if is, was := after.Status.ManualOverride, before.Status.ManualOverride; is != nil && (was == nil || was.Replicas != is.Replicas) {
		r.Events.Eventf(after, nil, corev1.EventTypeNormal, "ManualOverride", "Evaluate", "someone else set %d replicas when %d were decided: that stands until something else is decided",
			is.Replicas, is.DecidedReplicas)
	}
}

func (r *Reconciler) remember(name types.NamespacedName, uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.policies[name]; ok && old != uid {
		r.drop(old)
	}
	r.policies[name] = uid
}

func (r *Reconciler) forget(name types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if uid, ok := r.policies[name]; ok {
		r.drop(uid)
		delete(r.policies, name)
	}
	r.sleepers.forget(name)
	r.Observer.Forgotten(name.Namespace, name.Name)
}

// drop forgets all that is remembered for a policy. r.mu is held.
func (r *Reconciler) drop(uid types.UID) {
	r.Evaluator.Forget(uid)
	r.budgets.forget(uid)
	r.placeholders.forget(uid)
	delete(r.written, uid)
	delete(r.hands, uid)
}

// nobody is the Observer where none is given.
type nobody struct{}

func (nobody) Observed(Evaluation)      {}
func (nobody) Forgotten(string, string) {}
