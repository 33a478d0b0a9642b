package scrape

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/pkg/telemetry"
)

// world is a node with pods, and a clock that is walked.
type world struct {
	t    *testing.T
	mu   sync.Mutex
	pods []PodView
	now  time.Time
	log  strings.Builder
}

func newWorld(t *testing.T) *world {
	return &world{t: t, now: time.Unix(1_800_000_000, 0)}
}

func (w *world) scraper(o Options) *Scraper {
	o.Pods = func() []PodView { w.mu.Lock(); defer w.mu.Unlock(); return slices.Clone(w.pods) }
	o.Now = func() time.Time { return w.now }
	o.Logger = slog.New(slog.NewTextHandler(&w.log, nil))
	s := New(o)
	w.t.Cleanup(func() { s.follow(nil) })
	return s
}

// serve adds a ready pod that answers with the handler.
func (w *world) serve(name string, handler http.HandlerFunc) *httptest.Server {
	server := httptest.NewServer(handler)
	w.t.Cleanup(server.Close)
	w.add(name, server, nil)
	return server
}

func (w *world) add(name string, server *httptest.Server, annotations map[string]string) {
	at := netip.MustParseAddrPort(server.Listener.Addr().String())
	p := PodView{Namespace: "ns", Name: name, IP: at.Addr().String(), Running: true, Ready: true,
		Annotations: map[string]string{"foretide.dev/port": strconv.Itoa(int(at.Port()))}}
	maps.Copy(p.Annotations, annotations)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pods = append(w.pods, p)
}

func (w *world) values(s *Scraper) map[string]float64 {
	got := map[string]float64{}
	for _, v := range s.Values(w.now) {
		got[v.Pod+" "+v.Name] = v.Value
	}
	return got
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, text) }
}

// failures returns those that there were.
func failures(s *Scraper) map[Reason]uint64 {
	got := s.Stats().Failures
	maps.DeleteFunc(got, func(_ Reason, n uint64) bool { return n == 0 })
	return got
}

func check[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got)\n%s", what, d)
	}
}

func TestValuesOfThePodsAreTold(t *testing.T) {
	w := newWorld(t)
	w.serve("b", says(recorded(t, "tgi")))
	var asked http.Header
	w.serve("a", func(answer http.ResponseWriter, r *http.Request) {
		asked = r.Header
		says("tgi_queue_size{x=\"1\"} 2\ntgi_queue_size{x=\"1\"} 2\ntgi_request_count NaN\nvllm:kv_cache_usage_perc 0.5\n")(answer, r)
	})
	s := w.scraper(Options{Allow: []string{"tgi_queue_size", "vllm:kv_cache_usage_perc", "tgi_request_count", "tgi_request_generated_tokens_bucket"}})
	s.pass(t.Context())
	check(t, "values", []telemetry.WorkloadValue{
		{Namespace: "ns", Pod: "a", Name: "tgi_queue_size", Value: 2},
		{Namespace: "ns", Pod: "a", Name: "vllm:kv_cache_usage_perc", Value: 0.5},
		{Namespace: "ns", Pod: "b", Name: "tgi_queue_size", Value: 5},
		{Namespace: "ns", Pod: "b", Name: "tgi_request_count", Value: 42},
		{Namespace: "ns", Pod: "b", Name: "tgi_request_generated_tokens_bucket", Value: 44}, // a bucket only because it was named
	}, s.Values(w.now))
	stats := s.Stats()
	if stats.LastPass <= 0 {
		t.Errorf("last pass took %v", stats.LastPass)
	}
	check(t, "reasons", slices.Sorted(slices.Values(Reasons())), slices.Sorted(maps.Keys(stats.Failures)))
	stats.LastPass, stats.Failures = 0, nil
	check(t, "stats", Stats{Targets: 2, Scrapes: 2, LeftOut: 1, Repeated: 1}, stats)
	check(t, "problems", nil, s.Problems())
	check(t, "headers", http.Header{"Accept": {"text/plain;version=0.0.4,*/*;q=0.1"}, "Accept-Encoding": {"identity"}, "User-Agent": {"foretide-agent"}}, asked)
}

func TestAnIPv6PodAndOneWithItsOwnCertificateAreScraped(t *testing.T) {
	w := newWorld(t)
	six := httptest.NewUnstartedServer(says("tgi_queue_size 6\n"))
	_ = six.Listener.Close()
	var err error
	if six.Listener, err = net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skipf("no IPv6: %v", err)
	}
	six.Start()
	t.Cleanup(six.Close)
	w.add("six", six, nil)
	secure := httptest.NewTLSServer(says("tgi_queue_size 7\n"))
	t.Cleanup(secure.Close)
	w.add("secure", secure, map[string]string{"prometheus.io/scheme": "https"})
	s := w.scraper(Options{})
	s.pass(t.Context())
	check(t, "values", map[string]float64{"six tgi_queue_size": 6, "secure tgi_queue_size": 7}, w.values(s))
	check(t, "problems", nil, s.Problems())
}

func TestNobodyListening(t *testing.T) {
	w := newWorld(t)
	w.serve("a", nil).Close()
	s := w.scraper(Options{})
	s.pass(t.Context())
	first := s.Problems()
	if len(first) != 1 || !strings.HasSuffix(first[0], "/metrics: connect: connection refused") {
		t.Fatalf("problems %q", first)
	}
	check(t, "failures", map[Reason]uint64{ReasonConnect: 1}, failures(s))
	s.pass(t.Context())
	check(t, "problems are in the same words", first, s.Problems())
	if n := strings.Count(w.log.String(), "level=WARN"); n != 1 {
		t.Errorf("the problem was logged %d times; want once:\n%s", n, w.log.String())
	}
	w.pods[0].Ready = false // it is only just starting
	s.pass(t.Context())
	check(t, "problems of a pod that is not ready", nil, s.Problems())
	check(t, "failures", map[Reason]uint64{ReasonConnect: 3}, failures(s))
}

func TestAValueIsToldForThreeIntervalsAfterItsScrape(t *testing.T) {
	w := newWorld(t)
	var broken atomic.Bool
	w.serve("a", func(answer http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			answer.WriteHeader(http.StatusInternalServerError)
			return
		}
		says("tgi_queue_size 4\n")(answer, r)
	})
	s := w.scraper(Options{Interval: 10 * time.Second})
	s.pass(t.Context())
	broken.Store(true)
	for range 3 {
		w.now = w.now.Add(10 * time.Second)
		s.pass(t.Context())
		check(t, "values", map[string]float64{"a tgi_queue_size": 4}, w.values(s))
	}
	w.now = w.now.Add(time.Millisecond)
	check(t, "values after three intervals", map[string]float64{}, w.values(s))
	broken.Store(false)
	s.pass(t.Context())
	check(t, "values after it came back", map[string]float64{"a tgi_queue_size": 4}, w.values(s))
}

func TestAMetricThatIsGoneFromThePageIsAbsent(t *testing.T) {
	w := newWorld(t)
	var page atomic.Value
	page.Store("tgi_queue_size 4\ntgi_request_count 1\n")
	w.serve("a", func(answer http.ResponseWriter, r *http.Request) { says(page.Load().(string))(answer, r) })
	s := w.scraper(Options{})
	s.pass(t.Context())
	page.Store("tgi_request_count 2\n")
	s.pass(t.Context())
	check(t, "values", map[string]float64{"a tgi_request_count": 2}, w.values(s))
}

func TestOneConnectionIsKeptUntilThePodIsGone(t *testing.T) {
	w := newWorld(t)
	states := make(chan http.ConnState, 100)
	server := httptest.NewUnstartedServer(says("tgi_queue_size 4\n"))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew || state == http.StateClosed {
			states <- state
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	w.add("a", server, nil)
	s := w.scraper(Options{})
	for range 5 {
		s.pass(t.Context())
	}
	w.pods = nil
	s.pass(t.Context())
	check(t, "values", map[string]float64{}, w.values(s))
	check(t, "targets", 0, s.Stats().Targets)
	for _, want := range []http.ConnState{http.StateNew, http.StateClosed} {
		select {
		case got := <-states:
			check(t, "the connection is", want.String(), got.String())
		case <-time.After(10 * time.Second):
			t.Fatalf("the connection is not %v", want)
		}
	}
	if len(states) != 0 {
		t.Errorf("%d more connections came or went", len(states))
	}
}

func TestAPodWithANewAddressIsAnother(t *testing.T) {
	w := newWorld(t)
	w.serve("a", says("tgi_queue_size 4\n"))
	s := w.scraper(Options{})
	s.pass(t.Context())
	w.pods = nil
	w.serve("a", says("tgi_request_count 1\n"))
	w.pods = append(w.pods, w.pods[0]) // named twice
	w.pods[1].IP = "127.0.0.9"
	s.pass(t.Context())
	check(t, "targets", 1, s.Stats().Targets)
	check(t, "values", map[string]float64{"a tgi_request_count": 1}, w.values(s))
}

func TestAPageWithNothingWantedIsReadOnceAMinute(t *testing.T) {
	w := newWorld(t)
	var hits atomic.Int32
	w.serve("a", func(answer http.ResponseWriter, r *http.Request) { hits.Add(1); says("node_load1 4\n")(answer, r) })
	s := w.scraper(Options{Interval: 5 * time.Second})
	for range 25 { // 0 s to 120 s
		s.pass(t.Context())
		w.now = w.now.Add(5 * time.Second)
	}
	check(t, "scrapes", 3, hits.Load())
	check(t, "problems", nil, s.Problems())
}

func TestPodsThatDoNotAnswerTakeNoTimeFromThoseThatDo(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.serve(fmt.Sprintf("hangs-%d", i), func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	}
	var hits atomic.Int32
	w.serve("well", func(answer http.ResponseWriter, r *http.Request) { hits.Add(1); says("tgi_queue_size 3\n")(answer, r) })
	s := w.scraper(Options{Interval: 400 * time.Millisecond, Timeout: 200 * time.Millisecond, Parallel: 4})
	for i := 0; hits.Load() == 0; i++ { // it is new, as they are
		if i == 10 {
			t.Fatal("the pod that is well was never asked")
		}
		s.pass(t.Context())
	}
	for range 3 {
		before := hits.Load()
		s.pass(t.Context())
		check(t, "scrapes of the pod that is well", 1, hits.Load()-before)
		if took := s.Stats().LastPass; took > 2*s.o.Interval { // an interval, and what a busy machine takes
			t.Errorf("a pass took %v of %v", took, s.o.Interval)
		}
	}
	check(t, "values", map[string]float64{"well tgi_queue_size": 3}, w.values(s))
	if s.Stats().Postponed == 0 || !slices.Contains(s.Problems(), "scrape: some pods were not asked in time, because others take too long to answer") {
		t.Errorf("%d postponed, problems %q", s.Stats().Postponed, s.Problems())
	}
}

func TestNoMoreThanTheAllowedTargetsAreScraped(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"c", "a", "b"} {
		w.serve(name, says("tgi_queue_size 1\n"))
	}
	s := w.scraper(Options{MaxTargets: 2})
	s.pass(t.Context())
	check(t, "values", map[string]float64{"a tgi_queue_size": 1, "b tgi_queue_size": 1}, w.values(s))
	check(t, "problems", []string{"scrape: more than 2 pods of this node want to be scraped: the last in alphabetical order are not"}, s.Problems())
}

func TestAWrongAnnotationIsAProblem(t *testing.T) {
	w := newWorld(t)
	w.pods = []PodView{pod(map[string]string{"foretide.dev/port": "http"})}
	s := w.scraper(Options{})
	s.pass(t.Context())
	check(t, "problems", []string{`scrape: pod ns/web: annotation foretide.dev/port is "http": want a number from 1 to 65535`}, s.Problems())
}

func TestRunScrapesUntilItIsToldToEnd(t *testing.T) {
	w := newWorld(t)
	hangs := make(chan struct{})
	w.serve("a", func(_ http.ResponseWriter, r *http.Request) {
		close(hangs)
		<-r.Context().Done()
	})
	s := w.scraper(Options{Interval: time.Minute, Timeout: 20 * time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	<-hangs // in the middle of a scrape
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Run goes on")
	}
	check(t, "failures", map[Reason]uint64{}, failures(s))
	check(t, "targets", 0, s.Stats().Targets)
}
