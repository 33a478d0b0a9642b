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
	"github.com/foretide/foretide/aggregator/ui"
)

// web adds the page with /metrics, and the health endpoints. What shows data is on loopback, or behind TLS and RBAC.
func (a *aggregator) web(config *tls.Config, access *identity.Access) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{Registry: a.registry}))
	mux.Handle("GET /", ui.Handler(a.board, a.options.Version, time.Now, a.log))
	var handler http.Handler = mux
	if loopback(a.options.WebAddress) {
		config = nil
	} else {
		handler = access.RequireAccess(mux)
	}
	if err := a.http("web", a.options.WebAddress, handler, config); err != nil {
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
