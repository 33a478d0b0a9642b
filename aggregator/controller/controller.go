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

	"golang.org/x/time/rate"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
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

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// Defaults of Options.
const (
	DefaultSyncInterval = 2 * time.Second
	DefaultWorkers      = 16 // they wait for the API server most of the time
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
	writes   *rate.Limiter                      // of statuses

	budgets      budgets
	placeholders placeholders
	sleepers     *sleepers
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
		writes:  rate.NewLimiter(writesPerSecond, writesAtOnce),
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
	// What is not written is seen again at the next sync, and told then.
	if written, err := r.write(ctx, before, policy, act.scaled, start); err != nil {
		r.Logger.Warn("status not written", "policy", req.NamespacedName, "err", err)
	} else if written {
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
