package app

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foretide/foretide/agent/nvml"
	"github.com/foretide/foretide/agent/sampler"
)

type standing sampler.Status

func (s standing) Status() sampler.Status { return sampler.Status(s) }

type library nvml.Status

func (l library) Status() nvml.Status { return nvml.Status(l) }

func TestProbesTellTheTruth(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	limit := 3*time.Second + grace
	cases := map[string]struct {
		status        sampler.Status
		now           time.Duration
		live, ready   int
		wordsFromLive string
	}{
		"just started":           {sampler.Status{}, 0, 200, 503, "there was no tick yet"},
		"first tick hangs":       {sampler.Status{Began: start}, limit, 503, 503, "the limit is 18s"},
		"never began":            {sampler.Status{}, limit, 503, 503, "there was no tick yet; the agent started 18s ago"},
		"works":                  {sampler.Status{Began: start.Add(time.Minute), Ticks: 60}, time.Minute, 200, 200, "began 0s ago"},
		"late, within the limit": {sampler.Status{Began: start, Ticks: 1}, limit - 1, 200, 200, "began"},
		"hangs after many":       {sampler.Status{Began: start, Ticks: 99}, time.Hour, 503, 200, "began 1h0m0s ago"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHandler(prometheus.NewRegistry(), &health{sampler: standing(c.status), library: library{State: nvml.StateOK},
				interval: time.Second, started: start, now: func() time.Time { return start.Add(c.now) }})
			for path, want := range map[string]int{"/healthz": c.live, "/readyz": c.ready} {
				r := httptest.NewRecorder()
				h.ServeHTTP(r, httptest.NewRequest("GET", path, nil))
				if r.Code != want || (path == "/healthz" && !strings.Contains(r.Body.String(), c.wordsFromLive)) {
					t.Errorf("%s: %d %s; want %d and %q", path, r.Code, r.Body, want, c.wordsFromLive)
				}
			}
		})
	}
}

func TestAgentThatCannotSeeTheGPUsPodsHoldIsNotLive(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		state   nvml.State
		holders int
		now     time.Duration
		live    bool
	}{
		"driver came after the agent":           {nvml.StateLibraryMissing, 1, blindAfter + 1, false},
		"no device answers":                     {nvml.StateFailed, 8, time.Hour, false},
		"driver is being replaced":              {nvml.StateDriverNotLoaded, 1, blindAfter, true},
		"node without GPUs, or not known":       {nvml.StateLibraryMissing, 0, time.Hour, true},
		"works":                                 {nvml.StateOK, 1, time.Hour, true},
		"devices are taken from under the pods": {nvml.StateNoDevices, 1, time.Hour, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			now := start.Add(c.now)
			h := &health{sampler: standing{Began: now, Ticks: 1, Holders: c.holders}, library: library{State: c.state, Since: start, Message: "why"},
				interval: time.Second, started: start, now: func() time.Time { return now }}
			ok, why := h.live()
			if ok != c.live || strings.Contains(why, "a new container will get the driver (why)") == c.live {
				t.Errorf("live = %v, %q; want %v", ok, why, c.live)
			}
		})
	}
	h := &health{sampler: standing{Began: start, Holders: 1}, library: library{State: nvml.StateStarting}, interval: time.Second,
		started: start, now: func() time.Time { return start }}
	if ok, why := h.live(); !ok {
		t.Errorf("not live before the first reading is done: %s", why)
	}
}
