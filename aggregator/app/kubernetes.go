package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/identity"
	"github.com/foretide/foretide/aggregator/workload"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// A leader that cannot renew its Lease for 20 s stops deciding; another may begin 30 s after the last renewal. Kubernetes' own
// controllers take 10 s and 15 s, and restart with every short pause of the API server.
const (
	leaseLasts  = 30 * time.Second
	renewWithin = 20 * time.Second
	renewEvery  = 4 * time.Second
)

// withKubernetes adds what finds policies and pods in the cluster, decides and scales.
func (a *aggregator) withKubernetes(ctx context.Context) error {
	ctrl.SetLogger(logr.FromSlogHandler(a.log.Handler()))
	config, err := a.kubeconfig()
	if err != nil {
		return err
	}
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	mapper, err := apiutil.NewDynamicRESTMapper(config, transport)
	if err != nil {
		return err
	}
	clients, err := workload.Connect(config, mapper)
	if err != nil {
		return err
	}
	directory, err := workload.New(workload.Options{Clients: clients, Logger: a.log})
	if err != nil {
		return err
	}
	recorder, err := a.recordDemand(directory.Workloads)
	if err != nil {
		return err
	}
	a.draining = directory.Draining
	a.namespaces = func() []string {
		return namespacesOf(directory.Workloads(), func(w workload.Workload) string { return w.ID.Namespace })
	}
	capacity := newCapacity(directory)
	if err := a.clusterMetrics(capacity); err != nil {
		return err
	}
	a.add("directory", directory.Start)
	a.add("recorder", recorder.Start)
	a.add("waker", func(ctx context.Context) error { return a.waker.run(ctx, directory.Owner) })
	a.add("controller", func(ctx context.Context) error {
		// Losing the Lease ends a manager; telemetry and history go on meanwhile.
		for {
			err := a.decide(ctx, config, directory, room{capacity})
			if ctx.Err() != nil {
				return nil
			}
			a.log.Warn("deciding is interrupted and begins anew", "err", err)
			if !wait(ctx, retryEvery) {
				return nil
			}
		}
	})
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	who := identity.NewAgentReview(client, a.options.Namespace, time.Now).Authenticate
	if a.options.IngestTokenFile != "" {
		tokens, err := identity.NewTokenFile(a.options.IngestTokenFile, a.log)
		if err != nil {
			return fmt.Errorf("--ingest.token-file: %w", err)
		}
		who = tokens.Authenticate
	}
	if err := a.serve(ctx, identity.Secret{Client: client, Namespace: a.options.Namespace}, who, identity.NewAccess(client, a.log, time.Now)); err != nil {
		return err
	}
	return a.serveMetricsAPI(client)
}

// decide carries out the policies while this replica is the leader, until ctx is done or the Lease is lost. What it remembers of its
// decisions ends with that: another decides meanwhile, and what it wanted is not known when this one begins anew.
func (a *aggregator) decide(ctx context.Context, config *rest.Config, directory *workload.Directory, room controller.Capacity) error {
	lease, stop, err := newLease(config, a.options.Namespace, a.store.ID())
	if err != nil {
		return err
	}
	defer stop()
	mgr, err := newManager(config, a.options, lease, a.log)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	metrics, err := a.otherMetrics(workload.NewUsages(client.RESTClient()))
	if err != nil {
		return err
	}
	evaluator := a.evaluator(metrics)
	evaluator.Calendars = clusterCalendars(client)
	reconciler, err := controller.New(controller.Options{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Events: mgr.GetEventRecorder("foretide-aggregator"), Targets: targets{directory, a.loads()}, Evaluator: evaluator,
		Accuracies: a.board.ledger, Observer: a.board, Logger: a.log, SyncInterval: a.options.SyncInterval,
		Capacity: room, PlaceholderImage: a.options.PlaceholderImage,
	})
	if err != nil {
		return err
	}
	if err := reconciler.Register(ctx, mgr); err != nil {
		return err
	}
	a.waker.reconciler.Store(reconciler)
	defer a.waker.reconciler.Store(nil)
	return mgr.Start(ctx)
}

// kubeconfig is that of the flag or of the pod. The API server's own fairness rules how fast it is asked.
func (a *aggregator) kubeconfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", a.options.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--kubernetes.kubeconfig (outside Kubernetes use --kubernetes.enabled=false): %w", err)
	}
	config.QPS = -1
	config.UserAgent = "foretide-aggregator/" + a.options.Version
	return config, nil
}

// watchFailed says what to do about a watch that is not allowed: a manager waits for it, and no policy is carried out meanwhile.
func watchFailed(log *slog.Logger) toolscache.WatchErrorHandlerWithContext {
	return func(ctx context.Context, r *toolscache.Reflector, err error) {
		if apierrors.IsForbidden(err) {
			log.Error("no policy is carried out: apply the ClusterRole of this version, deploy/base/aggregator/rbac.yaml", "err", err)
			return
		}
		toolscache.DefaultWatchErrorHandler(ctx, r, err)
	}
}

func newManager(config *rest.Config, o Options, lease resourcelock.Interface, log *slog.Logger) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(config, manager.Options{
		Scheme: scheme,
		// Who wrote which field is half of a policy's size, and nobody asks for it.
		Cache: ctrlcache.Options{DefaultWatchErrorHandler: watchFailed(log), DefaultTransform: ctrlcache.TransformStripManagedFields()},
		// Metrics and health are served by web.go.
		Metrics:        metricsserver.Options{BindAddress: "0"},
		LeaderElection: o.LeaderElection, LeaderElectionID: leaseName, LeaderElectionNamespace: o.Namespace,
		LeaderElectionResourceLockInterface: lease,
		// A clean stop hands over at once instead of after the Lease has run out.
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 ptr.To(leaseLasts), RenewDeadline: ptr.To(renewWithin), RetryPeriod: ptr.To(renewEvery),
		// A manager that begins anew has a controller of the same name. Policies take turns: of the queue with priorities those that a
		// start finds would wait until no other is due, which with thousands of them is never.
		Controller: ctrlconfig.Controller{SkipNameValidation: ptr.To(true), UsePriorityQueue: ptr.To(false)},
	})
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	return mgr, nil
}
