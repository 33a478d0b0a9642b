package app

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/foretide/foretide/agent/nvml"
	"github.com/foretide/foretide/agent/sampler"
)

const (
	// A tick is late after lateAfter intervals and a grace in which a driver may wake its devices: without persistence mode
	// initializing NVML takes seconds per GPU.
	lateAfter = 3
	grace     = 15 * time.Second
	// blindAfter is how long NVML may be down on a node where pods hold GPUs: time for a driver to load or be replaced.
	blindAfter = 2 * time.Minute
)

// health answers whether the sampler does its work.
type health struct {
	sampler  interface{ Status() sampler.Status }
	library  interface{ Status() nvml.Status }
	interval time.Duration
	started  time.Time
	now      func() time.Time
}

// live is about what only a restart ends: a call that is stuck in the driver, and a container that was made without the
// driver.
func (h *health) live() (ok bool, why string) {
	if blind, why := h.blind(); blind {
		return false, why
	}
	began, what := h.sampler.Status().Began, "the last tick began"
	if began.IsZero() {
		began, what = h.started, "there was no tick yet; the agent started"
	}
	ago, limit := h.now().Sub(began), lateAfter*h.interval+grace
	why = fmt.Sprintf("%s %v ago; the limit is %v", what, ago.Round(time.Millisecond), limit)
	return ago < limit, why
}

// blind reports whether pods use GPUs that the agent cannot see. NVIDIA's container runtime puts library and devices into a
// container as it is created, so an agent that was there before the driver never gets them. A node on which no pod holds a
// GPU is left alone: it may have none.
func (h *health) blind() (yes bool, why string) {
	library, holders := h.library.Status(), h.sampler.Status().Holders
	if library.State.Up() || library.Since.IsZero() || holders == 0 {
		return false, ""
	}
	down := h.now().Sub(library.Since)
	why = fmt.Sprintf("NVML is down (%s) for %v while %d containers hold GPUs of this node; the limit is %v: a new container will get the driver (%s)",
		library.State, down.Round(time.Millisecond), holders, blindAfter, library.Message)
	return down > blindAfter, why
}

// ready is about knowing what this node has. Having no GPU, or no driver yet, is knowing.
func (h *health) ready() (ok bool, why string) {
	n := h.sampler.Status().Ticks
	return n > 0, fmt.Sprintf("%d ticks are done", n)
}

func newHandler(gatherer prometheus.Gatherer, h *health) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.Handle("GET /healthz", probe(h.live))
	mux.Handle("GET /readyz", probe(h.ready))
	return mux
}

func probe(check func() (ok bool, why string)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		ok, why := check()
		if !ok {
			http.Error(w, "not ok: "+why, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok: "+why)
	}
}
