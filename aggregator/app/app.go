package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/exporter"
	"github.com/foretide/foretide/aggregator/identity"
	"github.com/foretide/foretide/aggregator/ingest"
	"github.com/foretide/foretide/aggregator/live"
	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/aggregator/workload"
)

// part is something that runs until its context is done. What ends early, ends the aggregator.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// aggregator is what the parts share.
type aggregator struct {
	options  Options
	log      *slog.Logger
	registry *prometheus.Registry
	store    *storage.Store
	view     *live.View
	board    *board
	waker    *waker
	// shared is the engine that all shards of the aggregator write to; nil when this one gets everything itself.
	shared *shared
	// peers are all replicas; nil where there is one.
	peers *peers
	// outside makes forecasts elsewhere; nil when nobody is asked.
	outside controller.Outside
	// namespaces are those whose pods matter, for the engine.
	namespaces func() []string
	// draining says whether a node is being drained; nil without Kubernetes.
	draining func(node string) bool
	// certificates are those of the servers; authority is that of the certificate made here (PEM), nil when it is the user's own.
	certificates *tls.Config
	authority    func() []byte
	parts        []part
	// listeners are open from the start; closing those that are served already does nothing.
	listeners []net.Listener
	// filled is how often another replica had what was missed here.
	filled atomic.Uint64
	// ready is set once agents are listened to.
	ready atomic.Bool
}

// Run runs the aggregator until ctx is done; nil is a clean stop. The history is closed last.
func Run(ctx context.Context, options Options, log *slog.Logger) (err error) {
	if err := options.Validate(); err != nil {
		return err
	}
	a := &aggregator{options: options, log: log, registry: prometheus.NewRegistry()}
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), BuildInfo(options.Version))

	forwarder, err := a.forward()
	if err != nil {
		return err
	}
	if forwarder != nil {
		defer func() { err = errors.Join(err, forwarder.Close()) }()
	}
	begin := time.Now()
	if a.store, err = storage.Open(storage.Options{
		Dir: options.StoragePath, Logger: log, Registerer: a.registry,
		RawRetention: options.RawRetention, WorkloadRetention: options.WorkloadRetention,
		RawMaxBytes: options.RawMaxBytes, RawMaxPercentage: options.rawMaxPercentage(),
	}); err != nil {
		return fmt.Errorf("--storage.path: %w", err)
	}
	defer func() { err = errors.Join(err, a.store.Close()) }()
	defer a.hangUp()
	log.Info("history of workloads is open", "path", options.StoragePath, "store", a.store.ID(), "took", time.Since(begin).Round(time.Millisecond))
	a.add("storage", a.keepHistory)
	if forwarder != nil {
		a.store.OnOpen(forwarder.opened)
	}
	if err := errors.Join(a.readEngine(), a.askOutside()); err != nil {
		return err
	}

	a.waker = newWaker()
	if a.view, err = live.New(live.Options{Window: options.LiveWindow, StaleAfter: options.LiveStaleAfter, Surge: a.waker.surged}); err != nil {
		return err
	}
	a.board = newBoard(a.store, log)
	a.add("ledger", a.board.ledger.run)
	a.add("metric minutes", a.board.minutes.run)
	a.add("diary", a.board.diary.run)

	if options.Kubernetes {
		err = a.withKubernetes(ctx)
	} else {
		err = a.withFiles(ctx)
	}
	if err != nil && ctx.Err() != nil {
		return nil // stopped while it was still waiting for the API server
	}
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range a.parts {
		group.Go(func() error {
			if err := p.run(ctx); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			if ctx.Err() == nil {
				return fmt.Errorf("%s ended by itself", p.name)
			}
			return nil
		})
	}
	err = group.Wait()
	log.Info("stopped")
	return err
}

func (a *aggregator) add(name string, run func(ctx context.Context) error) {
	a.parts = append(a.parts, part{name, run})
}

// recordDemand adds the recorder of every workload's demand, and the metrics that show it.
func (a *aggregator) recordDemand(workloads func() []workload.Workload) (*workload.Recorder, error) {
	recorder, err := workload.NewRecorder(workload.RecorderOptions{
		Workloads: workloads,
		Load:      a.loadBetween,
		Append: func(ctx context.Context, id workload.ID, at time.Time, busyGPUs, pods float64) error {
			if err := a.store.AppendDemand(ctx, storage.Workload(id), at, busyGPUs, pods); err != nil {
				return err
			}
			a.board.ledger.came(controller.Workload(id), at, busyGPUs)
			return nil
		},
		Logger: a.log, Registerer: a.registry,
	})
	if err != nil {
		return nil, err
	}
	a.board.exporter, err = exporter.New(exporter.Options{
		DecisionReasons: controller.DecisionReasons(), LimitReasons: controller.LimitReasons(), AHPANames: a.options.WebAHPANames,
		Demands: func(now time.Time) []exporter.Demand {
			var out []exporter.Demand
			for _, d := range recorder.Demands(now) {
				out = append(out, exporter.Demand{Namespace: d.ID.Namespace, Kind: d.ID.Kind, Name: d.ID.Name, BusyGPUs: d.BusyGPUs, Pods: d.Pods})
			}
			return out
		},
		Forecasts: a.board.ledger.forecasts,
		Nodes: func(now time.Time) []exporter.Node {
			var out []exporter.Node
			for _, n := range a.view.Nodes(now) {
				out = append(out, exporter.Node{Name: n.Node, LastBatch: n.LastBatch})
			}
			return out
		},
	})
	if err != nil {
		return nil, err
	}
	return recorder, a.registry.Register(a.board.exporter)
}

// loadBetween is what the recorder adds up.
func (a *aggregator) loadBetween(namespace, pod, node string, from, to time.Time) workload.Load {
	if a.shared != nil {
		return a.shared.loadBetween(namespace, pod, node, from, to)
	}
	s := a.view.PodBetween(namespace, pod, node, from, to)
	return workload.Load{Reports: workload.Reports(s.Reports), Known: s.Known, GPUs: s.GPUs, BusyGPUs: s.BusyGPUs, Held: s.Held}
}

// serve adds the three servers: agents, readers, and health.
func (a *aggregator) serve(ctx context.Context, certificates identity.CertificateStore, who func(context.Context, string) (identity.Caller, error), access *identity.Access) error {
	config, err := a.tls(ctx, certificates)
	if err != nil {
		return err
	}
	a.certificates = config
	server, err := ingest.NewServer(ingest.Options{
		Logger: a.log, Registerer: a.registry, Appender: a.store, Sink: a.view, TLS: config,
		Authenticate: func(ctx context.Context, token string) (ingest.Caller, error) {
			caller, err := who(ctx, token)
			return ingest.Caller(caller), err
		},
		Store: a.store.ID(), Version: a.options.Version, Draining: a.draining,
		Pace: ingest.PaceOptions{Shortest: a.options.ReportInterval, Longest: a.options.longestReportInterval(), SamplesPerSecond: a.options.SamplesPerSecond},
	})
	if err != nil {
		return err
	}
	listener, err := a.listen("ingest.listen-address", a.options.IngestAddress)
	if err != nil {
		server.Stop()
		return err
	}
	a.add("ingest", func(ctx context.Context) error {
		context.AfterFunc(ctx, server.Stop)
		defer server.Stop() // waits until the last frame is stored
		a.ready.Store(true)
		a.log.Info("listening for agents", "address", listener.Addr().String())
		return server.Serve(listener)
	})
	if err := a.web(config, access); err != nil {
		server.Stop()
		return err
	}
	return nil
}

// listen takes the address of a flag at once, so that a port in use is an error at start.
func (a *aggregator) listen(flag, address string) (net.Listener, error) {
	open := a.options.Listen
	if open == nil {
		open = func(_, address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	listener, err := open(flag, address)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	a.listeners = append(a.listeners, listener)
	return listener, nil
}

// hangUp frees the addresses when something else kept the aggregator from starting.
func (a *aggregator) hangUp() {
	for _, l := range a.listeners {
		_ = l.Close()
	}
}

// tls returns the configuration of the servers: the user's certificate, or one that is made and renewed here.
func (a *aggregator) tls(ctx context.Context, store identity.CertificateStore) (*tls.Config, error) {
	if a.options.TLSCertFile != "" {
		files, err := identity.NewFiles(a.options.TLSCertFile, a.options.TLSKeyFile, a.log)
		if err != nil {
			return nil, err
		}
		a.authority = func() []byte { return nil }
		return identity.ServerTLS(files.GetCertificate), a.followPeers(a.authority)
	}
	managed, err := identity.NewManaged(ctx, store, a.names(), time.Now(), a.log)
	for err != nil && a.options.Kubernetes && ctx.Err() == nil {
		a.log.Warn("no serving certificate yet, trying again", "err", err)
		if wait(ctx, retryEvery) {
			managed, err = identity.NewManaged(ctx, store, a.names(), time.Now(), a.log)
		}
	}
	if err != nil {
		return nil, err
	}
	a.add("certificate", func(ctx context.Context) error {
		managed.Run(ctx)
		return nil
	})
	a.authority = managed.CA
	return identity.ServerTLS(managed.GetCertificate), a.followPeers(a.authority)
}

// retryEvery is how often what needs the API server is tried again while that is away.
const retryEvery = 5 * time.Second

// wait returns false when ctx is done before.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// names are those of the Service, of each replica behind a headless one, of this host, and what the user adds.
func (a *aggregator) names() []string {
	service := "foretide-aggregator." + a.options.Namespace + ".svc"
	replicas := "foretide-aggregator-replicas." + a.options.Namespace + ".svc"
	names := []string{"foretide-aggregator", service, service + ".cluster.local", "*." + service, replicas, replicas + ".cluster.local", "localhost", "127.0.0.1", "::1"}
	for name := range strings.SplitSeq(a.options.TLSNames, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// directory is where the certificate is kept outside Kubernetes.
func (a *aggregator) directory() identity.Directory {
	return identity.Directory(filepath.Join(a.options.StoragePath, "tls"))
}

// BuildInfo is the metric that says which version runs.
func BuildInfo(version string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "foretide_aggregator_build_info", Help: "Always 1; the version as a label.", ConstLabels: prometheus.Labels{"version": version},
	}, func() float64 { return 1 })
}
