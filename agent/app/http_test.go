package app

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/foretide/foretide/agent/sampler"
)

type standing sampler.Status

func (s standing) Status() sampler.Status { return sampler.Status(s) }

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
		"works":                  {sampler.Status{Began: start.Add(time.Minute), Ticks: 60, OwnersKnown: true}, time.Minute, 200, 200, "began 0s ago"},
		"late, within the limit": {sampler.Status{Began: start, Ticks: 1}, limit - 1, 200, 200, "began"},
		"hangs after many":       {sampler.Status{Began: start, Ticks: 99}, time.Hour, 503, 503, "began 1h0m0s ago"},
		"kubelet restarts":       {sampler.Status{Began: start.Add(time.Hour), Ticks: 9, Answered: start.Add(time.Hour - silentAfter + 1)}, time.Hour, 200, 200, ""},
		"kubelet is silent":      {sampler.Status{Began: start.Add(time.Hour), Ticks: 9, Answered: start.Add(time.Hour - silentAfter)}, time.Hour, 200, 503, ""},
		"kubelet never answered": {sampler.Status{Began: start.Add(time.Hour), Ticks: 9}, time.Hour, 200, 503, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHealthHandler(&health{sampler: standing(c.status), devices: func() reading { return reading{State: "ok", Up: true} },
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
		devices     reading
		holders     int
		now         time.Duration
		live, ready bool
	}{
		"driver came after the agent":      {reading{State: "library_missing"}, 1, blindAfter + 1, false, false},
		"no device answers":                {reading{State: "failed"}, 8, time.Hour, false, false},
		"driver is being replaced":         {reading{State: "driver_not_loaded"}, 1, blindAfter, true, false},
		"driver is given back on request":  {reading{State: "released", Released: true}, 1, time.Hour, true, true},
		"node without GPUs, or not known":  {reading{State: "library_missing"}, 0, time.Hour, true, true},
		"works":                            {reading{State: "ok", Up: true, Devices: 8}, 1, time.Hour, true, true},
		"one device hangs":                 {reading{State: "ok", Up: true, Devices: 7, Hanging: 1}, 1, time.Hour, true, true},
		"library came without the devices": {reading{State: "no_devices", Up: true}, 1, time.Hour, false, false},
		"no devices and nobody needs one":  {reading{State: "no_devices", Up: true}, 0, time.Hour, true, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			now := start.Add(c.now)
			c.devices.Since, c.devices.Message = start, "why"
			h := &health{sampler: standing{Began: now, Ticks: 1, Holders: c.holders, OwnersKnown: true}, devices: func() reading { return c.devices },
				interval: time.Second, started: start, now: func() time.Time { return now }}
			for path, want := range map[string]bool{"/healthz": c.live, "/readyz": c.ready} {
				r := httptest.NewRecorder()
				newHealthHandler(h).ServeHTTP(r, httptest.NewRequest("GET", path, nil))
				text := r.Body.String()
				if (r.Code == 200) != want || !want && !strings.Contains(text, "which will get the driver and the devices (why)") {
					t.Errorf("%s: %d %s; want %v", path, r.Code, text, want)
				}
				if c.devices.Hanging > 0 && !strings.Contains(text, "does not answer for 1") {
					t.Errorf("%s does not tell of the device that hangs: %s", path, text)
				}
			}
		})
	}
	h := &health{sampler: standing{Began: start, Holders: 1}, devices: func() reading { return reading{State: "starting"} }, interval: time.Second,
		started: start, now: func() time.Time { return start }}
	if c := h.sighted(blindAfter); !c.ok {
		t.Errorf("not live before the first reading is done: %s", c.why)
	}
}
