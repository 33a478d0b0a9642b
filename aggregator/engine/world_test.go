package engine

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// world is Prometheus' own PromQL engine over its own TSDB, behind as much of its HTTP API as the client asks for.
type world struct {
	*httptest.Server
	db *tsdb.DB
	// before may answer in the engine's place; it returns whether it did.
	before func(w http.ResponseWriter, r *http.Request) bool
}

// start is when the tests play; a whole hour.
var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func newWorld(t *testing.T) *world {
	t.Helper()
	o := tsdb.DefaultOptions()
	o.OutOfOrderTimeWindow = (100 * 24 * time.Hour).Milliseconds()
	o.RetentionDuration = (1000 * 24 * time.Hour).Milliseconds()
	db, err := tsdb.Open(t.TempDir(), promslog.NewNopLogger(), nil, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{db: db}
	w.Server = httptest.NewServer(w.handler())
	t.Cleanup(func() {
		w.Close()
		_ = db.Close()
	})
	return w
}

func (w *world) handler() http.Handler {
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 50_000_000, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})})
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/query", func(rw http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // only then does the server notice a client that hangs up
		if w.before != nil && w.before(rw, r) {
			return
		}
		q, err := engine.NewInstantQuery(r.Context(), w.db, nil, r.FormValue("query"), moment(r.FormValue("time")))
		answer(rw, r, q, err)
	})
	mux.HandleFunc("/api/v1/query_range", func(rw http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // only then does the server notice a client that hangs up
		if w.before != nil && w.before(rw, r) {
			return
		}
		step := moment(r.FormValue("step")).Sub(time.Unix(0, 0))
		first, last := moment(r.FormValue("start")), moment(r.FormValue("end"))
		if last.Sub(first)/step >= maxPoints {
			fail(rw, http.StatusBadRequest, "bad_data", "exceeded maximum resolution of 11,000 points per timeseries")
			return
		}
		q, err := engine.NewRangeQuery(r.Context(), w.db, nil, r.FormValue("query"), first, last, step)
		answer(rw, r, q, err)
	})
	return mux
}

func answer(w http.ResponseWriter, r *http.Request, q promql.Query, err error) {
	if err != nil {
		fail(w, http.StatusBadRequest, "bad_data", err.Error())
		return
	}
	defer q.Close()
	result := q.Exec(r.Context())
	if result.Err != nil {
		fail(w, http.StatusUnprocessableEntity, "execution", result.Err.Error())
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success",
		"data": map[string]any{"resultType": result.Value.Type(), "result": result.Value}})
}

func fail(w http.ResponseWriter, status int, kind, text string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "error", "errorType": kind, "error": text})
}

func moment(text string) time.Time {
	seconds, _ := strconv.ParseFloat(text, 64)
	return time.UnixMilli(int64(seconds*1000 + 0.5))
}

// client returns one that does not pause between tries.
func (w *world) client(t *testing.T) *Client {
	t.Helper()
	c, err := New(Options{URL: w.URL})
	if err != nil {
		t.Fatal(err)
	}
	c.pause = time.Millisecond
	return c
}

// add writes samples to a series: pairs of seconds after the start and a value.
func (w *world) add(t *testing.T, series string, pairs ...float64) {
	t.Helper()
	ls, err := parser.NewParser(parser.Options{}).ParseMetric(series)
	if err != nil {
		t.Fatal(err)
	}
	w.append(t, ls, pairs...)
}

func (w *world) append(t *testing.T, ls labels.Labels, pairs ...float64) {
	t.Helper()
	app := w.db.AppenderV2(t.Context())
	for i := 0; i < len(pairs); i += 2 {
		if _, err := app.Append(0, ls, 0, at(pairs[i]).UnixMilli(), pairs[i+1], nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(fmt.Errorf("%s at %v: %w", ls, pairs[i], err))
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

// at is so many seconds after the start.
func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
