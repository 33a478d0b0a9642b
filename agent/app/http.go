package app

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/foretide/foretide/agent/sampler"
)

const (
	// A tick is late after lateAfter intervals and a grace in which a driver may wake its devices: without persistence mode
	// initializing NVML takes seconds per GPU.
	lateAfter = 3
	grace     = 15 * time.Second
	// blindAfter is how long the devices may be unreadable on a node where pods hold GPUs: time for a driver to load or be replaced.
	blindAfter = 2 * time.Minute
	// silentAfter is how long the kubelet may not answer before what the agent says of pods is not to be relied on: longer than a
	// kubelet needs to restart.
	silentAfter = time.Minute
)

// reading is where a reader of devices stands, whichever it is.
type reading struct {
	// State is the reader's word for it, Message what is wrong and what to do. Since is when it went down, or when it came to be in its
	// state; zero before the first reading.
	State, Message string
	Since          time.Time
	// Up tells that the driver answers, if only to say that there is no device. Devices are readable, Hanging do not answer.
	Up               bool
	Devices, Hanging int
	// Released tells that the driver was given back on request.
	Released bool
}

// health answers whether the agent does its work.
type health struct {
	sampler  interface{ Status() sampler.Status }
	devices  func() reading
	interval time.Duration
	started  time.Time
	now      func() time.Time
}

// check is one thing that must hold, in words.
type check struct {
	ok  bool
	why string
}

// live is about what only a restart ends: a tick that is stuck, and a container that was made without the driver.
func (h *health) live() []check { return []check{h.ticking(), h.sighted(blindAfter)} }

// ready is about whether what the agent says can be relied on: that it looks at what this node has, and knows whose it is. Having
// no GPU, or no driver where no pod needs one, is knowing. A device that hangs is told, and costs no other its readings.
func (h *health) ready() []check {
	n := h.sampler.Status().Ticks
	return []check{{n > 0, fmt.Sprintf("%d ticks are done, the last with %d problems, which the log names", n, h.sampler.Status().Problems)},
		h.ticking(), h.sighted(0), h.informed()}
}

func (h *health) ticking() check {
	began, what := h.sampler.Status().Began, "the last tick began"
	if began.IsZero() {
		began, what = h.started, "there was no tick yet; the agent started"
	}
	ago, limit := h.now().Sub(began), lateAfter*h.interval+grace
	return check{ago < limit, fmt.Sprintf("%s %v ago; the limit is %v", what, ago.Round(time.Millisecond), limit)}
}

// sighted reports whether pods use GPUs that the agent has not seen for longer than the limit. NVIDIA's container runtime puts
// library and devices into a container as it is created, so an agent that was there before the driver never gets them.
func (h *health) sighted(limit time.Duration) check {
	d, holders := h.devices(), h.sampler.Status().Holders
	if d.Up && d.Devices+d.Hanging > 0 || d.Released || d.Since.IsZero() || holders == 0 {
		why := fmt.Sprintf("the devices are %s: %d readable", d.State, d.Devices)
		if d.Hanging > 0 {
			why += fmt.Sprintf(", and the driver does not answer for %d", d.Hanging)
		}
		return check{true, why}
	}
	down := h.now().Sub(d.Since)
	return check{down <= limit && limit > 0, fmt.Sprintf("the devices are unreadable (%s) for %v while %d containers hold GPUs of this node; "+
		"after %v a new container is due, which will get the driver and the devices (%s)", d.State, down.Round(time.Millisecond), holders, blindAfter, d.Message)}
}

func (h *health) informed() check {
	status := h.sampler.Status()
	if status.OwnersKnown {
		return check{true, "the kubelet answers"}
	}
	since, what := status.Answered, "the kubelet answered last"
	if since.IsZero() {
		since, what = h.started, "the kubelet has not answered yet; the agent started"
	}
	ago := h.now().Sub(since)
	return check{ago < silentAfter, fmt.Sprintf("%s %v ago; the limit is %v", what, ago.Round(time.Millisecond), silentAfter)}
}

// newMetricsHandler serves /metrics, as OpenMetrics to those who ask for it.
func newMetricsHandler(registry *prometheus.Registry, logger *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true,
		// One odd series shall not take all others away.
		ErrorHandling: promhttp.ContinueOnError, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn), Registry: registry}))
	return mux
}

// newHealthHandler serves the probes. They have a port of their own: the kubelet shows no password and no certificate.
func newHealthHandler(h *health) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", probe(h.live))
	mux.Handle("GET /readyz", probe(h.ready))
	return mux
}

// probe answers with every check, one a line, and 503 when one of them fails.
func probe(checks func() []check) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var text strings.Builder
		code := http.StatusOK
		for _, c := range checks() {
			mark := "ok: "
			if !c.ok {
				mark, code = "not ok: ", http.StatusServiceUnavailable
			}
			fmt.Fprintln(&text, mark+c.why)
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(code)
		fmt.Fprint(w, text.String())
	}
}
