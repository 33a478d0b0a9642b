package scrape

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestWhatAServerMayNotDo has a pod that does it beside one that is well.
func TestWhatAServerMayNotDo(t *testing.T) {
	for name, c := range map[string]struct {
		does   http.HandlerFunc
		reason Reason
		want   string
	}{
		"answer with an error": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "tgi_queue_size 1", http.StatusServiceUnavailable)
		}, ReasonStatus, "the answer is status 503"},
		"have no content": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, ReasonStatus, "the answer is status 204"},
		"compress": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			says("\x1f\x8b")(w, nil)
		}, ReasonEncoding, `the page has the encoding "gzip", which was not asked for`},
		"answer with a web page":   {says("<!doctype html>\n<html>tgi_queue_size 1</html>\n"), ReasonFormat, "line 1 is not in the Prometheus text format"},
		"break off a line":         {says("tgi_queue_size 1"), ReasonFormat, "the page is cut short"},
		"answer without an end":    {endless("tgi_queue_size 1\n"), ReasonTooLarge, "the page is larger than 65536 bytes"},
		"have a line without end":  {endless("x"), ReasonFormat, "endless metric name"},
		"have a label without end": {func(w http.ResponseWriter, r *http.Request) { says("x{y=\"")(w, r); endless("z")(w, r) }, ReasonTooLarge, "the page is larger than 65536 bytes"},
		"have a header without end": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 2*maxHeaders))
		}, ReasonBroken, "response headers exceeded"},
		"have too many series": {func(w http.ResponseWriter, _ *http.Request) {
			for i := range mostSeries + 1 {
				_, _ = fmt.Fprintf(w, "tgi_queue_size{x=\"%d\"} 1\n", i)
			}
		}, ReasonTooLarge, "more than 1024 series of the wanted metrics"},
		"hang up in its answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			says("tgi_queue_size 1\n")(w, nil)
			panic(http.ErrAbortHandler)
		}, ReasonBroken, "the connection was closed before the answer was complete"},
		"not speak HTTP": {raw("SSH-2.0-OpenSSH_9.2\r\n\r\n"), ReasonBroken, "the connection broke: "},
		"not answer":     {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ReasonTimeout, "no complete answer within 300ms"},
		"answer in drops": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				says("tgi_queue_size 1\n# ")(w, r)
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		}, ReasonTimeout, "no complete answer within 300ms"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serve("bad", c.does)
			w.serve("well", says("tgi_queue_size 3\n"))
			s := w.scraper(Options{Interval: time.Second, Timeout: 300 * time.Millisecond, MaxBytes: 64 << 10})
			s.pass(t.Context())
			check(t, "values", map[string]float64{"well tgi_queue_size": 3}, w.values(s))
			check(t, "failures", map[Reason]uint64{c.reason: 1}, failures(s))
			if p := s.Problems(); len(p) != 1 || !strings.Contains(p[0], c.want) || !strings.HasPrefix(p[0], "scrape: pod ns/bad: http://127.0.0.1:") {
				t.Errorf("problems %q; want one that says %q", p, c.want)
			}
		})
	}
}

// endless writes until nobody listens any more.
func endless(text string) http.HandlerFunc {
	text = strings.Repeat(text, 1000)
	return func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := fmt.Fprint(w, text); err != nil {
				return
			}
		}
	}
}

// raw writes bytes instead of an HTTP answer.
func raw(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = fmt.Fprint(conn, text)
		_ = conn.Close()
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	w := newWorld(t)
	var hits atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	t.Cleanup(elsewhere.Close)
	w.serve("a", func(answer http.ResponseWriter, r *http.Request) {
		http.SetCookie(answer, &http.Cookie{Name: "c", Value: "v"})
		http.Redirect(answer, r, elsewhere.URL, http.StatusFound)
	})
	var cookies atomic.Int32
	w.serve("b", func(answer http.ResponseWriter, r *http.Request) {
		cookies.Add(int32(len(r.Cookies())))
		http.Redirect(answer, r, "/", http.StatusMovedPermanently) // not even to itself
	})
	s := w.scraper(Options{})
	s.pass(t.Context())
	s.pass(t.Context())
	if hits.Load() != 0 || cookies.Load() != 0 {
		t.Errorf("%d requests went elsewhere with %d cookies; want none", hits.Load(), cookies.Load())
	}
	check(t, "failures", map[Reason]uint64{ReasonRedirect: 4}, failures(s))
	if p := s.Problems(); len(p) != 2 || !strings.Contains(p[0], fmt.Sprintf("redirect (302) to %q, which is not followed: set the annotation foretide.dev/path", elsewhere.URL)) {
		t.Errorf("problems %q", p)
	}
}

func TestOnlyThePodsOwnAddressIsDialled(t *testing.T) {
	w := newWorld(t)
	other := w.serve("other", says("tgi_queue_size 1\n"))
	c := newClient(Target{IP: "127.0.0.1", Port: 1, Path: "/", Scheme: "http"}, time.Second, time.Second)
	if c.transport.Proxy != nil {
		t.Error("there is a proxy")
	}
	_, err := c.transport.DialContext(t.Context(), "tcp", other.Listener.Addr().String())
	if err == nil || !strings.Contains(err.Error(), errElsewhere.Error()) {
		t.Errorf("error %v; want %v", err, errElsewhere)
	}
}
