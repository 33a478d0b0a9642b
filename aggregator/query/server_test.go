package query

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

var (
	start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	end   = start.Add(10 * time.Minute)
)

// openDB opens an empty TSDB that takes samples in any order.
func openDB(t testing.TB) *tsdb.DB {
	t.Helper()
	o := tsdb.DefaultOptions()
	o.OutOfOrderTimeWindow = time.Hour.Milliseconds()
	db, err := tsdb.Open(t.TempDir(), nil, nil, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// history has ten minutes of four pods, every 15 seconds: pod i is at i/10 all the time; half of the pods are in each namespace.
func history(t testing.TB) *tsdb.DB {
	t.Helper()
	db := openDB(t)
	app := db.AppenderV2(t.Context())
	for i := range 4 {
		series := labels.FromStrings(model.MetricNameLabel, "foretide_pod_utilization_ratio", "node", "node-a",
			"namespace", []string{"blue", "green"}[i/2], "pod", fmt.Sprintf("web-%d", i), "container", "main", "uuid", fmt.Sprintf("GPU-%d", i))
		for at := start; !at.After(end); at = at.Add(15 * time.Second) {
			if _, err := app.Append(0, series, 0, at.UnixMilli(), float64(i)/10, nil, nil, storage.AOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	return db
}

func newAPI(t testing.TB, o Options) *API {
	t.Helper()
	api, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

var (
	sharedStore swapped
	sharedOnce  = sync.OnceValues(func() (*API, error) { return New(Options{Queryable: &sharedStore, Writer: &sharedStore}) })
)

// shared is an API with the options that are shipped, for one test at a time. It is made once, because Prometheus' code describes
// its whole API whenever it is made, which takes half a second under the race detector. A bubble must not be the first to ask for it.
func shared(t testing.TB, history storage.SampleAndChunkQueryable, writer storage.AppendableV2) *API {
	t.Helper()
	api, err := sharedOnce()
	if err != nil {
		t.Fatal(err)
	}
	sharedStore = swapped{history, writer}
	return api
}

// swapped is a history and a writer that can be exchanged for others.
type swapped struct {
	now    storage.SampleAndChunkQueryable
	writer storage.AppendableV2
}

func (s *swapped) Querier(from, to int64) (storage.Querier, error) { return s.now.Querier(from, to) }

func (s *swapped) ChunkQuerier(from, to int64) (storage.ChunkQuerier, error) {
	return s.now.ChunkQuerier(from, to)
}

func (s *swapped) AppenderV2(ctx context.Context) storage.AppenderV2 { return s.writer.AppenderV2(ctx) }

// serve returns the URL of a server of the API.
func serve(t testing.TB, api *API) string {
	t.Helper()
	server := httptest.NewServer(api.Handler())
	t.Cleanup(server.Close)
	return server.URL
}

// answer is what the API answers.
type answer struct {
	code                     int
	Status, ErrorType, Error string
	Data                     json.RawMessage
	Warnings                 []string
}

// ask calls the API without a network. Values are in the URL.
func ask(t testing.TB, api *API, r *http.Request) answer {
	t.Helper()
	w := httptest.NewRecorder()
	api.Handler().ServeHTTP(w, r)
	a := answer{code: w.Code}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Errorf("%s %s: %d %q: %v", r.Method, r.URL, w.Code, w.Body, err)
	}
	return a
}

func get(path string, pairs ...string) *http.Request {
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return httptest.NewRequest(http.MethodGet, "/api/v1"+path+"?"+values.Encode(), nil)
}

// headStatistics are those of a TSDB's newest hours.
type headStatistics struct{ *tsdb.DB }

func (s headStatistics) Stats(byLabel string, limit int) (*tsdb.Stats, error) {
	return s.Head().Stats(byLabel, limit), nil
}
