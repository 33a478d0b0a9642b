package query

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/annotations"
)

// hanging is a history on a disk that does not answer.
type hanging struct {
	storage.SampleAndChunkQueryable
}

func (hanging) Querier(int64, int64) (storage.Querier, error) {
	return hangingQuerier{storage.NoopQuerier()}, nil
}

type hangingQuerier struct{ storage.Querier }

func (hangingQuerier) Select(ctx context.Context, _ bool, _ *storage.SelectHints, _ ...*labels.Matcher) storage.SeriesSet {
	<-ctx.Done()
	return storage.ErrSeriesSet(ctx.Err())
}

func TestAQueryThatTakesTooLongIsStopped(t *testing.T) {
	api := shared(t, hanging{}, nil)
	synctest.Test(t, func(t *testing.T) {
		for _, r := range []*http.Request{get("/query", "query", "up"), get("/query_range", "query", "up", "start", "0", "end", "60", "step", "1")} {
			begin := time.Now()
			a := ask(t, api, r)
			if a.code != http.StatusServiceUnavailable || a.ErrorType != "timeout" || time.Since(begin) != DefaultTimeout {
				t.Errorf("%s: %d %s %q after %v", r.URL, a.code, a.ErrorType, a.Error, time.Since(begin))
			}
		}
		begin := time.Now()
		if a := ask(t, api, get("/series", "match[]", "up")); a.code != http.StatusServiceUnavailable || time.Since(begin) != DefaultTimeout {
			t.Errorf("series: %d %q after %v", a.code, a.Error, time.Since(begin))
		}
		begin = time.Now()
		if a := ask(t, api, get("/query", "query", "up", "timeout", "2s")); a.code != http.StatusServiceUnavailable || time.Since(begin) != 2*time.Second {
			t.Errorf("with a timeout of its own: %d %q after %v", a.code, a.Error, time.Since(begin))
		}
	})
}

func TestPlacesAreTakenInTurnAndFreedByClientsThatHangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, Options{Queryable: hanging{}, MaxConcurrent: 2, MaxWaiting: 1})
		type client struct {
			hangUp context.CancelFunc
			answer chan answer
		}
		call := func() client {
			ctx, cancel := context.WithCancel(t.Context())
			c := client{cancel, make(chan answer, 1)}
			go func() { c.answer <- ask(t, api, get("/query", "query", "up").WithContext(ctx)) }()
			synctest.Wait()
			return c
		}
		clients := []client{call(), call(), call()}
		if running, waiting := len(api.reads.places), api.reads.waiting.Load(); running != 2 || waiting != 1 {
			t.Fatalf("%d run, %d wait: want 2 and 1", running, waiting)
		}
		begin := time.Now()
		if a := <-call().answer; a.code != http.StatusServiceUnavailable || a.ErrorType != "unavailable" || time.Since(begin) != 0 {
			t.Errorf("one too many: %d %s %q after %v", a.code, a.ErrorType, a.Error, time.Since(begin))
		}
		clients[0].hangUp()
		if a := <-clients[0].answer; a.code != statusClientGone {
			t.Errorf("hung up: %d %s", a.code, a.Error)
		}
		synctest.Wait()
		if running, waiting := len(api.reads.places), api.reads.waiting.Load(); running != 2 || waiting != 0 {
			t.Errorf("after one has hung up %d run, %d wait: want 2 and 0", running, waiting)
		}
		waits := call()
		waits.hangUp()
		if a := <-waits.answer; a.code != statusClientGone {
			t.Errorf("hung up while waiting: %d %s", a.code, a.Error)
		}
		if a := <-clients[1].answer; a.ErrorType != "timeout" {
			t.Errorf("the second: %d %s", a.code, a.Error)
		}
		<-clients[2].answer
		if running, waiting := len(api.reads.places), api.reads.waiting.Load(); running != 0 || waiting != 0 {
			t.Errorf("at the end %d run, %d wait", running, waiting)
		}
	})
}

func TestWaitingCountsAsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, Options{Queryable: hanging{}, MaxConcurrent: 1, Timeout: time.Minute})
		first, hangUp := context.WithCancel(t.Context())
		go ask(t, api, get("/query", "query", "up").WithContext(first))
		synctest.Wait()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		a := ask(t, api, get("/labels").WithContext(ctx))
		if a.code != http.StatusServiceUnavailable || a.ErrorType != "timeout" || time.Since(begin) != time.Second {
			t.Errorf("%d %s %q after %v", a.code, a.ErrorType, a.Error, time.Since(begin))
		}
		hangUp()
	})
}

func TestSamplesAndPointsOfAQueryAreBounded(t *testing.T) {
	api := newAPI(t, Options{Queryable: history(t), MaxSamples: 50})
	at := end.Format(time.RFC3339)
	if a := ask(t, api, get("/query", "query", "sum(foretide_pod_utilization_ratio)", "time", at)); a.code != http.StatusOK {
		t.Errorf("4 samples: %d %s", a.code, a.Error)
	}
	if a := ask(t, api, get("/query", "query", "foretide_pod_utilization_ratio[10m]", "time", at)); a.code != http.StatusUnprocessableEntity || !strings.Contains(a.Error, "too many samples") {
		t.Errorf("160 samples: %d %s", a.code, a.Error)
	}
	points := func(n string) answer {
		return ask(t, api, get("/query_range", "query", "1", "start", "0", "end", n, "step", "1"))
	}
	if a := points("11000"); a.code != http.StatusUnprocessableEntity { // only because of the samples
		t.Errorf("11,000 steps: %d %s", a.code, a.Error)
	}
	if a := points("11001"); a.code != http.StatusBadRequest || !strings.Contains(a.Error, "11,000 points") {
		t.Errorf("11,001 steps: %d %s", a.code, a.Error)
	}
}

func TestABodyThatIsTooLargeIsNotRead(t *testing.T) {
	api := shared(t, history(t), openDB(t))
	for path, size := range map[string]int{"/query": maxFormBytes, "/series": maxFormBytes, "/format_query": maxFormBytes, "/read": maxFormBytes, "/write": maxWriteBytes} {
		r := httptest.NewRequest(http.MethodPost, "/api/v1"+path, strings.NewReader("query="+strings.Repeat("1", size)))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if a := ask(t, api, r); a.code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d %s", path, a.code, a.Error)
		}
	}
}

// opening is a history that is still being read.
type opening struct {
	storage.SampleAndChunkQueryable
	late bool // says so only when series are asked for
}

var errOpening = fmt.Errorf("raw history is still being read: %w", tsdb.ErrNotReady)

func (o opening) Querier(int64, int64) (storage.Querier, error) {
	if !o.late {
		return nil, errOpening
	}
	return openingQuerier{storage.NoopQuerier()}, nil
}

type openingQuerier struct{ storage.Querier }

func (openingQuerier) Select(context.Context, bool, *storage.SelectHints, ...*labels.Matcher) storage.SeriesSet {
	return storage.ErrSeriesSet(errOpening)
}

func (openingQuerier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errOpening
}

func (openingQuerier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errOpening
}

func TestAHistoryThatIsBeingReadIsUnavailable(t *testing.T) {
	for _, late := range []bool{false, true} {
		api := shared(t, opening{late: late}, nil)
		for _, r := range []*http.Request{
			get("/query", "query", "up"), get("/query_range", "query", "up", "start", "0", "end", "60", "step", "1"),
			get("/series", "match[]", "up"), get("/labels"), get("/label/pod/values"),
		} {
			if a := ask(t, api, r); a.code != http.StatusServiceUnavailable || a.ErrorType != "unavailable" || !strings.Contains(a.Error, "raw history is still being read") {
				t.Errorf("late %t: %s: %d %s %q", late, r.URL, a.code, a.ErrorType, a.Error)
			}
		}
		if a := ask(t, api, get("/status/buildinfo")); a.code != http.StatusOK {
			t.Errorf("buildinfo: %d %s", a.code, a.Error)
		}
	}
}

// oneConnection is a listener with one connection that needs no network, so that time passes as the test wants.
type oneConnection struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *oneConnection) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *oneConnection) Close() error   { close(l.done); return nil }
func (l *oneConnection) Addr() net.Addr { return &net.TCPAddr{} }

// connect serves the API to the returned end of a connection.
func connect(t *testing.T, api *API) net.Conn {
	ours, theirs := net.Pipe()
	l := &oneConnection{make(chan net.Conn, 1), make(chan struct{})}
	l.conns <- theirs
	server := &http.Server{Handler: api.Handler(), ReadHeaderTimeout: time.Minute}
	stopped := make(chan error)
	go func() { stopped <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = ours.Close()
		if err := errors.Join(server.Close(), <-stopped); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return ours
}

func TestAClientThatDoesNotReadIsCutOff(t *testing.T) {
	api := shared(t, history(t), nil)
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, api)
		if _, err := fmt.Fprintf(c, "GET /api/v1/query_range?query=foretide_pod_utilization_ratio&start=%d&end=%d&step=1 HTTP/1.1\r\nHost: a\r\n\r\n",
			start.Unix(), end.Unix()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(DefaultTimeout + writeWithin - time.Second)
		if n := len(api.reads.places); n != 1 {
			t.Errorf("%d run while the answer is written, want 1", n)
		}
		time.Sleep(2 * time.Second)
		if n := len(api.reads.places); n != 0 {
			t.Errorf("%d run after the time to take the answer is over", n)
		}
	})
}

func TestABodyThatDoesNotComeTakesNoPlace(t *testing.T) {
	api := shared(t, history(t), nil)
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, api)
		if _, err := io.WriteString(c, "POST /api/v1/query HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nquery="); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(api.reads.places); n != 0 {
			t.Errorf("%d run before the body is there", n)
		}
		begin := time.Now()
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusBadRequest || time.Since(begin) != bodyWithin {
			t.Errorf("%s after %v", response.Status, time.Since(begin))
		}
	})
}
