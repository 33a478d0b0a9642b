// Package app is where the agent's rooms meet: it wires them in the order data flows, runs them, and stops them in reverse.
//
//	nvml or dcgm ─┐
//	kubelet, process, slices → attribution → sampler → exporter → /metrics
//	scrape ───────────────────────────────────┘      └→ spool → stream → aggregator
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/foretide/foretide/agent/exporter"
	"github.com/foretide/foretide/agent/kubelet"
	"github.com/foretide/foretide/agent/sampler"
	"github.com/foretide/foretide/agent/scrape"
	resourceslices "github.com/foretide/foretide/agent/slices"
	"github.com/foretide/foretide/agent/spool"
	"github.com/foretide/foretide/agent/stream"
	"github.com/foretide/foretide/pkg/telemetry"
)

// stopWithin bounds the stop: the last batches are sent in this time or not at all.
const stopWithin = 5 * time.Second

// startWithin is how long the agent needs until everything it does was done once.
const startWithin = 15 * time.Second

// Run runs the agent until ctx ends, then stops it. An error means that it could not start, or no longer serve; ErrAgain asks the
// caller to begin it anew in a new process.
func Run(ctx context.Context, o Options, logger *slog.Logger) error {
	if err := o.Validate(); err != nil {
		return err
	}
	p := &parts{options: o, logger: logger}
	if err := p.listen(); err != nil {
		return errors.Join(err, p.hangUp())
	}
	if err := p.build(); err != nil {
		return errors.Join(err, p.hangUp())
	}
	defer func() { _ = p.holdings.Close() }()
	logger.Info("agent starts", "version", o.Version, "node", o.NodeName, "listen", p.listener.Addr().String(), "aggregator", o.AggregatorAddress)
	return p.run(ctx)
}

// parts is what runs. Spool and stream are nil when there is nowhere to send to, scraper when nothing is to be scraped.
type parts struct {
	options  Options
	logger   *slog.Logger
	listener net.Listener
	probes   net.Listener

	registry *prometheus.Registry
	devices  devices
	holdings *kubelet.Client
	pods     *kubelet.Pods
	claims   *resourceslices.Lister
	scraper  *scrape.Scraper
	watch    *driverWatch
	exporter *exporter.Exporter
	spool    *spool.Spool
	sampler  *sampler.Sampler
	stream   *stream.Stream
	server   *http.Server
	health   *http.Server
}

// listen takes both addresses at once, so that a port in use is an error at start.
func (p *parts) listen() (err error) {
	p.listener, p.probes = p.options.Listener, p.options.HealthListener
	if p.listener == nil {
		if p.listener, err = net.Listen("tcp", p.options.WebListenAddress); err != nil {
			return fmt.Errorf("--web.listen-address: %w", err)
		}
	}
	if p.probes == nil {
		if p.probes, err = net.Listen("tcp", p.options.HealthListenAddress); err != nil {
			return fmt.Errorf("--health.listen-address: %w", err)
		}
	}
	return nil
}

// hangUp gives the addresses and the spool back when something kept the agent from starting.
func (p *parts) hangUp() error {
	var failed []error
	for _, l := range []net.Listener{p.listener, p.probes} {
		if l != nil {
			failed = append(failed, l.Close())
		}
	}
	if p.spool != nil {
		failed = append(failed, p.spool.Close())
	}
	return errors.Join(failed...)
}

func (p *parts) build() (err error) {
	o := p.options
	p.registry = prometheus.NewRegistry()
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p.exporter, err = exporter.New(exporter.Options{Node: o.NodeName, Version: o.Version, WithoutDCGM: !o.WebDCGMNames,
		Interval: func() time.Duration { return p.sampler.ReportInterval() }, Self: p.self, Registerer: p.registry})
	if err != nil {
		return err
	}
	p.devices = newDevices(o, p.exporter.ObserveCall)
	p.holdings, err = kubelet.New(kubelet.Options{SocketPath: o.KubeletSocketPath, ResourceNames: o.KubeletResourceNames, DRADrivers: o.KubeletDRADrivers})
	if err != nil {
		return err
	}
	p.pods = kubelet.NewPods(kubelet.PodsOptions{SocketPath: o.KubeletPodsSocketPath, Logger: p.logger})
	p.claims = resourceslices.New(resourceslices.Options{Node: o.NodeName})
	owners := newOwners(o, p.pods, p.claims)
	if owners.blind {
		p.logger.Warn("the agent does not see the host's processes, so what pods that share a GPU use cannot be told: its pod needs hostPID: true")
	}
	workload := func(time.Time) []telemetry.WorkloadValue { return nil }
	if o.ScrapeInterval > 0 {
		p.scraper = scrape.New(scrape.Options{Interval: o.ScrapeInterval, Allow: o.ScrapeMetrics, Pods: owners.views, Logger: p.logger})
		workload = p.scraper.Values
	}
	sinks := fanOut{p.exporter}
	if o.AggregatorAddress != "" {
		p.spool, err = spool.Open(spool.Options{Path: o.SpoolPath, MaxMemoryBytes: o.SpoolMaxMemoryBytes, MaxDiskBytes: o.SpoolMaxDiskBytes,
			MaxAge: o.SpoolMaxAge, Logger: p.logger})
		if err != nil {
			return fmt.Errorf("--spool.path: %w", err)
		}
		sinks = append(sinks, p.spool)
	}
	p.sampler = sampler.New(sampler.Options{Node: o.NodeName, Interval: o.SamplerInterval, Devices: p.devices.reader, Holdings: p.holdings,
		Attribute: owners.attribute, Sink: sinks, Logger: p.logger, Pods: owners.podsOf, Workload: workload, Observe: p.exporter.ObserveTick})
	p.watch = &driverWatch{releaseFile: o.NVMLReleaseFile, release: p.devices.release, replaced: p.devices.replaced, holders: func() (int, bool) {
		s := p.sampler.Status()
		return s.Holders, s.OwnersKnown
	}}
	if p.spool != nil {
		addresses, err := stream.ParseAddresses(o.AggregatorAddress)
		if err != nil {
			return fmt.Errorf("--aggregator.address: %w", err)
		}
		p.stream = stream.New(stream.Options{Addresses: addresses, Copies: o.AggregatorCopies, CAFile: o.AggregatorCAFile,
			ServerName: o.AggregatorServerName, TokenFile: o.AggregatorTokenFile, Node: o.NodeName, Session: p.spool.Session(), Version: o.Version,
			Receiver: func(store string) stream.Receiver { return p.spool.Receiver(store) }, SetReportInterval: p.sampler.SetReportInterval, SetDraining: p.watch.draining.Store, Logger: p.logger})
	}
	p.server = newServer(newMetricsHandler(p.registry, p.logger))
	p.health = newServer(newHealthHandler(&health{sampler: p.sampler, devices: p.devices.state, interval: o.SamplerInterval, started: time.Now(), now: time.Now}))
	return nil
}

// newServer bounds what a client that says nothing can hold.
func newServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
}

// serve answers on both addresses until the servers are shut down. The first that fails tells why.
func (p *parts) serve(failed chan<- error) {
	go func() {
		// The toolkit logs each start in two lines that say what the agent's own line says.
		err := web.Serve(p.listener, p.server, &web.FlagConfig{WebConfigFile: &p.options.WebConfigFile}, slog.New(slog.DiscardHandler))
		failed <- fmt.Errorf("serve on %s: %w", p.listener.Addr(), err)
	}()
	go func() { failed <- fmt.Errorf("serve on %s: %w", p.probes.Addr(), p.health.Serve(p.probes)) }()
}

func (p *parts) run(ctx context.Context) error {
	var sampling, sending, around worker
	around.start(func(ctx context.Context) {
		if err := p.pods.Run(ctx); err != nil {
			p.logger.Warn("pods are not followed", "error", err)
		}
	})
	around.start(p.claims.Run)
	if p.scraper != nil {
		around.start(p.scraper.Run)
	}
	sampling.start(p.sampler.Run)
	if p.stream != nil {
		sending.start(p.stream.Run)
	}
	failed := make(chan error, 3)
	p.serve(failed)
	around.start(func(ctx context.Context) {
		err := p.watch.run(ctx, func(released bool, why string) {
			if released {
				p.logger.Info("the driver is given back", "why", why)
			} else {
				p.logger.Info("the driver is used again")
			}
		})
		if err != nil {
			failed <- err
		}
	})

	started := time.AfterFunc(startWithin, trim)
	defer started.Stop()
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-failed:
	}
	p.logger.Info("agent stops")
	limit, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	if sampling.stop(limit) {
		p.devices.close()
	} else {
		p.logger.Warn("a tick is stuck in the driver; the agent ends without it")
	}
	if p.stream != nil {
		if err := p.spool.WaitEmpty(limit); err != nil {
			p.logger.Warn("not every aggregator has acknowledged everything", "error", err)
		}
		sending.stop(limit)
		if err := p.spool.Close(); err != nil {
			p.logger.Warn("what is not acknowledged may not be kept", "error", err)
		}
	}
	around.stop(limit)
	for _, s := range []*http.Server{p.server, p.health} {
		if err := s.Shutdown(limit); err != nil {
			_ = s.Close()
		}
	}
	return failure
}

// fanOut hands each batch to every sink.
type fanOut []sampler.Sink

// Put implements sampler.Sink.
func (f fanOut) Put(b telemetry.Batch) {
	for _, s := range f {
		s.Put(b)
	}
}

// worker is goroutines that are ended and waited for together.
type worker struct {
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// start runs one more function.
func (w *worker) start(run func(context.Context)) {
	if w.ctx == nil {
		w.ctx, w.cancel = context.WithCancel(context.Background())
	}
	w.done.Go(func() { run(w.ctx) })
}

// stop ends the worker and reports whether it ended before the limit.
func (w *worker) stop(limit context.Context) bool {
	w.cancel()
	ended := make(chan struct{})
	go func() { w.done.Wait(); close(ended) }()
	select {
	case <-ended:
		return true
	case <-limit.Done():
		return false
	}
}
