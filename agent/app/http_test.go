package app

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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
		"works":                  {sampler.Status{Began: start.Add(time.Minute), Ticks: 60}, time.Minute, 200, 200, "began 0s ago"},
		"late, within the limit": {sampler.Status{Began: start, Ticks: 1}, limit - 1, 200, 200, "began"},
		"hangs after many":       {sampler.Status{Began: start, Ticks: 99}, time.Hour, 503, 200, "began 1h0m0s ago"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHandler(prometheus.NewRegistry(), &health{standing(c.status), time.Second, start,
				func() time.Time { return start.Add(c.now) }})
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
