// Package app is where the agent's rooms meet: it wires them in the order data flows, runs them, and stops them in reverse.
//
//	nvml + kubelet → sampler (attribution) → exporter → /metrics
//	                                       → spool → stream → aggregator
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

	"github.com/foretide/foretide/agent/attribution"
	"github.com/foretide/foretide/agent/exporter"
	"github.com/foretide/foretide/agent/kubelet"
	"github.com/foretide/foretide/agent/nvml"
	"github.com/foretide/foretide/agent/sampler"
	"github.com/foretide/foretide/agent/spool"
	"github.com/foretide/foretide/agent/stream"
	"github.com/foretide/foretide/pkg/telemetry"
)

// stopWithin bounds the stop: the last batches are sent in this time or not at all.
const stopWithin = 5 * time.Second

// Run runs the agent until ctx ends, then stops it. An error means that it could not start, or no longer serve.
func Run(ctx context.Context, o Options, logger *slog.Logger) error {
	if err := o.Validate(); err != nil {
		return err
	}
	listener := o.Listener
	if listener == nil {
		var err error
		if listener, err = net.Listen("tcp", o.WebListenAddress); err != nil {
			return fmt.Errorf("--web.listen-address: %w", err)
		}
	}
	devices := nvml.New(nvml.Options{LibraryPath: o.NVMLLibraryPath})
	owners, err := kubelet.New(kubelet.Options{SocketPath: o.KubeletSocketPath, ResourceNames: o.KubeletResourceNames})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { _ = owners.Close() }()

	p := &parts{devices: devices}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p.exporter, err = exporter.New(exporter.Options{Node: o.NodeName, Version: o.Version, WithoutDCGM: !o.WebDCGMNames,
		Interval: func() time.Duration { return p.sampler.ReportInterval() }, Self: p.self, Registerer: registry})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	sinks := fanOut{p.exporter}
	if o.AggregatorAddress != "" {
		p.spool = spool.New(o.SpoolMaxBatches)
		sinks = append(sinks, p.spool)
	}
	p.sampler = sampler.New(sampler.Options{Node: o.NodeName, Interval: o.SamplerInterval, Devices: devices, Owners: owners,
		Attribute: attribution.Attribute, Sink: sinks, Logger: logger, Observe: p.exporter.ObserveTick})
	if p.spool != nil {
		p.stream = stream.New(stream.Options{Address: o.AggregatorAddress, CAFile: o.AggregatorCAFile,
			ServerName: o.AggregatorServerName, TokenFile: o.AggregatorTokenFile, Node: o.NodeName, Session: p.spool.Session(),
			Version: o.Version, Batches: p.spool, SetReportInterval: p.sampler.SetReportInterval, Logger: logger})
	}
	p.server = &http.Server{
		Handler: newHandler(registry, &health{sampler: p.sampler, library: devices, interval: o.SamplerInterval, started: time.Now(), now: time.Now}),
		// A client that says nothing shall not hold a connection for ever.
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
	}
	logger.Info("agent starts", "version", o.Version, "node", o.NodeName, "listen", listener.Addr().String(), "aggregator", o.AggregatorAddress)
	return p.run(ctx, listener, logger)
}

// parts is what runs. Spool and stream are nil when there is nowhere to send to.
type parts struct {
	devices  *nvml.Reader
	exporter *exporter.Exporter
	spool    *spool.Spool
	sampler  *sampler.Sampler
	stream   *stream.Stream
	server   *http.Server
}

func (p *parts) run(ctx context.Context, listener net.Listener, logger *slog.Logger) error {
	var sampling, sending worker
	sampling.start(p.sampler.Run)
	if p.stream != nil {
		sending.start(p.stream.Run)
	}
	served := make(chan error, 1)
	go func() { served <- p.server.Serve(listener) }()

	var failure error
	select {
	case <-ctx.Done():
	case err := <-served:
		failure = fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	}

	logger.Info("agent stops")
	limit, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	if sampling.stop(limit) {
		p.devices.Close()
	} else {
		logger.Warn("a tick is stuck in the driver; the agent ends without it")
	}
	if p.stream != nil {
		if err := p.spool.WaitEmpty(limit); err != nil {
			logger.Warn("the aggregator has not acknowledged everything", "error", err)
		}
		sending.stop(limit)
	}
	if err := p.server.Shutdown(limit); err != nil {
		_ = p.server.Close()
	}
	return failure
}

// self gathers for the exporter how the rooms are doing.
func (p *parts) self() exporter.Self {
	library, ticks := p.devices.Status(), p.sampler.Status()
	s := exporter.Self{NVMLUp: library.State.Up(), NVMLState: string(library.State), Devices: library.Devices,
		KubeletUp: ticks.OwnersKnown, Problems: ticks.Problems, LastTick: ticks.Began}
	for _, state := range nvml.States() {
		s.NVMLStates = append(s.NVMLStates, string(state))
	}
	if p.stream != nil {
		kept := p.spool.Stats()
		s.Sending = &exporter.Sending{Connected: p.stream.Connected(), SpoolBatches: kept.Batches, SpoolBytes: kept.Bytes,
			Dropped: kept.Dropped, Refused: kept.Refused, Acknowledged: kept.Acknowledged}
	}
	return s
}

// fanOut hands each batch to every sink.
type fanOut []sampler.Sink

// Put implements sampler.Sink.
func (f fanOut) Put(b telemetry.Batch) {
	for _, s := range f {
		s.Put(b)
	}
}

// worker is one goroutine that is waited for.
type worker struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (w *worker) start(run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.done.Go(func() { run(ctx) })
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
