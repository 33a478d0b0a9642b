package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/foretide/foretide/aggregator/identity"
	"github.com/foretide/foretide/aggregator/query"
	"github.com/foretide/foretide/aggregator/ui"
)

// web adds the page with /metrics, and the health endpoints. What shows data is on loopback, or behind TLS and RBAC.
func (a *aggregator) web(config *tls.Config, access *identity.Access) error {
	promql, err := a.promql()
	if err != nil {
		return err
	}
	open := func(h http.Handler) http.Handler { return h }
	read, write := open, open
	if loopback(a.options.WebAddress) {
		config = nil
	} else {
		read, write = access.RequireGet, access.RequireAccess
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", read(promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{Registry: a.registry})))
	mux.Handle("/api/v1/write", write(promql.Handler()))
	mux.Handle("/api/v1/", read(promql.Handler()))
	mux.Handle("GET /report/{namespace}/{name}", read(http.HandlerFunc(a.serveReport)))
	mux.Handle("POST /-/snapshot", write(http.HandlerFunc(a.snapshot)))
	mux.Handle("/", read(ui.Handler(a.board, a.options.Version, time.Now, a.log)))
	if err := a.http("web", a.options.WebAddress, mux, config); err != nil {
		return err
	}
	health := http.NewServeMux()
	health.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	health.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !a.ready.Load() {
			http.Error(w, "not listening for agents yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return a.http("health", a.options.HealthAddress, health, nil)
}

// promql answers PromQL from the history, and takes remote writes where the user says so.
func (a *aggregator) promql() (*query.API, error) {
	o := a.options
	options := query.Options{
		Queryable: a.store.Queryable(), Statistics: a.store, Version: o.Version, Timeout: o.QueryTimeout, MaxSamples: o.QueryMaxSamples,
		MaxConcurrent: o.QueryConcurrency, AcceptOwnNames: o.QueryOwnNames, Logger: a.log, Registerer: a.registry, Gatherer: a.registry,
	}
	if o.QueryReceiver {
		options.Writer = a.store.RawAppender()
	}
	return query.New(options)
}

// stopWithin is how long requests under way may take once the aggregator stops.
const stopWithin = 5 * time.Second

// http adds a server.
func (a *aggregator) http(name, address string, handler http.Handler, config *tls.Config) error {
	listener, err := a.listen(name+".listen-address", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, TLSConfig: config, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	a.add(name, func(ctx context.Context) error {
		stopped := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(stopped)
			limit, cancel := context.WithTimeout(context.Background(), stopWithin)
			defer cancel()
			if server.Shutdown(limit) != nil {
				_ = server.Close()
			}
		})
		a.log.Info("serving", "what", name, "address", listener.Addr().String(), "tls", config != nil)
		serve := server.Serve
		if config != nil {
			serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
		}
		err := serve(listener)
		if stop() {
			return err
		}
		<-stopped // Serve returns at once; requests under way may still read the history
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	})
	return nil
}
