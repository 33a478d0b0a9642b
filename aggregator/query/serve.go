package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	prefix = "/api/v1"
	// maxFormBytes bounds the body of a question, maxWriteBytes what a remote writer sends at once, as it comes (compressed); the
	// receiver takes 32 MiB of it unpacked.
	maxFormBytes  = 1 << 20
	maxWriteBytes = 8 << 20
	// bodyWithin is how long a body may take to come, writeWithin how long an answer to be taken once the time for it is over.
	// Neither keeps a place: a body is read before, and a slow reader's answer is cut off.
	bodyWithin  = 30 * time.Second
	writeWithin = 10 * time.Second
	// statusClientGone is what Prometheus, after nginx, calls a request whose client has hung up.
	statusClientGone = 499
)

// mount puts the wanted endpoints of Prometheus' API behind the limits; the others, such as admin, config and flags, are not there.
func (a *API) mount(p prom) {
	for _, e := range []string{"/query", "/query_range", "/query_exemplars", "/series", "/labels"} {
		a.handle("GET "+prefix+e, e, a.limit(a.reads, p.api))
		a.handle("POST "+prefix+e, e, a.form(a.limit(a.reads, p.api)))
	}
	a.handle("GET "+prefix+"/label/{name}/values", "/label/values", a.limit(a.reads, p.api))
	if a.opts.Statistics != nil {
		a.handle("GET "+prefix+"/status/tsdb", "/status/tsdb", a.limit(a.reads, p.api))
	}
	for _, e := range []string{"/metadata", "/rules", "/alerts", "/status/buildinfo", "/features"} {
		a.handle("GET "+prefix+e, e, p.api)
	}
	for _, e := range []string{"/format_query", "/parse_query"} {
		a.handle("GET "+prefix+e, e, p.api)
		a.handle("POST "+prefix+e, e, a.form(p.api))
	}
	a.handle("POST "+prefix+"/read", "/read", receive(maxFormBytes, a.limit(a.reads, p.read)))
	if p.write != nil {
		a.handle("POST "+prefix+"/write", "/write", receive(maxWriteBytes, a.limit(a.writes, p.write)))
	}
	a.mux.HandleFunc(prefix+"/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "not_found", fmt.Sprintf("%s %s is not served here: see the aggregator's README of queries", r.Method, r.URL.Path))
	})
}

func (a *API) handle(pattern, name string, h http.Handler) {
	a.mux.Handle(pattern, a.metrics.observe(name, h))
}

// limit lets a request run when it gets a place, and for no longer than the timeout. Its context ends with the client.
func (a *API) limit(g *gate, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), a.opts.Timeout)
		defer cancel()
		// A writer that is no connection, as in a test, has no deadline.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(a.opts.Timeout + writeWithin))
		leave, err := g.enter(ctx)
		switch {
		case errors.Is(err, context.Canceled):
			refuse(w, statusClientGone, "canceled", err.Error())
			return
		case errors.Is(err, context.DeadlineExceeded):
			refuse(w, http.StatusServiceUnavailable, "timeout", err.Error())
			return
		case err != nil:
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusServiceUnavailable, "unavailable", err.Error())
			return
		}
		defer leave()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// form reads a body of form values.
func (a *API) form(next http.Handler) http.Handler {
	return receive(maxFormBytes, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			refuse(w, http.StatusBadRequest, "bad_data", fmt.Sprintf("body is no form: %v", err))
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// receive reads the whole body, before anything else waits for it.
func receive(atMost int64, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		deadline := http.NewResponseController(w)
		_ = deadline.SetReadDeadline(time.Now().Add(bodyWithin))
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, atMost))
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			refuse(w, http.StatusRequestEntityTooLarge, "bad_data", fmt.Sprintf("body is too large: at most %d bytes are taken", atMost))
			return
		case err != nil:
			refuse(w, http.StatusBadRequest, "bad_data", fmt.Sprintf("body could not be read: %v", err))
			return
		}
		// Only now: on an error the server reads on for what is left of the body before it answers.
		_ = deadline.SetReadDeadline(time.Time{})
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// refuse answers an error in the form of Prometheus' API.
func refuse(w http.ResponseWriter, status int, kind, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client may be gone; nobody else could be told.
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "error", "errorType": kind, "error": text})
}
